"""What the folders of runs weigh, and which are removed: only what a retry alone could use, and it still can."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from ml_engine.models import Run, RunState
from ml_engine.runs import lifecycle, run_files
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.paths import run_folder
from ml_engine.runs.requests import RunRequest, request_alignment
from ml_engine.tasks import remove_failed_runs
from portal.intake import quotas
from portal.models import AuditEvent, Split
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


def ended(split: Split, state: RunState, *, days: int = 40, **fields: Any) -> Run:
    run = made.run(split, state=state, attempt=1, finished_at=timezone.now() - timedelta(days=days), **fields)
    folder = run_folder(run.uuid)
    (folder / "stage").mkdir(parents=True)
    (folder / "stage" / "a").write_bytes(b"x" * 40)
    (folder / "b").write_bytes(b"x" * 2)
    return run


def test_folders_count_without_what_is_shared(split: Split, tmp_path: Path) -> None:
    run = ended(split, RunState.DONE)
    assert run_files.bytes_of_runs(split.site) == 42
    (tmp_path / "shared").write_bytes(b"x" * 500)
    os.link(tmp_path / "shared", run_folder(run.uuid) / "shared")
    assert run_files.bytes_of_runs(split.site) == 42
    assert quotas.usage_of(split.site, fresh=True).by_kind["runs"] == 42
    assert run_files.bytes_of_runs(made.site("Busan")) == 0


def test_only_old_failed_and_cancelled_runs_lose_their_files(split: Split, settings: Any) -> None:
    runs = [ended(split, state) for state in RunState]
    young = ended(split, RunState.FAILED, days=29)
    settings.FAILED_RUN_DAYS = 30
    remove_failed_runs()
    kept = {run.state for run in runs if run_folder(run.uuid).exists()}
    assert kept == set(RunState) - {RunState.FAILED, RunState.CANCELLED}
    assert run_folder(young.uuid).exists()
    event = AuditEvent.objects.filter(verb="remove files of run").earliest("pk")
    assert event.after == {"bytes": 42, "days": 30}
    failed = next(run for run in runs if run.state == RunState.FAILED)
    assert (run_files.is_removed(failed), run_files.is_removed(young)) == (True, False)
    assert lifecycle.retry(run=failed, actor=None).state == RunState.QUEUED
    assert not run_files.is_removed(failed)


def test_nothing_is_removed_unless_it_is_set(split: Split) -> None:
    run = ended(split, RunState.FAILED, days=4000)
    assert run_files.remove_old() == 0
    assert run_folder(run.uuid).exists()


def test_a_run_that_another_waits_for_keeps_its_files(split: Split, settings: Any) -> None:
    settings.FAILED_RUN_DAYS = 30
    run = ended(split, RunState.FAILED)
    made.run(split, after=run)
    assert run_files.remove_old() == 0
    assert run_folder(run.uuid).exists()


def test_what_a_killed_removal_left_is_removed(split: Split) -> None:
    run = ended(split, RunState.FAILED)
    gone = run_folder(run.uuid).rename(run_folder(run.uuid).with_name(f".removed-{run.uuid}"))
    run_files.remove_old()
    assert not gone.exists()


def test_no_run_is_requested_at_the_quota(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(split, RunState.DONE)
    monkeypatch.setattr(quotas, "quota_of", lambda site: 41)
    monkeypatch.setattr(quotas, "_kept", {})
    with pytest.raises(RunRefused, match=r"Seoul has 0\.0 GiB of .* used .*larger quota"):
        request_alignment(RunRequest(site=split.site, name="A"), split=split, config=made.small_config())
