"""Links for mail that is sent by a task, where no request says how Hilum is reached."""

from typing import Any

from django.conf import settings
from django.urls import get_script_prefix, reverse


def public_link(name: str, *arguments: Any) -> str:
    """The address of a page; blank where HILUM_TRUSTED_ORIGINS does not say how people reach Hilum."""
    if not settings.PUBLIC_ADDRESS:
        return ""
    # in the thread of a worker, reverse knows no prefix
    path = reverse(name, args=arguments).removeprefix(get_script_prefix())
    return f"{settings.PUBLIC_ADDRESS.rstrip('/')}{settings.URL_PREFIX}/{path}"
