"""The Celery tasks, and the commands that do the same by hand."""

from __future__ import annotations

import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from ml_engine import tasks
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import lifecycle, requests, supervisor
from ml_engine.runs.requests import RunRequest
from tests.ml_engine import made


@pytest.fixture
def split(db: None, data_dir: Path) -> Any:
    return made.small_split(made.site())


# Tasks -------------------------------------------------------------------------------------------------


def test_the_tasks_have_the_names_that_the_settings_use() -> None:
    assert tasks.execute_run.name == lifecycle.EXECUTE
    assert current_app.amqp.router.route({}, lifecycle.EXECUTE)["queue"].name == "gpu"
    current_app.loader.import_default_modules()
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert entry["task"] in current_app.tasks
        # not among imports, behind which they would wait
        assert current_app.amqp.router.route({}, entry["task"])["queue"].name == "upkeep"


@pytest.mark.django_db
def test_a_task_takes_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    executed = []
    monkeypatch.setattr(supervisor, "execute", executed.append)
    address = uuid.uuid4()
    tasks.execute_run(str(address))
    assert executed == [address]


def test_a_worker_looks_for_lost_runs_when_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from celery.signals import worker_ready

    reaped = []
    monkeypatch.setattr(lifecycle, "reap", lambda: reaped.append(1))
    worker_ready.send(sender=None)
    assert reaped == [1]


def test_a_worker_starts_before_the_first_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_table() -> None:
        raise DatabaseError

    monkeypatch.setattr(lifecycle, "reap", no_table)
    tasks.reap_at_start()


# Requests without a page of their own ---------------------------------------------------------------


def test_a_chain_is_three_runs_each_after_the_one_before(split: Any) -> None:
    request = RunRequest(site=split.site, name="x" * 100)
    chain = requests.request_chain(request, split=split, config=made.small_config(), aligned=True, parts=["test"])
    assert chain.alignment is not None
    assert (chain.detector.after, chain.score.after) == (chain.alignment, chain.detector)
    assert [len(run.name) for run in (chain.alignment, chain.detector, chain.score)] == [100] * 3
    assert chain.alignment.name.endswith(": alignment")
    assert chain.score.random_weights


def test_a_chain_without_alignment(split: Any) -> None:
    request = RunRequest(site=split.site, name="Plain")
    chain = requests.request_chain(request, split=split, config=made.small_config(), aligned=False, parts=["test"])
    assert (chain.alignment, chain.detector.after) == (None, None)
    assert chain.detector.config["align"] == "none"


def test_a_chain_that_cannot_end_leaves_no_run(split: Any) -> None:
    request = RunRequest(site=split.site, name="Broken")
    with pytest.raises(lifecycle.RunRefused, match="no film in part align"):
        requests.request_chain(request, split=split, config=made.small_config(), aligned=True, parts=["align"])
    assert not Run.objects.exists()


def test_nothing_crosses_sites(split: Any) -> None:
    request = RunRequest(site=made.site("Busan"), name="Theirs")
    with pytest.raises(lifecycle.RunRefused, match="belongs to another site"):
        requests.request_alignment(request, split=split, config=made.small_config())


def test_a_split_must_be_frozen(split: Any) -> None:
    split.frozen_at = None
    with pytest.raises(lifecycle.RunRefused, match="is not frozen: freeze it first"):
        requests.request_alignment(RunRequest(site=split.site, name="A"), split=split, config=made.small_config())


def test_a_detector_waits_only_for_an_alignment_that_can_still_come(split: Any) -> None:
    request, config = RunRequest(site=split.site, name="D"), made.small_config()
    failed = made.run(split, state=RunState.FAILED, name="The alignment")
    with pytest.raises(lifecycle.RunRefused, match="“The alignment” is failed: retry it first"):
        requests.request_detector(request, split=split, config=config, after=failed)
    detector = made.run(split, kind=RunKind.FIT_DETECTOR, name="A detector")
    with pytest.raises(lifecycle.RunRefused, match="“A detector” makes no alignment"):
        requests.request_detector(request, split=split, config=config, after=detector)


# Commands ----------------------------------------------------------------------------------------------


def command(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


def test_a_run_is_requested_on_the_command_line(split: Any) -> None:
    small = ["--set", "size=64", "--set", "weights=random"]
    output = command("request_run", "fit_detector", "--site=Seoul", "--name=D", "--split=First", *small)
    run = Run.objects.get()
    assert str(run.uuid) in output
    assert (run.config["size"], run.random_weights, run.requested_by) == (64, True, None)
    small += ["--alignment=first", "--set", "alignment.perceptual=0"]
    command("request_run", "fit_detector", "--site=Seoul", "--name=E", "--split=First", *small)
    assert Run.objects.get(name="E").after == Run.objects.get(name="E: alignment")
    detector = str(made.detector_model(split).uuid)
    command("request_run", "score", "--site=Seoul", "--name=S", "--detector", detector, "--datasets", "Phantoms")
    assert Run.objects.get(name="S").datasets.get().name == "Phantoms"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit_alignment", "--site=Atlantis"], "There is no site “Atlantis”. There are: Seoul."),
        (["fit_alignment", "--site=Seoul"], "--split is missing"),
        (["fit_alignment", "--site=Seoul", "--split=Tenth"], "There is no split “Tenth”. There are: First."),
        (["fit_alignment", "--site=Seoul", "--split=First", "--set", "size"], "--set size: write FIELD=VALUE"),
        (["fit_alignment", "--site=Seoul", "--split=First", "--set", "seed=x"], "seed is 'x'"),
        (
            ["fit_detector", "--site=Seoul", "--split=First", "--set=backbone=resnet18", "--set=weights=imagenet"],
            "The ImageNet weights of resnet18 are not on this machine.",
        ),
        (["score", "--site=Seoul"], "--detector is missing"),
        (["score", "--site=Seoul", "--detector=7", "--parts=test"], "There is no detector 7 at Seoul"),
    ],
)
def test_a_bad_command_is_refused_with_a_sentence(split: Any, words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as refusal:
        command("request_run", *words, "--name=x")
    assert str(refusal.value).startswith(sentence)


def test_a_queued_run_is_worked_on_by_hand(split: Any) -> None:
    run = made.run(split, state=RunState.DONE)
    assert command("work_run", str(run.uuid)) == "Done.\n"
    failed = made.run(split, state=RunState.FAILED, message="The disk is full.")
    with pytest.raises(CommandError, match="The disk is full"):
        command("work_run", str(failed.uuid))
    with pytest.raises(CommandError, match="There is no run"):
        command("work_run", str(uuid.uuid4()))
