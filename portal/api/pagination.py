from rest_framework.pagination import LimitOffsetPagination


class Pages(LimitOffsetPagination):
    """`limit` and `offset`. More than the most is the most; what lies behind the last row is an empty page."""

    max_limit = 1000
