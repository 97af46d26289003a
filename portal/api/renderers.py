"""Renderers of files that are not JSON."""

from typing import Any

from rest_framework.renderers import BaseRenderer, JSONRenderer


class Csv(BaseRenderer):
    """Lets a client accept text/csv; a refusal is JSON nevertheless."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data))
