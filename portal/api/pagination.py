from typing import Any

from rest_framework.pagination import BasePagination, CursorPagination, LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response


class Pages(LimitOffsetPagination):
    """`limit` and `offset`. A larger limit is reduced to the maximum; an offset past the end gives an empty page."""

    max_limit = 1000


class Onward(CursorPagination):
    """Pages linked by `next`, at the same cost for each page. `limit` rows per page."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000


class Omitting(BasePagination):
    """Adds `omitted` to each page, the sentence of the view's `omitted()` about films that are left out."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.omitted = view.omitted()
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["omitted"] = self.omitted
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page = super().get_paginated_response_schema(schema)
        page["properties"]["omitted"] = {"type": "string", "description": "Films that are left out; blank for none."}
        return page


class PagesOfFilms(Omitting, Pages):
    pass


class OnwardFilms(Omitting, Onward):
    pass


class ByPosition(Omitting, Onward):
    ordering = "position"
