"""Films of a frozen split that have another patient by now, or may have: the split keeps its rows as they were."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from portal.models import HeaderDifference, Split, SplitImage, SplitMember


@dataclass(frozen=True)
class MovedFilms:
    """`moved`: films of the split that a person moved to another patient since; `in_two_parts`: those of them whose
    patient is in another part of the split too; `waiting`: films whose header came again with another patient, on
    which nobody has decided."""

    moved: int
    in_two_parts: int
    waiting: int

    def __bool__(self) -> bool:
        return bool(self.moved or self.waiting)


def with_moved_films(splits: QuerySet[Split]) -> QuerySet[Any]:
    """The splits with these numbers as `moved`, `in_two_parts` and `waiting`."""
    moved = SplitImage.objects.filter(member__split=OuterRef("pk")).exclude(image__patient=F("member__patient"))
    elsewhere = SplitMember.objects.filter(split=OuterRef("member__split"), patient=OuterRef("image__patient"))
    waiting = SplitImage.objects.filter(
        member__split=OuterRef("pk"),
        image__header_differences__fact="patient",
        image__header_differences__state=HeaderDifference.State.PENDING,
    )
    return splits.annotate(
        moved=_number(moved),
        in_two_parts=_number(moved.filter(Exists(elsewhere.exclude(part=OuterRef("member__part"))))),
        waiting=_number(waiting),
    )


def _number(films: QuerySet[SplitImage]) -> Coalesce:
    counts = films.order_by().values("member__split").annotate(films=Count("image", distinct=True)).values("films")
    return Coalesce(Subquery(counts), 0)


def moved_films(split: Split) -> MovedFilms:
    row = with_moved_films(Split.objects.filter(pk=split.pk)).values("moved", "in_two_parts", "waiting").get()
    return MovedFilms(**row)
