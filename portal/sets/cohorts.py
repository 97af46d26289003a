"""Cohorts: films frozen under a name and a version, and what differs between two versions.

A cohort keeps the label that each film had when it was frozen, so that two versions can be compared later, whatever
has been labelled since.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from portal.models import Cohort, CohortImage, Image, Site, User
from portal.people import audit
from portal.people.access import require
from portal.sets.bulk_insert import insert
from portal.sets.film_filters import UNLABELLED

CHUNK = 500  # rows a query may name; SQLite allows 999 parameters on old builds


class InvalidCohort(Exception):
    """A sentence for the user."""


@dataclass(frozen=True)
class Relabelled:
    image_id: int
    before: str  # a label, or UNLABELLED
    after: str


@dataclass(frozen=True)
class Difference:
    """What became of `earlier` on the way to `cohort`; films by their ids, in the order of import."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    relabelled: tuple[Relabelled, ...]  # of those in both


def freeze_cohort(
    *,
    site: Site,
    name: str,
    images: Iterable[Image],
    author: User,
    note: str = "",
    filters: Mapping[str, Any] | None = None,
) -> Cohort:
    """Freeze the films as the next version of the name: version 1 where the site has none. Raises InvalidCohort."""
    require(author, "freeze cohorts", site)
    name = _checked_name(name)
    if len(note) > 500 or "\0" in note:
        raise InvalidCohort(f"The note has {len(note)} characters; write at most 500, and no NUL character.")
    with transaction.atomic():
        # Two people who freeze one name at once get two versions, one after the other.
        Site.objects.select_for_update(no_key=True).get(pk=site.pk)
        labels = _labels_of(images, site)
        latest = Cohort.objects.filter(site=site, name=name).order_by("-version").first()
        cohort = Cohort.objects.create(
            site=site,
            name=name,
            version=latest.version + 1 if latest else 1,
            note=note.strip(),
            filters=dict(filters or {}),
            counts=Counter(label or UNLABELLED for label in labels.values()),
            films=len(labels),
            created_by=author,
        )
        rows = [(cohort.pk, image_id, label) for image_id, label in sorted(labels.items())]
        insert(CohortImage, ("cohort_id", "image_id", "label"), rows)
        audit.record(
            verb="freeze cohort",
            site=site,
            actor=author,
            target=cohort,
            after={"name": name, "version": cohort.version, "films": cohort.films, "labels": cohort.counts},
            reason=cohort.note,
        )
    return cohort


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 100 or "\0" in name:
        raise InvalidCohort("The cohort needs a name of 1 to 100 characters, such as 'normals'; give it one.")
    return name


def _labels_of(images: Iterable[Image], site: Site) -> dict[int, str]:
    """Film id -> its label now, blank when it has none."""
    labels: dict[int, str] = {}
    for found in _rows(images):
        for pk, site_id, label in found:
            if site_id != site.pk:
                raise InvalidCohort("A film of another site is among them; a cohort holds films of one site.")
            labels[pk] = label or ""
    if not labels:
        raise InvalidCohort("No film is under these filters; a cohort holds at least one.")
    return labels


def _rows(images: Iterable[Image]) -> Iterator[Iterable[tuple[int, int, str | None]]]:
    wanted = ("pk", "dataset__site_id", "current_label__value")
    if isinstance(images, QuerySet) and not images.query.is_sliced:
        yield images.order_by().values_list(*wanted).distinct()
        return
    ids = [image.pk for image in images]
    for start in range(0, len(ids), CHUNK):
        yield Image.objects.filter(pk__in=ids[start : start + CHUNK]).values_list(*wanted)


def names_at(site: Site) -> QuerySet[Cohort, str]:
    return Cohort.objects.filter(site=site).order_by("name").values_list("name", flat=True).distinct()


def images_of(cohort: Cohort) -> QuerySet[Image]:
    return Image.objects.filter(cohort_images__cohort=cohort)


def diff(cohort: Cohort, earlier: Cohort) -> Difference:
    """What changed from `earlier` to `cohort`, by the labels that each froze."""
    if cohort.site_id != earlier.site_id:
        raise InvalidCohort("The two cohorts are of two sites; compare cohorts of one site.")
    now, before = (dict(one.members.values_list("image_id", "label")) for one in (cohort, earlier))
    return Difference(
        added=tuple(sorted(now.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - now.keys())),
        relabelled=tuple(
            Relabelled(pk, before[pk] or UNLABELLED, now[pk] or UNLABELLED)
            for pk in sorted(now.keys() & before.keys())
            if now[pk] != before[pk]
        ),
    )
