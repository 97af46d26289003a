"""The tags of a site: words on films by which people find them again.

A tag is not a label: no split, run or evaluation reads one. It is what people say of a film all the same, so that it is
withheld like a label from a person who has yet to read the film blinded.
"""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from portal.models import Dataset, FilmTag, FilmView, Image, Site, TagAct, TaggedFilm, User
from portal.people import audit
from portal.people.access import get_visible, require
from portal.sets.bulk_insert import insert

MOST_TAGS = 500  # of a site
_LONGEST = 30
_MOST_DIGITS = 4
ACTIVE = Q(removed_by__isnull=True)


class InvalidTag(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class TagCount:
    """A tag with the number of films that have it."""

    tag: FilmTag
    films: int


def clean_name(text: str) -> str:
    """The tag as it is stored. Raises InvalidTag. Letters, few digits, spaces and hyphens: there is no room for an
    identifier, a date of birth or a sentence about a patient."""
    name = " ".join(unicodedata.normalize("NFC", text).lower().split())
    if not 1 <= len(name) <= _LONGEST:
        raise InvalidTag(f"The tag has {len(name)} characters; use 1 to {_LONGEST}, such as 'for teaching'.")
    odd = next((sign for sign in name if not (sign.isalpha() or sign.isdecimal() or sign in " -")), None)
    if odd is not None or not (name[0].isalpha() or name[0].isdecimal()):
        which = f"{odd!r}" if odd is not None else f"{name[0]!r} at its beginning"
        raise InvalidTag(
            f"A tag may not hold {which}; use letters, digits, spaces and hyphens, such as 'for teaching'."
        )
    if sum(sign.isdecimal() for sign in name) > _MOST_DIGITS:
        raise InvalidTag(
            f"A tag may hold at most {_MOST_DIGITS} digits, so that no number of a patient and no date becomes one; "
            "use words."
        )
    return name


# Reading -------------------------------------------------------------------------------------------------


def tag_of(person: User, uuid: object) -> FilmTag:
    return get_visible(FilmTag.objects.select_related("site"), person, str(uuid))


def tags_of(site: Site, *, without: Collection[int] = ()) -> list[TagCount]:
    """The tags of the site with their numbers of films. `without` are ids of patients whose films are not counted."""
    return _counted(TaggedFilm.objects.filter(tag__site=site), FilmTag.objects.filter(site=site), without)


def tags_in(dataset: Dataset, *, without: Collection[int] = ()) -> list[TagCount]:
    """The tags of the site with the numbers of films of the dataset that have them."""
    of_dataset = TaggedFilm.objects.filter(image__dataset=dataset)
    return _counted(of_dataset, FilmTag.objects.filter(site=dataset.site), without)


def tags_by_dataset(site: Site, *, without: Collection[int] = ()) -> dict[int, list[tuple[Dataset, int]]]:
    """Tag id -> the datasets that have films with it, with their numbers."""
    rows = TaggedFilm.objects.filter(ACTIVE, tag__site=site).order_by()
    rows = rows.exclude(image__patient_id__in=without) if without else rows
    datasets = {dataset.pk: dataset for dataset in Dataset.objects.filter(site=site)}
    counts: dict[int, list[tuple[Dataset, int]]] = {}
    for tag_id, dataset_id, films in rows.values_list("tag", "image__dataset").annotate(films=Count("pk")):
        counts.setdefault(tag_id, []).append((datasets[dataset_id], films))
    return {tag_id: sorted(of_tag, key=lambda one: one[0].name) for tag_id, of_tag in counts.items()}


def _counted(rows: QuerySet[TaggedFilm], tags: QuerySet[FilmTag], without: Collection[int]) -> list[TagCount]:
    shown = rows.filter(ACTIVE)
    shown = shown.exclude(image__patient_id__in=without) if without else shown
    films = dict(shown.order_by().values_list("tag").annotate(films=Count("pk")))
    return [TagCount(tag, films.get(tag.pk, 0)) for tag in tags.order_by("name")]


def tags_by_film(films: Iterable[Image]) -> dict[int, list[str]]:
    """The tags of the films by film id; films without one are missing (a single query)."""
    rows = TaggedFilm.objects.filter(ACTIVE, image__in=[film.pk for film in films]).order_by("tag__name")
    names: dict[int, list[str]] = {}
    for image_id, name in rows.values_list("image_id", "tag__name"):
        names.setdefault(image_id, []).append(name)
    return names


# Managing ------------------------------------------------------------------------------------------------


def rename_tag(*, tag: FilmTag, name: str, author: User) -> FilmTag:
    """Films keep the tag under its new name, and saved views ask for that. Raises InvalidTag."""
    require(author, "manage tags", tag.site)
    name, before = clean_name(name), tag.name
    with transaction.atomic():
        Site.objects.select_for_update(no_key=True).get(pk=tag.site_id)
        if FilmTag.objects.filter(site=tag.site_id, name=name).exclude(pk=tag.pk).exists():
            raise InvalidTag(f"There is a tag “{name}” already; merge “{before}” into it instead.")
        tag.name = name
        tag.save(update_fields=["name"])
        _rename_in_views(tag.site, before, name)
        audit.record(
            verb="rename tag", site=tag.site, actor=author, target=tag, before={"tag": before}, after={"tag": name}
        )
    return tag


def merge_tags(*, tag: FilmTag, into: FilmTag, author: User) -> int:
    """Films with `tag` have `into` instead, and `tag` is gone. Returns the number of films that got it. Raises
    InvalidTag."""
    require(author, "manage tags", tag.site)
    if tag.site_id != into.site_id or tag.pk == into.pk:
        raise InvalidTag(f"“{tag.name}” cannot be merged into “{into.name}”: name two different tags of one site.")
    with transaction.atomic():
        list(FilmTag.objects.select_for_update().filter(pk__in=[tag.pk, into.pk]).order_by("pk"))
        before = {"tag": tag.name, "films": tag.films.filter(ACTIVE).count(), "uuid": str(tag.uuid)}
        have = into.films.filter(ACTIVE).values("image")
        fresh = list(tag.films.filter(ACTIVE).exclude(image__in=have).order_by("image").values_list("image", flat=True))
        act = put_on(into, fresh, author)
        _rename_in_views(tag.site, tag.name, into.name)
        after = {"tag": into.name, "films": len(fresh), "act": str(act.uuid) if act else None}
        audit.record(verb="merge tags", site=tag.site, actor=author, target=into, before=before, after=after)
        tag.delete()
    return len(fresh)


def delete_tag(*, tag: FilmTag, author: User) -> int:
    """Take the tag from all films for good. Returns their number."""
    require(author, "manage tags", tag.site)
    with transaction.atomic():
        FilmTag.objects.select_for_update().get(pk=tag.pk)
        films = tag.films.filter(ACTIVE).count()
        before = {"tag": tag.name, "films": films}
        audit.record(verb="delete tag", site=tag.site, actor=author, target=tag, before=before)
        tag.delete()
    return films


def put_on(tag: FilmTag, image_ids: Sequence[int], author: User, *, undoes: TagAct | None = None) -> TagAct | None:
    """Put the tag on films that do not have it, as one act. Call inside a transaction that holds the tag."""
    if not image_ids:
        return None
    act = TagAct.objects.create(tag=tag, author=author, adds=True, films=len(image_ids), undoes=undoes)
    insert(TaggedFilm, ("tag_id", "image_id", "added_by_id"), [(tag.pk, image_id, act.pk) for image_id in image_ids])
    return act


def _rename_in_views(site: Site, before: str, after: str) -> None:
    for view in FilmView.objects.filter(dataset__site=site, query__tag=before):
        view.query = view.query | {"tag": after}
        view.words = view.words.replace(f"tagged {before}", f"tagged {after}")
        view.save(update_fields=["query", "words"])
