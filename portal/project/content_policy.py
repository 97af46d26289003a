"""The policy of contents: of every page the one in the settings, which allows no style in the page itself."""

from csp.constants import UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase


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
