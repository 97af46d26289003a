"""The further columns that films of earlier imports have: which there are, and dropping those that nobody needs.

Earlier releases kept every column whose name was not that of an identifier."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from portal.intake.csv_columns import may_be_kept
from portal.intake.further_columns import (
    RARE,
    ColumnKind,
    is_age,
    number_of,
    why_no_category,
    why_no_number,
    with_rare_together,
)
from portal.models import Image, Site, User
from portal.people import audit

# Written by the import itself, of known columns.
OWN = frozenset({"projection as written", "finding without a label"})
_BATCH = 1000


@dataclass(frozen=True)
class StoredColumn:
    """`fits`: what the column could be declared, by its name and values."""

    name: str
    films: int
    values: int
    fits: tuple[ColumnKind, ...]


def stored_columns(site: Site) -> list[StoredColumn]:
    values = _values(_films(site))
    return [
        StoredColumn(name, counts.total(), len(counts), _fits(name, counts)) for name, counts in sorted(values.items())
    ]


def _fits(name: str, counts: Counter[str]) -> tuple[ColumnKind, ...]:
    if not may_be_kept(name):
        return ()
    reasons = {ColumnKind.NUMBER: why_no_number(counts), ColumnKind.CATEGORY: why_no_category(counts, is_complete=True)}
    return tuple(kind for kind, why_not in reasons.items() if not why_not)


def drop_columns(site: Site, *, keep: Mapping[str, ColumnKind], actor: User | None) -> Counter[str]:
    """Drop all further columns of the site's films but those to keep, and of these the values that a new import would
    not keep as they are. Returns the number of films that lost something, by column."""
    films = _films(site)
    of_categories = {
        name: with_rare_together(counts.elements()) for name, counts in _values(films).items() if name in keep
    }
    dropped: Counter[str] = Counter()
    with transaction.atomic():
        changed = []
        for film in films.order_by("pk").only("pk", "extra").iterator(chunk_size=_BATCH):
            left = {name: value for name, value in film.extra.items() if _stays(name, value, keep, of_categories)}
            if left == film.extra:
                continue
            dropped.update(set(film.extra) - set(left))
            film.extra = left
            changed.append(film)
        Image.objects.bulk_update(changed, ["extra"], batch_size=_BATCH)
        after = {"films": len(changed), "columns": len(dropped), "kept": len(keep)}  # names may be those of people
        audit.record(verb="drop further columns", site=site, actor=actor, target=site, after=after)
    return dropped


def _stays(name: str, value: str, keep: Mapping[str, ColumnKind], categories: Mapping[str, Mapping[str, str]]) -> bool:
    if name in OWN:
        return True
    if name not in keep:
        return False
    if keep[name] == ColumnKind.CATEGORY:
        return categories[name].get(value, RARE) != RARE
    number = number_of(value, of_age=is_age(name))
    return bool(number) and float(number) == float(value.replace(",", "."))


def _films(site: Site) -> QuerySet[Image]:
    return Image.objects.filter(dataset__site=site).exclude(extra={})


def _values(films: QuerySet[Image]) -> dict[str, Counter[str]]:
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for extra in films.values_list("extra", flat=True).iterator(chunk_size=_BATCH):
        for name, value in extra.items():
            if name not in OWN:
                values[name][value] += 1
    return values
