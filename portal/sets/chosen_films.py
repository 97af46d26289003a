"""Films that a person chose one by one or with a lasso, to make a queue or a cohort of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from portal.models import Cohort, Image, ScreeningQueue, Site, User
from portal.people.access import require, visible
from portal.people.blinding import refuse_file
from portal.sets.cohorts import freeze_cohort
from portal.sets.screening_queues import queue_films

MOST_CHOSEN = 20_000
_LONGEST_SOURCE = 200


class InvalidChoice(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class ChosenFilms:
    """Films of one site, none of which the person has yet to read blinded."""

    site: Site
    films: QuerySet[Image]
    count: int


def chosen_films(person: User, addresses: Sequence[str]) -> ChosenFilms:
    """The films with these UUIDs. Raises Http404 unless the person may see all of them, InvalidChoice unless they are
    of one site, and PermissionDenied for films that the person has yet to read blinded."""
    try:
        wanted = {UUID(address) for address in addresses}
    except ValueError:
        raise InvalidChoice(
            "The identifier of a film is invalid: reload the page and choose the films again."
        ) from None
    if not 1 <= len(wanted) <= MOST_CHOSEN:
        raise InvalidChoice(
            f"{len(wanted):,} films are chosen: choose 1 to {MOST_CHOSEN:,}. A whole dataset is chosen on its own page."
        )
    films = visible(Image.objects.all(), person).filter(uuid__in=wanted)
    sites = dict(films.order_by().values_list("pk", "dataset__site_id"))
    if len(sites) != len(wanted):
        raise Http404("A film does not exist any more, or belongs to another site: reload the page.")
    if len(set(sites.values())) != 1:
        raise InvalidChoice("The films belong to several sites: choose films of a single site.")
    refuse_file(person, films, what="The choice")
    return ChosenFilms(Site.objects.get(pk=next(iter(sites.values()))), films, len(sites))


def queue_chosen(
    *, author: User, addresses: Sequence[str], name: str, order: str, source: str = "", seed: int = 0
) -> ScreeningQueue:
    """A screening queue of the films. Raises InvalidChoice and InvalidQueue."""
    chosen = chosen_films(author, addresses)
    require(author, "make queues", chosen.site)
    return queue_films(
        site=chosen.site,
        name=name,
        images=chosen.films,
        author=author,
        source=_source(source, chosen.count),
        order=order,
        seed=seed,
    )


def freeze_chosen(*, author: User, addresses: Sequence[str], name: str, note: str = "", source: str = "") -> Cohort:
    """A cohort of the films, the next version of its name. Raises InvalidChoice and InvalidCohort."""
    chosen = chosen_films(author, addresses)
    return freeze_cohort(
        site=chosen.site,
        name=name,
        images=chosen.films,
        author=author,
        note=note,
        filters={"chosen": _source(source, chosen.count)},
    )


def _source(source: str, count: int) -> str:
    """Where the films come from, in words."""
    words = " ".join(source.replace("\0", "").split())[:_LONGEST_SOURCE]
    films = f"{count:,} film{'' if count == 1 else 's'} chosen"
    return f"{films} on {words}" if words else films
