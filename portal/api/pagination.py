from rest_framework.pagination import CursorPagination, LimitOffsetPagination


class Pages(LimitOffsetPagination):
    """`limit` and `offset`. More than the most is the most; what lies behind the last row is an empty page."""

    max_limit = 1000


class Onward(CursorPagination):
    """Page after page by `next`; each costs the same, however far on. `limit` rows a page."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000


class ByPosition(Onward):
    ordering = "position"
