"""Who was sent which files: scores, readings, figures' numbers, archives, DICOM, maps, pixels.

A file that is saved leaves an audit event at once. What a page fetches by itself, film by film or figure by figure, is
counted: a row for each person, dataset or run, kind and hour, of which a task makes one event when the hour is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, ForeignKey
from django.utils import timezone

from portal.models import DownloadCount, User
from portal.people import audit
from portal.people.access import site_path

VERB = "download"
_A_TIME = 500  # rows


@dataclass(frozen=True)
class Sends:
    """What a URL sends. `of` is the model, with its app, whose UUID is the URL's argument or parameter `by`; `about`
    leads from it to what the audit names as the target, by default itself. `data`: its JSON counts as a file."""

    what: str
    of: str
    about: str = ""
    by: str = "uuid"
    counted: bool = False
    data: bool = False


_KNOWN: dict[str, Sends] = {}
_RECORDED_ELSEWHERE: set[str] = set()


def sent_by(known: Mapping[str, Sends]) -> None:
    """Declare what URLs send, by their names with namespace."""
    _KNOWN.update(known)


def recorded_elsewhere(*names: str) -> None:
    """Declare URLs whose functions record the download themselves, or whose files say nothing about films."""
    _RECORDED_ELSEWHERE.update(names)


def declared() -> set[str]:
    """The names of the URLs that were declared."""
    return _KNOWN.keys() | _RECORDED_ELSEWHERE


def is_data(name: str) -> bool:
    """Whether the JSON of this URL is recorded like a file."""
    return name in _KNOWN and _KNOWN[name].data


def record_download(person: User, name: str, arguments: Mapping[str, Any]) -> None:
    """Record that the URL of this name sent a file. A URL that nobody declared is recorded by its name."""
    if name in _RECORDED_ELSEWHERE:
        return
    sends = _KNOWN.get(name)
    if sends is None:
        with transaction.atomic():
            audit.record(verb=VERB, site=None, actor=person, after={"what": name})
        return
    target_type, target, site = _target(sends, arguments.get(sends.by))
    if sends.counted and target is not None:
        _count(person, sends.what, target_type, target, site)
        return
    with transaction.atomic():
        audit.record_about(
            verb=VERB, site_id=site, actor=person, target=(target_type, target), after={"what": sends.what}
        )


def _target(sends: Sends, uuid: Any) -> tuple[str, UUID | None, int | None]:
    """The target's model and UUID, and the key of its site."""
    model = about = apps.get_model(sends.of)
    if sends.about:
        field = model._meta.get_field(sends.about)
        assert isinstance(field, ForeignKey)
        about = field.related_model
    path = f"{sends.about}__uuid" if sends.about else "uuid"
    try:
        row = model._default_manager.filter(uuid=uuid).values_list(path, site_path(model)).first()
    except ValidationError:  # not a UUID
        row = None
    target, site = row or (None, None)
    return about._meta.model_name or "", target, site


def _count(person: User, what: str, target_type: str, target: UUID, site: int | None) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    key: dict[str, Any] = {"person": person, "what": what, "target_uuid": target, "hour": hour}
    rows = DownloadCount.objects.filter(**key)
    if rows.update(times=F("times") + 1):
        return
    first = DownloadCount(**key, target_type=target_type, site_id=site, times=0)
    DownloadCount.objects.bulk_create([first], ignore_conflicts=True)  # another request may have been first
    rows.update(times=F("times") + 1)


def write_counts(*, now: datetime | None = None) -> int:
    """Make audit events of the counts of hours that are over, and return their number. Two processes take turns."""
    written = 0
    while some := _write_some(now or timezone.now()):
        written += some
    return written


@transaction.atomic
def _write_some(now: datetime) -> int:
    # a request that began within the hour may count after its end
    rows = DownloadCount.objects.select_for_update(skip_locked=True).filter(hour__lte=now - timedelta(minutes=65))
    counts = list(rows.order_by("pk")[:_A_TIME])
    for row in counts:
        audit.record_about(
            verb=VERB,
            site_id=row.site_id,
            actor=row.person,
            target=(row.target_type, row.target_uuid),
            after={"what": row.what, "times": row.times, "hour": f"{row.hour:%Y-%m-%dT%H}:00Z"},
        )
    DownloadCount.objects.filter(pk__in=[row.pk for row in counts]).delete()
    return len(counts)
