"""Views of the grid: filters under a name, for oneself or shared with the site, and the view a dataset opens with."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from portal.grid.film_order import LEAST_NORMAL, SORT, order_of
from portal.grid.tags import tags_in
from portal.labels.criteria import current_criteria
from portal.models import Dataset, DefaultFilmView, FilmView, Site, Split, User
from portal.people import audit, blinding
from portal.people.access import get_visible, may, require
from portal.sets.film_filters import FILTERS, NO_CRITERIA, OLDER, Filters, attributes_of, findings_of, views_of

MOST_VIEWS = 100  # of one person in one dataset
_LONGEST_NAME = 60


class InvalidView(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class OpenedView:
    """A view that is being shown. `gone` says what it asks for that is no longer there; blank where all is there."""

    view: FilmView
    gone: str


def views_for(person: User, dataset: Dataset) -> QuerySet[FilmView]:
    """The person's own views, and those shared with the site, with `opens`: the dataset opens with it for them."""
    return _usable(FilmView.objects.filter(dataset=dataset), person)


def _usable(views: QuerySet[FilmView], person: User) -> QuerySet[FilmView]:
    seen = Q(owner_id=person.pk) | Q(is_shared=True)
    opens = Exists(DefaultFilmView.objects.filter(person=person, view=OuterRef("pk")))
    return views.filter(seen).annotate(opens=opens).select_related("owner", "dataset__site")


def view_of(person: User, uuid: object) -> FilmView:
    """The view, if the person may use it. Raises Http404."""
    return get_visible(_usable(FilmView.objects.all(), person), person, str(uuid))


def may_change(person: User, view: FilmView) -> bool:
    """Their own; a shared one also those who may share views."""
    return view.owner_id == person.pk or (view.is_shared and may(person, "share views", view.dataset.site))


# Writing -------------------------------------------------------------------------------------------------


def save_view(*, dataset: Dataset, name: str, query: Mapping[str, str], author: User, share: bool = False) -> FilmView:
    """Save what the query asks of the dataset's grid under a name; a view of the author's of this name is replaced.
    Raises InvalidView."""
    site = require(author, "share views" if share else "see the site", dataset.site)
    name = _checked_name(name)
    filters = Filters.from_query(query, Split.objects.filter(datasets=dataset))
    order = order_of(query, author, dataset)
    words = ", ".join(filter(None, [filters.words(), order.phrase if order.name else ""]))
    shown = {"query": filters.facts() | order.facts(), "words": words[:300], "is_shared": share}
    with transaction.atomic():
        own = FilmView.objects.select_for_update().filter(dataset=dataset, owner=author)
        there = own.filter(name=name).first()
        if there is None and own.count() >= MOST_VIEWS:
            raise InvalidView(f"You have {MOST_VIEWS} views of {dataset.name}; delete one before you save another.")
        if there is not None and there.is_shared and not share:
            raise InvalidView(f"You share a view “{name}” with the site; share this one too, or choose another name.")
        before = _facts(there) if there else None
        view, _ = FilmView.objects.update_or_create(dataset=dataset, owner=author, name=name, defaults=shown)
        audit.record(verb="save view", site=site, actor=author, target=view, before=before, after=_facts(view))
    return view


def change_view(*, view: FilmView, author: User, name: str, share: bool) -> FilmView:
    """Rename a view, share it with the site, or take it back. Raises InvalidView."""
    site = _require_change(author, view)
    if share and not view.is_shared:
        require(author, "share views", site)
    name = _checked_name(name)
    before = _facts(view)
    view.name, view.is_shared = name, share
    try:
        with transaction.atomic():
            view.save(update_fields=["name", "is_shared"])
            audit.record(verb="change view", site=site, actor=author, target=view, before=before, after=_facts(view))
    except IntegrityError:
        raise InvalidView(f"{view.owner.username} has another view “{name}” of this dataset; choose another.") from None
    return view


def delete_view(*, view: FilmView, author: User) -> None:
    site = _require_change(author, view)
    with transaction.atomic():
        audit.record(verb="delete view", site=site, actor=author, target=view, before=_facts(view))
        view.delete()


def open_with(*, dataset: Dataset, view: FilmView | None, person: User) -> None:
    """From now on the dataset opens with this view for the person, or with all films. Raises InvalidView."""
    require(person, "see the site", dataset.site)
    if view is not None and view.dataset_id != dataset.pk:
        raise InvalidView(f"The view “{view.name}” is of another dataset; choose one of {dataset.name}.")
    rows = DefaultFilmView.objects.filter(person=person, dataset=dataset)
    with transaction.atomic():
        rows.delete()
        if view is not None:
            DefaultFilmView.objects.create(person=person, dataset=dataset, view=view)
        after = {"view": view.name if view else None}
        audit.record(verb="open dataset with view", site=dataset.site, actor=person, target=dataset, after=after)


def _require_change(author: User, view: FilmView) -> Site:
    site = view.dataset.site
    return require(author, "see the site" if view.owner_id == author.pk else "share views", site)


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > _LONGEST_NAME or "\0" in name:
        raise InvalidView(f"The view needs a name of 1 to {_LONGEST_NAME} characters, such as 'PA normals'.")
    return name


def _facts(view: FilmView) -> dict[str, object]:
    return {"name": view.name, "query": view.query, "shared": view.is_shared}


# Opening -------------------------------------------------------------------------------------------------


def opened_view(person: User, dataset: Dataset, query: Mapping[str, str]) -> OpenedView | None:
    """The view that the query string of the grid names as `saved`; without any query, the person's own choice for the
    dataset. None where neither is there."""
    if query and not query.get("saved"):
        return None
    if query:
        view: FilmView | None = view_of(person, query["saved"])
    else:
        chosen = DefaultFilmView.objects.filter(person=person, dataset=dataset)
        view = views_for(person, dataset).filter(pk__in=chosen.values("view")).first()
    if view is None or view.dataset_id != dataset.pk:
        return None
    return OpenedView(view, gone_sentence(view, person))


def gone_sentence(view: FilmView, person: User) -> str:
    """What the view asks for that is no longer there, as a sentence; blank where all is there."""
    ignored, empty = _ignored(view), _without_films(view, person)
    sentences = []
    order = view.query.get(SORT, "")
    if order_of(view.query, person, view.dataset).name != order:
        sentences.append(f"The view “{view.name}” is shown as imported: {_why_no_order(order)}")
    if ignored:
        sentences.append(
            f"The view “{view.name}” asks for {_listed(ignored)}, which {_is(ignored)} no longer there: "
            "it is shown without, so with more films than when it was saved."
        )
    if empty:
        sentences.append(
            f"The view “{view.name}” asks for {_listed(empty)}, which no film that you may see has any more: "
            "it shows no film. Save it again without, or delete it."
        )
    return " ".join(sentences)


def _why_no_order(name: str) -> str:
    if name.startswith(LEAST_NORMAL):
        return "its order is by scores of a run that is gone, or that you may not see."
    return f"there is no order “{name[:40]}” any more."


def _ignored(view: FilmView) -> list[str]:
    """The filters that the grid does not know any more, and would take for any."""
    kept = Filters.from_query(view.query, Split.objects.filter(datasets=view.dataset)).facts()
    return [_named(name, value) for name, value in view.query.items() if name != SORT and kept.get(name) != value]


def _without_films(view: FilmView, person: User) -> list[str]:
    """The choices that no film of the dataset answers to. Asks the same questions as the lists of the page, so that it
    says nothing of films that the person has yet to read blinded."""
    dataset, query = view.dataset, view.query
    withheld = blinding.withheld_patients(person)
    there = {
        "finding": lambda: {finding for finding, _ in findings_of(dataset, without=withheld)},
        "attribute": lambda: {attribute for attribute, _ in attributes_of(dataset, without=withheld)},
        "view": lambda: set(views_of(dataset)),
        "tag": lambda: {count.tag.name for count in tags_in(dataset, without=withheld) if count.films},
        "criteria": lambda: {OLDER, NO_CRITERIA, *_criteria(dataset)},
    }
    ignored = set(_ignored(view))
    named = [(name, query[name]) for name in there if query.get(name)]
    missing = [_named(name, value) for name, value in named if value not in there[name]()]
    return [words for words in missing if words not in ignored]


def _criteria(dataset: Dataset) -> set[str]:
    newest = current_criteria(dataset.site)
    return {str(version) for version in range(1, newest.version + 1)} if newest else set()


def _named(name: str, value: str) -> str:
    words = {"view": "the view position", "criteria": "the criteria v", "warning": "the warning"}
    if name == "criteria":
        return f"{words[name]}{value}"
    known = name in FILTERS
    short = value[:8] if name == "split" else value[:60]
    return f"{words.get(name, f'the {name}')} “{short}”" if known else f"the filter {name[:40]!r}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _is(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"
