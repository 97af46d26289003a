"""Signs a page in by its session, and says why a request of a page was refused in the words of the pages."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import CSRFCheck, SessionAuthentication
from rest_framework.exceptions import PermissionDenied

from portal.views.refused_forms import why


class PageAuthentication(SessionAuthentication):
    def enforce_csrf(self, request: Any) -> None:
        check = CSRFCheck(lambda _: HttpResponse())
        check.process_request(request)
        reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]  # as SessionAuthentication does
        if reason:
            # not of `request` itself: asking it for its user would authenticate again
            raise PermissionDenied(why(request._request, str(reason)))


class PageScheme(OpenApiAuthenticationExtension):
    target_class = "portal.api.session_authentication.PageAuthentication"
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
