"""The films that a form of the grid is about: those that were ticked, else all that match the filters."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from portal.models import Dataset, Image, Split
from portal.people.signed_in import SignedInRequest
from portal.sets.film_filters import Filters


@dataclass(frozen=True)
class GridChoice:
    """`among`: all films that it might have been, by a rule that does not depend on labels or tags. `facts` are kept
    with a set that is made of the films."""

    images: QuerySet[Image]
    among: QuerySet[Image]
    words: str  # blank for all films of the dataset
    facts: dict[str, str]


def chosen_films(request: SignedInRequest, dataset: Dataset) -> GridChoice:
    """By the field `image` (repeated); without it, by the filters in the query string. Raises Http404."""
    films = dataset.images.all()
    texts = request.POST.getlist("image")
    if not texts:
        filters = Filters.from_query(request.GET, Split.objects.filter(datasets=dataset))
        return GridChoice(filters.apply(films), films, filters.words(), filters.facts())
    try:
        addresses = {UUID(text) for text in texts}
    except ValueError:
        raise Http404("The identifier of a film is invalid.") from None
    chosen = films.filter(uuid__in=addresses)
    if chosen.count() != len(addresses):
        raise Http404("A chosen film is not in this dataset; reload the page.")
    number = f"{len(addresses)} chosen film{'' if len(addresses) == 1 else 's'}"
    return GridChoice(chosen, chosen, number, {"chosen": number})
