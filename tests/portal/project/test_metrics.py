"""/metrics: who may read it, and that its numbers are those of the database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connections
from django.test import Client, override_settings
from prometheus_client.parser import text_string_to_metric_families

from ml_engine.models import RunState
from portal.models import Upload
from portal.people import audit
from portal.project import metrics
from tests.ml_engine import made
from tests.paths import ROOT
from tests.portal import factories

pytestmark = [pytest.mark.django_db]
TOKEN = "twenty random characters or more"


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    metrics._KEPT.clear()
    yield
    metrics._KEPT.clear()


def numbers(client: Client) -> dict[tuple[str, ...], float]:
    metrics._KEPT.clear()
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.content
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


@pytest.mark.slow
def test_numbers_are_those_of_the_database(client: Client, data_dir: Path) -> None:
    split = made.split(made.site())
    made.run(split)
    made.run(split, state=RunState.RUNNING)
    films = factories.dataset("A", at=split.site)
    factories.film(films, "normal")
    Upload.objects.create(dataset=films, state=Upload.State.RECEIVED)
    audit.record(verb="back up", site=None, actor=None)
    there = numbers(client)
    assert there["hilum_runs", "queued"] == there["hilum_runs", "running"] == 1
    assert there["hilum_runs", "failed"] == 0
    assert there["hilum_runs_oldest_waiting_seconds",] > 0
    assert there["hilum_imports", "received"] == there["hilum_films",] == 1
    assert there["hilum_imports_oldest_waiting_seconds",] > 0
    assert there["hilum_workers", "imports"] == there["hilum_broker_up",] == 0
    assert there["hilum_disk_free_bytes",] > 0
    assert there["hilum_database_up",] == 1
    assert there["hilum_audit_unsealed",] >= 1
    assert there["hilum_last_backup_timestamp_seconds",] > 1_700_000_000


def test_the_page_for_administrators_says_when_to_call_somebody(client: Client) -> None:
    page = (ROOT / "docs" / "admin.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(hilum_\w+)", page))
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    named = {one.name for one in families if one.name.startswith("hilum_") and not one.name.endswith("_created")}
    assert len(named) > 10
    assert named - {name.removesuffix("_total") for name in explained} == set()


@pytest.mark.slow
def test_requests_are_counted_by_view_and_failed_log_ins(client: Client) -> None:
    factories.curator("kim")
    before = numbers(client)
    client.get("/datasets/?q=Kim+Min-jun")
    client.get("/Kim-Min-jun/")
    client.post("/accounts/login/", {"login": "kim", "password": "wrong"})
    after = numbers(client)

    def more(*name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert more("hilum_request_seconds_count", "302", "GET", "portal:datasets") == 1
    assert more("hilum_request_seconds_count", "200", "POST", "login") == 1
    assert more("hilum_failed_log_ins_total") == 1
    assert not any("min-jun" in " ".join(name).casefold() for name in after)


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.9"}, 403),  # a proxy on this machine passes on a request
        ("10.0.0.9", {}, 403),
        ("10.0.0.9", {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("10.0.0.9", {"Authorization": "Bearer another"}, 403),
        ("10.0.0.9", {"Authorization": "Bearer "}, 403),
    ],
)
@pytest.mark.slow
def test_who_may_read(address: str, headers: dict[str, str], status: int) -> None:
    with override_settings(METRICS_TOKEN=TOKEN):
        answer = Client(REMOTE_ADDR=address).get("/metrics", headers=headers)
    assert answer.status_code == status
    assert status == 200 or "HILUM_METRICS_TOKEN" in answer.content.decode()


def test_without_the_setting_no_token_opens(client: Client) -> None:
    answer = Client(REMOTE_ADDR="10.0.0.9").get("/metrics", headers={"Authorization": "Bearer "})
    assert answer.status_code == 403


@pytest.mark.slow
def test_without_a_database_it_still_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(type(connections["default"]), "cursor", away)
    there = numbers(client)
    assert there["hilum_database_up",] == 0
    assert ("hilum_films",) not in there


COUNT = """
import sys
from pathlib import Path
from portal.project.shared_counts import share
share(Path(sys.argv[1]))
import django
django.setup()
from portal.project.metrics import REQUESTS, _counted
REQUESTS.labels("a view", "GET", "200").observe(0.1)
from prometheus_client import generate_latest
print(generate_latest(_counted()).decode())
"""


@pytest.mark.slow
def test_any_process_answers_for_all_of_its_server(tmp_path: Path) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    (tmp_path / "run" / "counts" / f"{os.uname().nodename}-999999999").mkdir(parents=True)  # of a server that ended
    for expected in ("1.0", "2.0"):
        done = subprocess.run(
            [sys.executable, "-c", COUNT, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert f'hilum_request_seconds_count{{method="GET",status="200",view="a view"}} {expected}' in done.stdout
    (left,) = (tmp_path / "run" / "counts").iterdir()
    assert left.name == f"{os.uname().nodename}-{os.getpid()}"
