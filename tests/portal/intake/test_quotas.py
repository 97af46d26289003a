"""Quota of a site: what counts, what is shown, and that each door refuses or waits without losing anything."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal import tasks
from portal.intake import film_files, films, quotas, zip_uploads
from portal.intake.quotas import QuotaReached, require_room, usage_of
from portal.intake.resumable import Announced, OverQuota, begin, look_after_partial_uploads, part_path
from portal.intake.waiting import waiting_for
from portal.intake.zip_uploads import InvalidUpload, receive_zip, zip_path
from portal.models import AuditEvent, Dataset, PartialUpload, Role, Site, Upload, User
from tests.pages import one_line
from tests.portal import factories
from tests.portal.api.signing_in import with_token
from tests.portal.views.conftest import as_

pytestmark = [pytest.mark.django_db]
KIB = 2**10


@pytest.fixture(autouse=True)
def _looks_at_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "_kept", {})


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


def allow(monkeypatch: pytest.MonkeyPatch, size_bytes: int | None) -> None:
    """Quotas are whole GiB; a test's films have some hundred bytes."""
    monkeypatch.setattr(quotas, "quota_of", lambda site: size_bytes)
    quotas._kept.clear()


# what counts --------------------------------------------------------------------------------------------------


def test_films_quarantine_uploads_and_runs_count(of: Dataset, kim: User, tmp_path: Path) -> None:
    one = factories.film(of)
    film_files.write_preview(one, b"p" * 50)
    factories.copy(one, factories.dataset("Other"))  # shares the file of its pixels
    factories.film(factories.dataset("Elsewhere", at=factories.site("Busan")))
    factories.quarantined(of, data=b"q" * 70)
    begin(dataset=of, author=kim, announced=Announced(bytes_total=1000))
    usage = usage_of(of.site)
    pixels = film_files.pixel_path(one.pixel_sha256).stat().st_size
    assert usage.by_kind == {"films": pixels + 50, "quarantine": 70, "uploads": 1000, "runs": 0}
    assert usage.used == pixels + 1120


def test_a_zip_counts_until_its_films_do(of: Dataset, kim: User, tmp_path: Path) -> None:
    upload = Upload.objects.create(dataset=of, uploaded_by=kim, state="received")
    zip_path(upload).parent.mkdir(exist_ok=True)
    zip_path(upload).write_bytes(b"z" * 30)
    assert usage_of(of.site).by_kind["uploads"] == 30
    Upload.objects.update(state="importing")
    assert usage_of(of.site).by_kind["uploads"] == 0


@pytest.mark.parametrize(("of_site", "of_all", "quota"), [(None, 0, None), (None, 5, 5), (2, 5, 2), (0, 5, None)])
def test_a_site_has_its_own_quota_or_that_of_all(
    of: Dataset, settings: Any, of_site: int | None, of_all: int, quota: int | None
) -> None:
    settings.SITE_QUOTA_GIB = of_all
    Site.objects.update(quota_gib=of_site)
    of.site.refresh_from_db()
    assert usage_of(of.site).quota == (quota and quota * 2**30)


def test_pages_and_api_show_it(of: Dataset, kim: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SITE_QUOTA_GIB = 2
    for address in ("/datasets/", f"/datasets/{of.uuid}/"):
        assert "0.0 GiB of 2 GiB used" in one_line(as_(kim).get(address))
    answer = with_token(kim).get("/api/v1/usage/").json()
    assert answer == [
        {"site": "Seoul", "used_bytes": 0, "quota_bytes": 2**31, "by_kind": dict.fromkeys(answer[0]["by_kind"], 0)}
    ]
    begin(dataset=of, author=kim, announced=Announced(bytes_total=int(1.7 * 2**30)))
    assert "1.7 GiB of 2 GiB used; nearly full" in one_line(as_(kim).get("/datasets/"))


# doors --------------------------------------------------------------------------------------------------------


def test_an_upload_that_does_not_fit_is_refused_before_its_first_byte(
    of: Dataset, kim: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 100)
    begin(dataset=of, author=kim, announced=Announced(bytes_total=60))
    with pytest.raises(OverQuota, match=r"This upload needs .* GiB\. Seoul has 0\.0 GiB of .* used .*larger quota"):
        begin(dataset=of, author=kim, announced=Announced(bytes_total=41))
    assert PartialUpload.objects.count() == 1
    begin(dataset=of, author=kim, announced=Announced(bytes_total=40))
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    answer = with_token(kim).post(f"/api/v1/datasets/{of.uuid}/uploads/", headers=headers)
    assert (answer.status_code, "larger quota" in str(answer.json())) == (507, True)
    with pytest.raises(InvalidUpload, match="larger quota"):
        receive_zip(dataset=of, file=SimpleUploadedFile("a.zip", b"xx"), author=kim)


def sent(of: Dataset, kim: User, tmp_path: Path, count: int) -> Upload:
    paths = {f"{n}.png": factories.png(tmp_path / f"{n}.png", seed=n) for n in range(count)}
    path = factories.zipped(tmp_path / "films.zip", paths)
    return receive_zip(dataset=of, file=SimpleUploadedFile("films.zip", path.read_bytes()), author=kim)


@pytest.mark.both
def test_an_import_that_reaches_the_quota_waits_and_goes_on(
    of: Dataset, kim: User, tmp_path: Path, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "FILMS_BETWEEN_LOOKS", 2)
    upload = sent(of, kim, tmp_path, 8)
    allow(monkeypatch, 2 * KIB)
    monkeypatch.setattr(quotas, "_uploads", lambda site: 0)
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    imported = of.images.count()
    assert (upload.state, zip_path(upload).exists()) == ("received", True)
    assert 0 < imported < 8
    assert usage_of(of.site, fresh=True).used - 2 * KIB < 2 * (usage_of(of.site).used // imported)
    sentence = waiting_for(upload, kim)
    assert sentence.startswith("Waiting for space: Seoul has")
    assert "What was sent is kept" in sentence
    tasks.import_upload(str(upload.uuid))  # nothing has changed
    assert of.images.count() == imported
    allow(monkeypatch, None)
    assert waiting_for(upload, kim) == "There is space at Seoul again: the import begins, or goes on, within minutes"
    Upload.objects.filter(pk=upload.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=6))
    published.clear()
    tasks.resume_uploads()
    assert published == [str(upload.uuid)]
    tasks.import_upload(str(upload.uuid))
    upload.refresh_from_db()
    assert (upload.state, of.images.count(), zip_path(upload).exists()) == ("done", 8, False)
    assert upload.counts == {"imported": 8 - imported, "there already": imported}


def test_the_command_stops_with_a_sentence_and_goes_on(
    of: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.png(tmp_path / "films" / "a.png")
    factories.film(of)
    allow(monkeypatch, 10)
    with pytest.raises(CommandError, match=r"larger quota of the site\. The films imported so far are kept; the same"):
        call_command("import_images", str(tmp_path / "films"), dataset="Normals", site="Seoul", stdout=StringIO())
    allow(monkeypatch, None)
    call_command("import_images", str(tmp_path / "films"), dataset="Normals", site="Seoul", stdout=StringIO())
    assert of.images.count() == 2


def test_what_was_stored_counts_before_the_disk_is_looked_at_again(
    of: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 100)
    require_room(of.site, 0, what="This import")
    quotas.grow(of.site, 101)
    assert usage_of(of.site).is_full
    require_room(of.site, 0, what="This import")  # the disk says otherwise
    with pytest.raises(QuotaReached, match=r"Seoul has 0\.0 GiB"):
        require_room(of.site, 101, what="This import")


# removed ------------------------------------------------------------------------------------------------------


def test_a_swept_upload_is_recorded(of: Dataset, kim: User) -> None:
    partial = begin(dataset=of, author=kim, announced=Announced(bytes_total=1000))
    part_path(partial).unlink()
    look_after_partial_uploads()
    event = AuditEvent.objects.get(verb="remove unfinished upload")
    assert (event.after["bytes announced"], event.actor, event.target_uuid) == (1000, None, of.uuid)
    assert not PartialUpload.objects.exists()


def test_days_are_those_of_the_setting() -> None:
    assert zip_uploads.SECONDS_UNTIL_SWEPT == 86_400


def test_a_quota_is_changed_in_the_admin_and_recorded(of: Dataset) -> None:
    root = User.objects.create_superuser("root", password=factories.PASSWORD)
    client = as_(root)
    fields = {"name": "Seoul", "quota_gib": "7", "findings": "[]"}
    totals = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    answer = client.post(f"/admin/portal/site/{of.site.pk}/change/", {**fields, **totals})
    assert answer.status_code == 302, one_line(answer)
    assert Site.objects.get(pk=of.site.pk).quota_gib == 7
    assert AuditEvent.objects.get(verb="change site").after["quota_gib"] == 7
    assert as_(factories.user("ann", Role.MANAGER)).get(f"/admin/portal/site/{of.site.pk}/change/").status_code == 302
