"""A run's archive: what is in it, who may have it, and that it is audited."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ml_engine.models import Run
from ml_engine.runs.paths import run_folder
from portal.models import AuditEvent, Membership, Role, User
from tests.analysis.scored import Scored
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def address(scored: Scored) -> str:
    folder = run_folder(scored.run.uuid)
    (folder / "run.json").write_text(json.dumps({"kind": "score"}))
    (folder / "stages").mkdir()
    (folder / "stages" / "films.json").write_text("{}")
    return reverse("analysis:run-archive", args=[scored.run.uuid])


def test_the_archive_holds_request_and_results(as_analyst: Client, scored: Scored, address: str) -> None:
    answer: Any = as_analyst.get(address)
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as packed:
        names = {name.split("/", 1)[1] for name in packed.namelist()}
        assert {"run.json", "maps.npy", "sweep.npy", "affines.npy", "score.json"} <= names
        assert not any(name.startswith("stages") for name in names)
        root = packed.namelist()[0].split("/")[0]
        assert packed.read(f"{root}/maps.npy") == (run_folder(scored.run.uuid) / "maps.npy").read_bytes()
    event = AuditEvent.objects.get(verb="download run")
    assert event.target_uuid == scored.run.uuid


def test_a_reader_and_a_stranger_get_none(client: Client, address: str) -> None:
    client.force_login(factories.user("reader", Role.READER))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404
    assert not AuditEvent.objects.filter(verb="download run").exists()


def test_hidden_scores_do_not_leave_by_the_archive(
    as_analyst: Client, analyst: User, scored: Scored, address: str
) -> None:
    Membership.objects.create(user=analyst, site=scored.run.site, role=Role.CURATOR)
    scored.films[0].current_label.delete()
    answer = as_analyst.get(address)
    assert answer.status_code == 403
    assert "scores of 1 film that stays hidden from you until it is labelled" in answer.content.decode()


def test_a_run_that_is_not_done_has_none(as_analyst: Client, scored: Scored, address: str) -> None:
    Run.objects.filter(pk=scored.run.pk).update(state="failed")
    assert as_analyst.get(address).status_code == 404
