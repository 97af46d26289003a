"""Each thing that may be away or full has a sentence with the next step, on pages and in the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg.errors
import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client
from kombu.exceptions import OperationalError as BrokerDown

from portal.views.outages import BROKER, BUSY, DATABASE, DISK, outage_of
from tests.paths import ROOT
from tests.portal import factories

WITHOUT_DATABASE = """
import json, django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False)
answers = [
    client.post("/accounts/login/", {"login": "kim", "password": "x"}, HTTP_ACCEPT="text/html"),
    client.get("/api/v1/datasets/", headers={"Authorization": "Token abc"}),
    client.post("/labels/", headers={"Accept": "application/json", "Cookie": "sessionid=" + "a" * 32}),
    client.get("/healthz", HTTP_ACCEPT="text/html"),
]
print("ANSWER" + json.dumps([[a.status_code, a.headers.get("Retry-After"), a.content.decode()] for a in answers]))
"""


@pytest.mark.slow
def test_without_a_database_each_answer_says_so(tmp_path: Path) -> None:
    """In a process of its own, whose database is nowhere."""
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgres://hilum@/hilum?host={tmp_path}",
        "HILUM_DATA_DIR": str(tmp_path / "data"),
        "HILUM_ALLOWED_HOSTS": "testserver",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DATABASE], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.rpartition("ANSWER")[2])
    for status, again, content in answers:
        assert (status, again) == (503, "30")
        words = " ".join(content.split())
        assert "Hilum&#x27;s database does not answer" in words or "Hilum's database does not answer" in words
        assert "kept by this browser and sent once it answers again" in words
        assert "give your administrator the reference" in words
    assert "The database does not answer</h1>" in answers[0][2]
    assert json.loads(answers[1][2]).keys() == {"detail"}
    assert json.loads(answers[2][2]).keys() == {"error"}
    assert "database away" in done.stderr


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (OperationalError("connection refused"), DATABASE),
        (InterfaceError("connection already closed"), DATABASE),
        (caused(OperationalError("x"), psycopg.errors.DiskFull("could not extend file")), DISK),
        (OperationalError("database or disk is full"), DISK),
        (caused(OperationalError("x"), psycopg.errors.DeadlockDetected("x")), BUSY),
        (OperationalError("database is locked"), BUSY),
        (BrokerDown("x"), BROKER),
        (ZeroDivisionError("a bug"), None),
        (OSError("no number"), None),
        (None, None),
    ],
)
def test_what_is_recognised(error: Exception | None, outage: Any) -> None:
    assert outage_of(error) is outage


@pytest.mark.django_db
def test_a_full_disk_has_a_page(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    factories.dataset()

    def write(*_: Any) -> None:
        with open("/dev/full", "w") as file:  # the kernel's own disk that is always full
            file.write("x")

    monkeypatch.setattr("portal.views.datasets._list", write)
    client = Client(raise_request_exception=False)
    client.force_login(factories.curator("kim"))
    response = client.get("/datasets/")
    assert response.status_code == 507
    assert "The disk of the server is full, so this was not saved." in response.content.decode()
    assert "internal error" not in response.content.decode()
