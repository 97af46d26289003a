"""The filters of the film grid in the query of an API request."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from portal.models import Dataset, Split
from portal.sets.film_filters import Filters, UnknownFilter

_OF_PAGES = ("limit", "offset")


def exact_filters(query: Mapping[str, Any], dataset: Dataset) -> Filters:
    """The filters, none of them ignored. Raises ValidationError."""
    named = {name: str(value) for name, value in query.items() if name not in _OF_PAGES}
    try:
        return Filters.exactly(named, list(Split.objects.filter(datasets=dataset)))
    except UnknownFilter as unknown:
        raise ValidationError({"detail": str(unknown)}) from unknown
