"""Frozen splits whose films have another patient by now, or may have: a split keeps its rows as they were frozen."""

from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef

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


def moved_films(split: Split) -> MovedFilms:
    films = SplitImage.objects.filter(member__split=split)
    moved = films.exclude(image__patient=F("member__patient"))
    elsewhere = SplitMember.objects.filter(split=split, patient=OuterRef("image__patient")).exclude(
        part=OuterRef("member__part")
    )
    waiting = HeaderDifference.objects.filter(
        state=HeaderDifference.State.PENDING, fact="patient", image__split_images__member__split=split
    )
    return MovedFilms(moved.count(), moved.filter(Exists(elsewhere)).count(), waiting.distinct().count())
