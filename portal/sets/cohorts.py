"""Cohorts: films frozen under a name and a version, and the differences between two versions.

A cohort keeps the label that each film had when it was frozen, so that versions can be compared whatever labels have
changed since.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet

from portal.models import Cohort, CohortImage, Image, Site, User
from portal.people import audit
from portal.people.access import require
from portal.sets.bulk_insert import insert
from portal.sets.film_filters import UNLABELLED

ADDED_BY_SCORE = "added"  # key of Cohort.filters: UUIDs of films that joined because of their score
CHUNK = 500  # rows in a query; old builds of SQLite allow 999 parameters


class InvalidCohort(Exception):
    """The message is shown to the user."""


@dataclass(frozen=True)
class Relabelled:
    image_id: int
    before: str  # a label, or UNLABELLED
    after: str


@dataclass(frozen=True)
class Difference:
    """The changes from `earlier` to `cohort`, as film ids in the order of import."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    relabelled: tuple[Relabelled, ...]  # films in both cohorts with another label

    def without(self, image_ids: Collection[int]) -> "Difference":
        return Difference(
            added=tuple(pk for pk in self.added if pk not in image_ids),
            removed=tuple(pk for pk in self.removed if pk not in image_ids),
            relabelled=tuple(change for change in self.relabelled if change.image_id not in image_ids),
        )


def freeze_cohort(
    *,
    site: Site,
    name: str,
    images: Iterable[Image],
    author: User,
    note: str = "",
    filters: Mapping[str, Any] | None = None,
) -> Cohort:
    """Freeze the films as the next version of the cohort `name` of the site, from version 1. Raises InvalidCohort."""
    require(author, "freeze cohorts", site)
    name = _checked_name(name)
    if len(note) > 500 or "\0" in note:
        raise InvalidCohort(f"The note has {len(note)} characters; use at most 500, and no NUL character.")
    with transaction.atomic():
        # Two people who freeze the same name at once get two successive versions.
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
        raise InvalidCohort("The cohort needs a name of 1 to 100 characters, such as 'normals'.")
    return name


def _labels_of(images: Iterable[Image], site: Site) -> dict[int, str]:
    """Film id -> current label, blank for an unlabelled film."""
    labels: dict[int, str] = {}
    for rows in _rows(images):
        for pk, site_id, label in rows:
            if site_id != site.pk:
                raise InvalidCohort("A film belongs to another site; a cohort has films of a single site.")
            labels[pk] = label or ""
    if not labels:
        raise InvalidCohort("No film matches the filters; a cohort needs at least one film.")
    return labels


def _rows(images: Iterable[Image]) -> Iterator[Iterable[tuple[int, int, str | None]]]:
    columns = ("pk", "dataset__site_id", "current_label__value")
    if isinstance(images, QuerySet) and not images.query.is_sliced:
        yield images.order_by().values_list(*columns).distinct()
        return
    ids = [image.pk for image in images]
    for start in range(0, len(ids), CHUNK):
        yield Image.objects.filter(pk__in=ids[start : start + CHUNK]).values_list(*columns)


def names_at(site: Site) -> QuerySet[Cohort, str]:
    return Cohort.objects.filter(site=site).order_by("name").values_list("name", flat=True).distinct()


def images_of(cohort: Cohort) -> QuerySet[Image]:
    return Image.objects.filter(cohort_images__cohort=cohort)


def leave_out(cohorts: Sequence[Cohort], patients: Collection[int]) -> None:
    """Leave the films of these patients out of the films, counts and filters of cohorts that are shown. Do not save
    such a cohort."""
    if not patients:
        return
    withheld = CohortImage.objects.filter(cohort__in=cohorts, image__patient_id__in=patients).order_by()
    by_id = {cohort.pk: cohort for cohort in cohorts}
    for pk, label, films in withheld.values_list("cohort", "label").annotate(films=Count("pk")):
        cohort = by_id[pk]
        cohort.films -= films
        counts = cohort.counts | {label or UNLABELLED: cohort.counts[label or UNLABELLED] - films}
        cohort.counts = {label: count for label, count in counts.items() if count}
    uuids = {str(uuid) for uuid in Image.objects.filter(patient_id__in=patients).values_list("uuid", flat=True)}
    for cohort in cohorts:
        if ADDED_BY_SCORE in cohort.filters:
            added = [uuid for uuid in cohort.filters[ADDED_BY_SCORE] if uuid not in uuids]
            cohort.filters = cohort.filters | {ADDED_BY_SCORE: added}


def diff(cohort: Cohort, earlier: Cohort) -> Difference:
    """Return the changes from `earlier` to `cohort`, with the labels frozen in each."""
    if cohort.site_id != earlier.site_id:
        raise InvalidCohort("The cohorts belong to different sites; compare cohorts of the same site.")
    now, before = (dict(each.members.values_list("image_id", "label")) for each in (cohort, earlier))
    return Difference(
        added=tuple(sorted(now.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - now.keys())),
        relabelled=tuple(
            Relabelled(pk, before[pk] or UNLABELLED, now[pk] or UNLABELLED)
            for pk in sorted(now.keys() & before.keys())
            if now[pk] != before[pk]
        ),
    )
