"""Which import runs, which waits, and what the page says that it waits for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone

from portal import tasks
from portal.intake import zip_uploads
from portal.intake.waiting import AT_ONCE, AT_ONCE_OF_A_PERSON, SILENCE, waiting_for
from portal.models import Dataset, Role, Upload, User
from portal.project import embedded
from tests.pages import one_line
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def of() -> Dataset:
    return factories.dataset()


@pytest.fixture
def kim() -> User:
    return factories.curator("kim")


def importing(of: Dataset, author: User, **fields: Any) -> Upload:
    values = {"state": "importing", "done": 120, "total": 5000, "heartbeat_at": timezone.now(), **fields}
    return Upload.objects.create(dataset=of, uploaded_by=author, **values)


def received(of: Dataset, author: User, tmp_path: Path) -> Upload:
    """An upload of one film that waits."""
    upload = Upload.objects.create(dataset=of, uploaded_by=author, heartbeat_at=timezone.now())
    path = zip_uploads.zip_path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = Upload.objects.count()
    factories.zipped(path, {"a.png": factories.png(tmp_path / "a.png", seed=seed)})
    return upload


def state_of(upload: Upload) -> str:
    upload.refresh_from_db()
    return upload.state


def test_every_worker_of_imports_takes_a_few_at_once_and_a_person_fewer() -> None:
    assert 1 < AT_ONCE_OF_A_PERSON < AT_ONCE
    command = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]["command"]
    assert command[command.index("-c") + 1] == str(AT_ONCE)
    local = embedded._worker_command("cpu", at_once=AT_ONCE)
    assert local[local.index("--concurrency") + 1] == str(AT_ONCE)


def test_a_persons_third_import_waits_until_another_of_theirs_has_ended(
    of: Dataset, kim: User, tmp_path: Path, published: list[str]
) -> None:
    first, second = importing(of, kim), received(of, kim, tmp_path)
    third, fourth = received(of, kim, tmp_path), received(of, kim, tmp_path)
    Upload.objects.filter(pk=second.pk).update(state="importing")
    tasks.import_upload(str(third.uuid))
    assert (state_of(third), published) == ("received", [])
    of_lee = received(of, factories.curator("lee"), tmp_path)
    tasks.import_upload(str(of_lee.uuid))
    assert (state_of(of_lee), published) == ("done", [])
    Upload.objects.filter(pk=second.pk).update(state="received")
    tasks.import_upload(str(second.uuid))
    assert (state_of(second), published) == ("done", [str(third.uuid)])
    tasks.import_upload(str(third.uuid))
    assert (state_of(third), published) == ("done", [str(third.uuid), str(fourth.uuid)])
    assert state_of(first) == "importing"


def test_an_import_that_died_keeps_nobody_waiting(of: Dataset, kim: User, tmp_path: Path, published: list[str]) -> None:
    for _ in range(AT_ONCE_OF_A_PERSON):
        importing(of, kim, heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    waiting = received(of, kim, tmp_path)
    tasks.import_upload(str(waiting.uuid))
    assert state_of(waiting) == "done"


def test_one_that_waits_is_not_sent_again_every_minute(
    of: Dataset, kim: User, tmp_path: Path, published: list[str]
) -> None:
    waiting = received(of, kim, tmp_path)
    Upload.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    tasks.resume_uploads()
    tasks.resume_uploads()
    assert published == [str(waiting.uuid)]


def test_what_an_upload_waits_for(of: Dataset, kim: User, tmp_path: Path) -> None:
    lee = factories.curator("lee")
    busan = factories.site("Busan")
    waiting = received(of, kim, tmp_path)
    assert waiting_for(waiting, kim) == "Waiting for a worker to take it"

    importing(of, kim)
    importing(factories.dataset("Other"), kim, done=0, total=0)
    own = "running imports to end: Normals, 120 of 5,000; Other, being unpacked"
    assert waiting_for(waiting, kim) == f"Waiting for one of your {own}"
    assert waiting_for(waiting, lee) == f"Waiting for one of kim's {own}"

    importing(factories.dataset("Secret", at=busan), factories.curator("choi", at=busan))
    of_lee, second_of_lee = received(of, lee, tmp_path), received(of, lee, tmp_path)
    everyones = "Waiting for one of 3 running imports to end: Normals, 120 of 5,000; Other, being unpacked"
    assert waiting_for(of_lee, lee) == f"{everyones}; 1 at another site; 1 more before this one"
    assert waiting_for(second_of_lee, lee) == f"{everyones}; 1 at another site; 2 more before this one"


def test_the_page_says_what_an_upload_waits_for(of: Dataset, kim: User, tmp_path: Path) -> None:
    client = Client()
    client.force_login(kim)
    waiting = received(of, kim, tmp_path)
    Upload.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    for address in (f"/datasets/{of.uuid}/", f"/uploads/{waiting.uuid}/"):
        assert "ask your administrator whether the worker of imports runs" in one_line(client.get(address))
    importing(of, kim)
    importing(of, kim)
    for address in (f"/datasets/{of.uuid}/", f"/uploads/{waiting.uuid}/"):
        assert "Waiting for one of your running imports to end: Normals, 120 of 5,000" in one_line(client.get(address))
    stranger = factories.user("stranger", *Role, at=factories.site("Busan"))
    client.force_login(stranger)
    assert client.get(f"/uploads/{waiting.uuid}/").status_code == 404
