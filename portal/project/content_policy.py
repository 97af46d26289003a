"""The policy of contents: of every page the one in the settings, which allows no style in the page itself; of every
file and answer for scripts one under which nothing runs, whatever is in it."""

from csp.constants import HEADER, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Opened in a tab of its own, such an answer has an origin of its own too, and reaches nothing of this host.
OF_FILES = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox"


class ContentPolicy(CSPMiddleware):
    """Pages that draw figures (`{% plotly %}` in their template) may have styles of their own: Plotly inserts style
    rules as it starts, and its figures have style attributes."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request=request, response=response, report_only=report_only)
        if getattr(request, "draws_figures", False):
            parts.update = {**(parts.update or {}), "style-src": [UNSAFE_INLINE]}
        return parts

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not _is_page(response):
            response.headers.setdefault(HEADER, OF_FILES)  # which the class above leaves as it is
        return super().process_response(request, response)


def _is_page(response: HttpResponseBase) -> bool:
    is_saved = response.headers.get("Content-Disposition", "").startswith("attachment")
    return response.headers.get("Content-Type", "").startswith("text/html") and not is_saved
