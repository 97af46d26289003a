"""Files leave an event at once; what pages fetch by themselves leaves one event an hour, with its number."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal import tasks
from portal.models import AuditEvent, DownloadCount, Image, Upload, User
from portal.people.downloads import VERB, record_download, write_counts
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def person() -> User:
    return factories.curator()


@pytest.fixture
def films(person: User) -> list[Image]:
    return factories.films(factories.dataset(), unlabelled=2)


def events() -> list[dict[str, Any]]:
    rows = AuditEvent.objects.filter(verb=VERB).order_by("pk")
    return [{"site": row.site_id, "actor": row.actor, "target": row.target_uuid} | row.after for row in rows]


def later() -> None:
    DownloadCount.objects.update(hour=timezone.now() - timedelta(hours=2))


@pytest.mark.both
def test_pixels_of_a_dataset_are_one_event_an_hour(person: User, films: list[Image]) -> None:
    for film in [*films, films[0]]:
        record_download(person, "portal:image-pixels", {"uuid": film.uuid})
    record_download(person, "portal:image-preview", {"uuid": films[0].uuid})
    record_download(factories.curator("another"), "portal:image-pixels", {"uuid": films[0].uuid})
    assert write_counts() == 0  # of the hour that is not over
    assert events() == []
    later()
    tasks.audit_downloads()
    dataset = films[0].dataset
    said = [(row["actor"].username, row["what"], row["times"]) for row in events()]
    assert said == [("curator", "pixels", 3), ("curator", "previews", 1), ("another", "pixels", 1)]
    assert {(row["site"], row["target"]) for row in events()} == {(dataset.site_id, dataset.uuid)}
    assert all(row["hour"].endswith(":00Z") for row in events())
    assert not DownloadCount.objects.exists()
    assert write_counts() == 0


def test_a_request_that_ends_after_its_hour_is_counted(person: User, films: list[Image]) -> None:
    record_download(person, "portal:image-pixels", {"uuid": films[0].uuid})
    hour = DownloadCount.objects.get().hour
    assert write_counts(now=hour + timedelta(minutes=61)) == 0
    assert write_counts(now=hour + timedelta(minutes=66)) == 1


def test_a_saved_file_is_an_event_at_once(person: User) -> None:
    dataset = factories.dataset()
    upload = Upload.objects.create(dataset=dataset)
    record_download(person, "api-deidentification-csv", {"uuid": upload.uuid})
    what = "de-identification report"
    assert events() == [{"site": dataset.site_id, "actor": person, "target": dataset.uuid, "what": what}]


def test_a_file_that_nobody_declared_is_recorded_by_the_name_of_its_url(person: User) -> None:
    record_download(person, "portal:something-new", {"uuid": "1"})
    assert [row["what"] for row in events()] == ["portal:something-new"]


def test_what_its_function_records_is_not_recorded_twice(person: User) -> None:
    record_download(person, "portal:export-films", {})
    assert events() == []
