"""The filters and the order of the film grid in the query of an API request."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from portal.grid.film_order import SORT, FilmOrder, UnknownOrder, exact_order
from portal.models import Dataset, Split, User
from portal.sets.film_filters import Filters, UnknownFilter

_OTHERS = ("limit", "offset", SORT)


def exact_filters(query: Mapping[str, Any], dataset: Dataset) -> Filters:
    """The filters, none of them ignored. Raises ValidationError."""
    named = {name: str(value) for name, value in query.items() if name not in _OTHERS}
    try:
        return Filters.exactly(named, list(Split.objects.filter(datasets=dataset)))
    except UnknownFilter as unknown:
        raise ValidationError({"detail": str(unknown)}) from unknown


def asked_order(query: Mapping[str, Any], user: User, dataset: Dataset) -> FilmOrder:
    """The order that the query names. Raises ValidationError."""
    try:
        return exact_order(query, user, dataset)
    except UnknownOrder as unknown:
        raise ValidationError({"detail": str(unknown)}) from unknown
