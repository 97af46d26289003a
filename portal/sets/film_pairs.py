"""The pairs of films that may be the same, as a person may see them."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from portal.models import Dataset, FilmPair, Site, User
from portal.people.access import visible
from portal.people.blinding import without_withheld

UNJUDGED = "unjudged"
SHOWN = (UNJUDGED, *FilmPair.Verdict.values)
_FILMS = ("first__dataset", "second__dataset", "judged_by", "site")


def pairs_for(person: User) -> QuerySet[FilmPair]:
    """The pairs, most alike first, without those of a film that the person has yet to read blinded: the other one, and
    what people said of it, would tell."""
    pairs = visible(FilmPair.objects.select_related(*_FILMS), person).order_by("-correlation", "pk")
    return without_withheld(without_withheld(pairs, person, film="first"), person, film="second")


def of_dataset(pairs: QuerySet[FilmPair], dataset: Dataset | None) -> QuerySet[FilmPair]:
    """The pairs with a film of the dataset."""
    return pairs.filter(Q(first__dataset=dataset) | Q(second__dataset=dataset)) if dataset else pairs


def with_verdict(pairs: QuerySet[FilmPair], shown: str) -> QuerySet[FilmPair]:
    return pairs.filter(verdict="" if shown == UNJUDGED else shown)


def counts_of(pairs: QuerySet[FilmPair]) -> dict[str, int]:
    counts = dict(pairs.order_by().values_list("verdict").annotate(Count("pk")))
    return {shown: counts.get("" if shown == UNJUDGED else shown, 0) for shown in SHOWN}


def next_unjudged(pairs: QuerySet[FilmPair], after: FilmPair | None = None) -> UUID | None:
    """The unjudged pair that follows in the order of the list, or the first one."""
    waiting = with_verdict(pairs, UNJUDGED)
    if after is not None:
        waiting = waiting.exclude(pk=after.pk)
        less = Q(correlation__lt=after.correlation) | Q(correlation=after.correlation, pk__gt=after.pk)
        if (following := waiting.filter(less).values_list("uuid", flat=True).first()) is not None:
            return following
    return waiting.values_list("uuid", flat=True).first()


def unjudged_at(site: Site, datasets: Sequence[Dataset] | None = None) -> int:
    """How many pairs of the site, or of these datasets, nobody has judged."""
    pairs = FilmPair.objects.filter(site=site, verdict="")
    if datasets is not None:
        pairs = pairs.filter(Q(first__dataset__in=datasets) | Q(second__dataset__in=datasets))
    return pairs.count()
