from rest_framework.pagination import CursorPagination, LimitOffsetPagination


class Pages(LimitOffsetPagination):
    """`limit` and `offset`. A larger limit is reduced to the maximum; an offset past the end gives an empty page."""

    max_limit = 1000


class Onward(CursorPagination):
    """Pages linked by `next`, at the same cost for each page. `limit` rows per page."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000


class ByPosition(Onward):
    ordering = "position"
