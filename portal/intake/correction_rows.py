"""What waits for a decision, as rows for page and API: the value of the film now beside that of the later file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from django.db.models import Count, QuerySet

from portal.intake.corrections import parts_in_two, shifted_again
from portal.intake.header_facts import Fact, days_moved, in_words
from portal.models import Dataset, HeaderDifference, Image


@dataclass(frozen=True)
class CorrectionRow:
    """`splits` are the names of the frozen splits that would have one person in two parts."""

    difference: HeaderDifference
    old: str
    new: str
    splits: tuple[str, ...]


def waiting_in(dataset: Dataset, fact: str = "") -> QuerySet[HeaderDifference]:
    """What waits on the films of a dataset, film by film."""
    rows = HeaderDifference.objects.filter(image__dataset=dataset, state=HeaderDifference.State.PENDING)
    rows = rows.filter(fact=fact) if fact else rows
    return rows.select_related("image__patient", "image__study", "image__dataset__site", "upload").order_by(
        "image", "pk"
    )


def counts_of(dataset: Dataset) -> dict[str, int]:
    """The number of films of each fact that differs, in the order of `Fact`."""
    counts = dict(waiting_in(dataset).order_by().values_list("fact").annotate(films=Count("pk")))
    return {str(fact): counts[fact] for fact in Fact if fact in counts}


def rows_of(differences: Iterable[HeaderDifference]) -> Sequence[CorrectionRow]:
    return [
        CorrectionRow(
            row,
            *_in_words(row),
            tuple(parts_in_two(row.image, row.new["pseudonym"])) if row.fact == Fact.PATIENT else (),
        )
        for row in differences
    ]


def _in_words(row: HeaderDifference) -> tuple[str, str]:
    if row.fact != Fact.ACQUIRED:
        return in_words(row.fact, row.old), in_words(row.fact, row.new)
    return "known" if row.image.acquired_day else "not known", days_moved(row.image.acquired_day, _day(row.image, row))


def _day(image: Image, row: HeaderDifference) -> date:
    """The later file's day of acquisition, shifted as the days of the film's patient."""
    day, shifted_by = date.fromisoformat(row.new["day"]), row.new["patient"]
    own = image.patient.pseudonym if image.patient.identified else shifted_by
    return shifted_again(day, image, shifted_by, own) or day
