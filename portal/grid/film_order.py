"""The orders of the film grid, and its pages in them.

A page begins at a film, and every order ends with the order of import, so that films that are equal in it keep their
place. The films that are equal to the first one are asked for apart from those after them: each of the two questions
follows an index where there is one, and none of them grows with the number of the page.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce

from portal.models import Dataset, Exposure, Image, User
from portal.people.exposure import record_exposure
from portal.sets.film_filters import FilmPage

SORT = "sort"  # of the query string


class UnknownOrder(Exception):
    """The message is a sentence for the user."""


SCORE = "_score"  # the row of the run beside a film, if there is one
SCORED_AT = f"{SCORE}__fused_score"


@dataclass(frozen=True)
class ByScore:
    """How films are asked for by the scores of a run: `beside` makes the annotations for a query, with `SCORE` among
    them, a row at most; `shown` are the films that have a place by their score."""

    beside: Callable[[], Mapping[str, Any]]
    shown: Q


@dataclass(frozen=True)
class FilmOrder:
    """`by`: an expression that is never null; None is the order of import alone. `tells`: the place of a film in it
    says something of its label. `run`: by the scores of this run, of which `note` says what is to be known; the films
    without a score have the value `WITHOUT_SCORE`."""

    name: str
    words: str
    by: Any = field(default=None, compare=False)
    descending: bool = False
    tells: bool = False
    run: UUID | None = None
    note: str = ""
    by_score: ByScore | None = field(default=None, compare=False)

    @property
    def phrase(self) -> str:
        return self.words if self.by is None or self.run else f"by {self.words}"

    def facts(self) -> dict[str, str]:
        """As a part of the query string; empty for the order of import."""
        return {SORT: self.name} if self.name else {}


_LABEL = Coalesce(F("current_label__value"), Value(""))
_FINDINGS = Coalesce(F("current_label__finding_words"), Value("", output_field=TextField()))
_PAIRS = (
    ("patient", "patient", F("patient__pseudonym"), False),
    ("age", "age, youngest first", F("patient__age_band"), False),
    ("view", "view position", F("view_position"), False),
    ("label", "label", _LABEL, True),
    ("finding", "findings", _FINDINGS, True),
    ("size", "size, smallest first", F("rows") * F("columns"), False),
)
_BACKWARDS = {"age": "age, oldest first", "size": "size, largest first"}
IMPORTED = FilmOrder("", "as imported")
ORDERS: Mapping[str, FilmOrder] = {
    order.name: order
    for order in (
        IMPORTED,
        FilmOrder("-imported", "newest first", descending=True),
        *(
            FilmOrder(
                sign + name, words if not sign else _BACKWARDS.get(name, f"{words}, backwards"), by, bool(sign), tells
            )
            for name, words, by, tells in _PAIRS
            for sign in ("", "-")
        ),
    )
}


LEAST_NORMAL = "least-normal-"  # and the UUID of a run
WITHOUT_SCORE = 1e300  # sorts after every score, of which the highest comes first


@dataclass(frozen=True)
class ScoreOrders:
    """The orders by the scores of runs, which this app does not know: `analysis` registers them. Both functions take
    the person and the dataset, and know nothing for a person who may not see scores. `listed`: the newest runs, newest
    first; `named`: the order by the run with this UUID, None where there is none for this person."""

    listed: Callable[[User, Dataset], Sequence[FilmOrder]]
    named: Callable[[User, Dataset, str], FilmOrder | None]


_by_scores: list[ScoreOrders] = []


def sort_also(orders: ScoreOrders) -> None:
    """Called once, when the app of the scores is ready."""
    _by_scores.append(orders)


def orders_for(person: User, dataset: Dataset) -> list[FilmOrder]:
    """What the page of the dataset offers this person."""
    return [*ORDERS.values(), *(order for orders in _by_scores for order in orders.listed(person, dataset))]


def order_of(query: Mapping[str, Any], person: User, dataset: Dataset) -> FilmOrder:
    """The order of a page's query string; one that is not there for this person counts as that of import."""
    return _order_named(str(query.get(SORT, "")), person, dataset) or IMPORTED


def _order_named(name: str, person: User, dataset: Dataset) -> FilmOrder | None:
    if not name.startswith(LEAST_NORMAL):
        return ORDERS.get(name)
    uuid = name.removeprefix(LEAST_NORMAL)
    return next((order for orders in _by_scores if (order := orders.named(person, dataset, uuid))), None)


def exact_order(query: Mapping[str, Any], person: User, dataset: Dataset) -> FilmOrder:
    """As `order_of`, for a client that is to get what it asked for. Raises UnknownOrder."""
    name = str(query.get(SORT, ""))
    order = _order_named(name, person, dataset)
    if order is None and name.startswith(LEAST_NORMAL):
        raise UnknownOrder(
            f"There is no order {name[:60]!r} for you: after {LEAST_NORMAL} comes the UUID of a finished scoring run "
            "of this dataset, and you need a role that may see scores."
        )
    if order is None:
        known = ", ".join(name for name in ORDERS if name)
        raise UnknownOrder(
            f"There is no order {name[:40]!r}: sort by {known}, {LEAST_NORMAL} with the UUID of a scoring run, or "
            "leave it out for the order of import."
        )
    return order


def record_order(person: User, films: Iterable[Image], order: FilmOrder, *, beside: "FilmPlace | None" = None) -> None:
    """Record that the person is shown the films, as `in_order` and the pages return them, at their places in an order
    by scores, and the film that they are beside."""
    if not order.run:
        return
    places = [FilmPlace(film._at, film.pk) for film in films]  # type: ignore[attr-defined]
    scored = [place.pk for place in [*places, *([beside] if beside else [])] if place.at < WITHOUT_SCORE]
    record_exposure(person, Exposure.Kind.SCORE, scored, run=order.run)


def in_order(films: QuerySet[Image], order: FilmOrder) -> QuerySet[Image]:
    """All of the films in the order."""
    sign = "-" if order.descending else ""
    if order.by is None:
        return films.order_by(f"{sign}pk")
    ordered: QuerySet[Image] = _with_value(films, order).order_by(f"{sign}_at", f"{sign}pk")
    return ordered


def _with_value(films: QuerySet[Image], order: FilmOrder) -> Any:  # the annotation is unknown to the stubs
    if order.by_score:
        films = films.annotate(**order.by_score.beside())
    return films.annotate(_at=order.by)


def with_score(films: QuerySet[Image]) -> QuerySet[Image]:
    """Those of films `in_order`, by the scores of a run, that have a score there."""
    has_score: dict[str, Any] = {"_at__lt": WITHOUT_SCORE}  # the annotation is unknown to the stubs
    return films.filter(**has_score)


def page_in_order(
    films: QuerySet[Image], uuid: str, *, among: QuerySet[Image], size: int, order: FilmOrder = IMPORTED
) -> FilmPage:
    """Return the page that begins with the film of this UUID, or the first page if `among` holds no such film.

    A film that a filter no longer shows keeps its place, so `among` are the films without filters. It must not hold a
    film of which the person may know nothing: the films beside its place tell what it is sorted by.
    """
    start = _place_of(uuid, among, order)
    if start is None:
        ahead, before = _first_in_order(films, order, size + 1), []
    else:
        ahead = films_beside(films, start, order, size + 1, with_start=True)
        before = films_beside(films, start, order, size, backwards=True)
    following = ahead[size].uuid if len(ahead) > size else None
    return FilmPage(ahead[:size], before[-1].uuid if before else None, following)


@dataclass(frozen=True)
class FilmPlace:
    """Where a film stands in an order: its value there, and its key."""

    at: Any
    pk: int


def place_of(film: Image, order: FilmOrder) -> FilmPlace:
    """The film's place, now."""
    if order.by is None:
        return FilmPlace(None, film.pk)
    return FilmPlace(_with_value(Image.objects.all(), order).values_list("_at", flat=True).get(pk=film.pk), film.pk)


def _place_of(uuid: str, among: QuerySet[Image], order: FilmOrder) -> FilmPlace | None:
    try:
        films = among.filter(uuid=UUID(uuid))
    except ValueError:
        return None
    if order.by is None:
        pk = films.values_list("pk", flat=True).first()
        return FilmPlace(None, pk) if pk else None
    row = _with_value(films, order).values_list("_at", "pk").first()
    return FilmPlace(*row) if row else None


def films_beside(
    films: QuerySet[Image],
    place: FilmPlace,
    order: FilmOrder,
    limit: int,
    *,
    backwards: bool = False,
    with_start: bool = False,
) -> list[Image]:
    """Up to `limit` films after the place in the order, or before it, the nearest first."""
    descending = order.descending != backwards
    sign, way = ("-", "lt") if descending else ("", "gt")
    from_key = {f"pk__{way}{'e' if with_start else ''}": place.pk}
    if order.by is None:
        return list(films.filter(**from_key).order_by(f"{sign}pk")[:limit])
    if order.by_score:
        return _beside_by_score(films, place, order, limit, backwards=backwards, with_start=with_start)
    at = _with_value(films, order)
    equal: list[Image] = list(at.filter(_at=place.at, **from_key).order_by(f"{sign}pk")[:limit])
    if len(equal) == limit:
        return equal
    others = at.filter(**{f"_at__{way}": place.at}).order_by(f"{sign}_at", f"{sign}pk")
    return [*equal, *others[: limit - len(equal)]]


def _first_in_order(films: QuerySet[Image], order: FilmOrder, limit: int) -> list[Image]:
    if order.by_score:
        return _up_to(limit, _scored(films, order), _without_score(films, order))
    return list(in_order(films, order)[:limit])


def _beside_by_score(
    films: QuerySet[Image], place: FilmPlace, order: FilmOrder, limit: int, *, backwards: bool, with_start: bool
) -> list[Image]:
    """As `films_beside`. The films with a score are asked for apart from those without, which come after them: so the
    first follow the index of the scores, and the others that of the import."""
    way, above = ("lt", "gt") if backwards else ("gt", "lt")
    from_key = Q(**{f"pk__{way}{'e' if with_start else ''}": place.pk})
    if place.at == WITHOUT_SCORE:
        without = _without_score(films, order, from_key, backwards=backwards)
        return _up_to(limit, without, *([_scored(films, order, backwards=True)] if backwards else []))
    score = -place.at
    beyond = Q(**{f"{SCORED_AT}__{above}e": score}) & (Q(**{f"{SCORED_AT}__{above}": score}) | from_key)
    scored = _scored(films, order, beyond, backwards=backwards)
    return _up_to(limit, scored, *([] if backwards else [_without_score(films, order)]))


def _scored(films: QuerySet[Image], order: FilmOrder, *those: Q, backwards: bool = False) -> QuerySet[Image]:
    assert order.by_score is not None
    # filtered first, and by all at once: each further filter, and one after the value, joins the scores once more
    scored = films.annotate(**order.by_score.beside()).filter(order.by_score.shown, *those).annotate(_at=order.by)
    return scored.order_by(SCORED_AT, "-pk") if backwards else scored.order_by(f"-{SCORED_AT}", "pk")


def _without_score(films: QuerySet[Image], order: FilmOrder, *those: Q, backwards: bool = False) -> QuerySet[Image]:
    assert order.by_score is not None
    # a truth value and not the value itself, of which PostgreSQL supposes that few films have it and sorts them all
    is_shown = Case(When(order.by_score.shown, then=True), default=False, output_field=BooleanField())
    without: QuerySet[Image] = _with_value(films, order).alias(_is_shown=is_shown).filter(Q(_is_shown=False), *those)
    return without.order_by("-pk" if backwards else "pk")


def _up_to(limit: int, *questions: QuerySet[Image]) -> list[Image]:
    """The first films of the questions, one after the other, of which those that are not needed are not asked."""
    listed: list[Image] = []
    for films in questions:
        if len(listed) < limit:
            listed += films[: limit - len(listed)]
    return listed
