"""/readyz without a worker, with all well, and what it tells strangers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client

from portal.project import condition, readiness

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    readiness.KEPT.clear()
    yield
    readiness.KEPT.clear()


@pytest.mark.slow
def test_each_part_has_its_word(client: Client) -> None:
    answer = client.get("/readyz")
    states = answer.json()
    assert list(states) == ["database", "migrations", "broker", "disk", "workers"]
    assert (states["database"], states["migrations"], states["disk"]) == ("ok", "ok", "ok")
    assert states["workers"] == "No worker answers for imports and runs and upkeep."
    assert answer.status_code == 503


def test_all_well_is_200(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "READY", (condition.database, condition.disk))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"database": "ok", "disk": "ok"})


def test_strangers_are_told_no_paths(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    full = condition.Condition("disk", "0.5 GiB are free on the disk of /srv/hilum.", "")
    monkeypatch.setattr(readiness, "READY", (lambda: full,))
    assert client.get("/readyz").json() == {"disk": "Less space is free than HILUM_FREE_DISK_GIB keeps."}
