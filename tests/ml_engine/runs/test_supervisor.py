"""Rows -> run folder -> engine process -> rows, with the real engine on small films."""

from __future__ import annotations

import csv
import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery.worker import state as worker_state
from django.db import connection

from ml_engine.core import files
from ml_engine.core.backbone.features import random_state
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind, RunState, Score
from ml_engine.runs import engine_process, lifecycle, paths, requests, supervisor, write_folder
from ml_engine.runs.requests import RunRequest
from ml_engine.runs.store_results import percentile
from portal.intake.film_files import pixel_path
from portal.models import Image, LabelEvent, LabelSource, Part
from tests.ml_engine import made
from tests.portal.s3_service import CLOSED

# Threads and a child process must see the rows, so the tests run without a transaction.
pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "publish", lambda run: True)


@pytest.fixture
def split(data_dir: Path) -> Any:
    return made.small_split(made.site())


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def written(run: Run) -> Path:
    return write_folder.write_folder(run, tick=lambda: None)


def wait_until(condition: Any, *, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the condition did not become true"
        time.sleep(0.01)


# The folder -------------------------------------------------------------------------------------------


def test_a_detector_run_gets_labels_but_no_test_film(split: Any) -> None:
    lines = manifest(written(made.run(split, kind=RunKind.FIT_DETECTOR)))
    by_part = {part: [line["label"] for line in lines if line["part"] == part] for part in Part.values}
    assert by_part == {
        "align": [],
        "fit": ["normal"] * 6,
        "tune": ["normal", "normal", "abnormal", "abnormal"],
        "calibrate": ["normal"] * 2,
        "test": [],
    }


def test_a_scoring_run_sees_no_label(split: Any) -> None:
    run = made.run(split, kind=RunKind.SCORE, parts=["tune", "test"], detector=made.detector_model(split))
    paths.write_text(_model_file("d" * 64), "a detector")
    lines = manifest(written(run))
    assert [line["part"] for line in lines] == ["tune"] * 4 + ["test"] * 2
    assert "label" not in lines[0]


def _model_file(sha256: str) -> Path:
    path = paths.model_path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_an_alignment_is_fitted_on_part_align_where_there_is_one(split: Any) -> None:
    assert {line["part"] for line in manifest(written(made.run(split)))} == {"fit"}
    film = made.film(Image.objects.first().dataset, number=500)
    other = made.split(split.site, {"align": [film], "fit": []}, name="With align")
    assert [line["image"] for line in manifest(written(made.run(other)))] == [str(film.uuid)]


def test_labels_after_the_cut_off_do_not_count(split: Any) -> None:
    fit = Image.objects.filter(split_images__member__part="fit").first()
    LabelEvent.objects.create(image=fit, value="abnormal", source=LabelSource.READER, author=made.person("late"))
    lines = manifest(written(made.run(split, kind=RunKind.FIT_DETECTOR)))
    assert {line["label"] for line in lines if line["image"] == str(fit.uuid)} == {"normal"}


def test_the_pixels_are_hard_links_beside_their_facts(split: Any) -> None:
    folder = written(made.run(split))
    line = manifest(folder)[0]
    image = Image.objects.get(uuid=line["image"])
    assert (folder / line["filename"]).samefile(pixel_path(image.pixel_sha256))
    facts = folder / line["filename"].replace(".u16.gz", ".json")
    assert json.loads(facts.read_text()) == image.facts


@pytest.mark.parametrize("films", [3, 12])
def test_the_films_of_a_folder_are_flushed_once_however_many(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, films: int
) -> None:
    """A flush of each took 22 minutes for 160,000 films."""
    run = made.run(made.small_split(made.site(), fit=films))
    flushed: list[str] = []
    fsync, flush = os.fsync, paths._flush_file_system
    monkeypatch.setattr(os, "fsync", lambda file: [flushed.append("a file"), fsync(file)])
    monkeypatch.setattr(paths, "_flush_file_system", lambda file: [flushed.append("all"), flush(file)])
    assert len(manifest(written(run))) == films
    assert flushed == ["all", *["a file", "a file"] * 2]  # then images.csv and run.json, each with its folder


def test_a_later_attempt_keeps_the_list_of_films(split: Any) -> None:
    run = made.run(split, kind=RunKind.SCORE, detector=made.detector_model(split))
    paths.write_text(_model_file("d" * 64), "a detector")
    source = Image.objects.first().dataset
    run.datasets.set([source])
    before = manifest(written(run))
    made.film(source, number=501)
    assert manifest(written(run)) == before
    assert {line["part"] for line in before} == {"fit", "tune", "calibrate", "test"}


def test_a_later_attempt_keeps_the_weights_of_the_first(split: Any) -> None:
    state = random_state("resnet18", 0)
    path = paths.weights_folder() / "mine.safetensors"
    run = made.run(
        split, kind=RunKind.FIT_DETECTOR, config=made.small_config().replace(weights=path.name, align="none").to_json()
    )
    files.write_tensors(path, state, {"sha256": "a" * 64})
    folder = written(run)
    files.write_tensors(path, state, {"sha256": "b" * 64})
    written(run)
    assert json.loads((folder / "run.json").read_text())["weights"] == {"name": path.name, "sha256": "a" * 64}


def test_a_run_that_asks_for_a_device_gets_it(split: Any, settings: Any) -> None:
    config = made.small_config().replace(align="none", device="cuda")
    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=config.to_json())
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.message == "device is cuda, but there is no usable NVIDIA GPU here: choose auto or cpu."


def test_a_missing_pixel_file_is_a_sentence(split: Any) -> None:
    image = Image.objects.filter(split_images__member__part="fit").first()
    pixel_path(image.pixel_sha256).unlink()
    run = made.run(split)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.message.startswith(f"The pixel file of film {image.uuid} is missing from the data folder")


# The whole way ----------------------------------------------------------------------------------------


@pytest.fixture
def chain(split: Any) -> Any:
    request = RunRequest(site=split.site, name="Whole")
    return requests.request_chain(
        request, split=split, config=made.small_config(), aligned=True, parts=["tune", "test"]
    )


def test_a_chain_ends_in_models_and_scores(chain: Any) -> None:
    for run in (chain.alignment, chain.detector, chain.score):
        supervisor.execute(run.uuid)
        run.refresh_from_db()
        assert (run.state, run.message, run.detail) == (RunState.DONE, "", "")
        assert run.stage_count > 0
        assert run.versions["torch"]
        assert run.device == "cpu"  # what the engine reports, not what was requested
    alignment, detector = AlignmentModel.objects.get(), DetectorModel.objects.get()
    assert detector.alignment == alignment
    assert paths.file_sha256(paths.model_path(detector.sha256)) == detector.sha256
    assert paths.file_sha256(paths.model_path(alignment.sha256)) == alignment.sha256
    assert alignment.report["report"]
    assert detector.random_weights
    assert detector.summary["fusion_weight"] == detector.fusion_weight
    scores = list(Score.objects.order_by("row"))
    lines = manifest(paths.run_folder(chain.score.uuid))
    assert [(str(score.image.uuid), score.part) for score in scores] == [(x["image"], x["part"]) for x in lines]
    assert all(score.fused_score is not None and 0 <= score.percentile <= 100 for score in scores)
    assert len({score.fused_score for score in scores}) == len(scores)


def test_a_film_that_cannot_be_read_is_a_score_with_an_error(split: Any) -> None:
    fit = requests.request_detector(RunRequest(site=split.site, name="D"), split=split, config=made.small_config())
    supervisor.execute(fit.uuid)
    detector = DetectorModel.objects.get()
    bad = Image.objects.filter(split_images__member__part="test").first()
    pixel_path(bad.pixel_sha256).write_bytes(b"not gzip")
    run = requests.request_score(RunRequest(site=split.site, name="S"), detector=detector, parts=["test"])
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert (run.state, run.unreadable) == (RunState.DONE, 1)
    score = Score.objects.get(image=bad)
    assert score.fused_score is None
    assert score.error


def test_a_refusal_of_the_engine_is_the_runs_message(split: Any) -> None:
    config = made.small_config(weights="imagenet").replace(align="none")
    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=config.to_json())  # its weights were deleted since
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.message.startswith("The ImageNet weights of resnet18 are not on this machine.")
    assert not (paths.run_folder(run.uuid) / "stages" / "inputs.npy").exists()  # no film was read
    assert "Traceback" not in run.message


def test_a_bug_is_a_reference_for_the_user_and_a_detail_for_staff(split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(supervisor, "store_results", broken)
    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=made.small_config().replace(align="none").to_json())
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.message == supervisor.internal_error(run.uuid)
    assert "ZeroDivisionError: secret" in run.detail


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk is full: free some space and retry"),
        (errno.EACCES, "A file of the run may not be read or written"),
    ],
)
def test_a_disk_that_cannot_be_written_before_the_engine_starts_is_said(
    split: Any, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refused(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=made.small_config().replace(align="none").to_json())
    monkeypatch.setattr(paths, "write_text", refused)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.message.startswith(words)
    assert str(paths.run_folder(run.uuid)) not in run.message
    monkeypatch.undo()
    lifecycle.retry(run=run, actor=None)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.DONE


def test_executing_a_done_run_changes_nothing(split: Any) -> None:
    run = made.run(split, state=RunState.DONE)
    supervisor.execute(run.uuid)
    assert not paths.run_folder(run.uuid).exists()


def test_executing_an_unknown_run_changes_nothing(data_dir: Path) -> None:
    supervisor.execute(uuid.uuid4())


# Films in a bucket ---------------------------------------------------------------------------------------


def test_a_run_takes_from_the_bucket_what_has_no_copy(bucket: Callable[[str], None], data_dir: Path) -> None:
    split = made.small_split(made.site())
    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=made.small_config().replace(align="none").to_json())
    films = list(Image.objects.all())
    before = {film.uuid: pixel_path(film.pixel_sha256).read_bytes() for film in films}
    for film in films:
        pixel_path(film.pixel_sha256).unlink()
    folder = write_folder.write_folder(run, tick=lambda: None)
    placed = {path.name.removesuffix(".u16.gz"): path.read_bytes() for path in (folder / "files").glob("*.u16.gz")}
    assert placed
    assert placed == {str(uuid): content for uuid, content in before.items() if str(uuid) in placed}


def test_a_run_whose_films_the_bucket_does_not_give_is_refused(bucket: Callable[[str], None], data_dir: Path) -> None:
    split = made.small_split(made.site())
    run = made.run(split, kind=RunKind.FIT_DETECTOR, config=made.small_config().replace(align="none").to_json())
    for film in Image.objects.all():
        pixel_path(film.pixel_sha256).unlink()
    bucket(CLOSED)
    supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.message.startswith("The bucket of films does not answer: EndpointConnectionError. Retry once it answers")


# Cancel, stop, loss -------------------------------------------------------------------------------------


class Started:
    """A run whose supervisor works in a thread; its engine has written its first event."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.thread = threading.Thread(target=self._execute)
        self.thread.start()
        self.folder = paths.run_folder(run.uuid)
        wait_until(lambda: (self.folder / "events.jsonl").exists() and self.engines())

    def _execute(self) -> None:
        supervisor.execute(self.run.uuid)
        connection.close()

    def engines(self) -> list[int]:
        return engines_of(self.folder)

    def wait(self) -> Run:
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.run.refresh_from_db()
        return self.run


def engines_of(folder: Path) -> list[int]:
    """The ids of the processes that have the folder on their command line."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in command:
            pids.append(int(entry.name))
    return pids


@pytest.fixture
def long_run(split: Any) -> Run:
    config = made.small_config(**{"alignment.epochs": "2000"})
    return requests.request_alignment(RunRequest(site=split.site, name="Long"), split=split, config=config)


def test_a_cancel_ends_the_engine(long_run: Run) -> None:
    started = Started(long_run)
    lifecycle.cancel(run=long_run, actor=None)
    assert started.wait().state == RunState.CANCELLED
    assert started.engines() == []


def test_an_engine_that_ignores_sigterm_is_killed(
    long_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text(f"#!/bin/sh\ntrap '' TERM\ntouch {tmp_path}/up\nwhile true; do sleep 0.1; done\n")
    stubborn.chmod(0o755)
    monkeypatch.setattr(engine_process.sys, "executable", str(stubborn))
    monkeypatch.setattr(engine_process, "STOP_SECONDS", 0.2)
    folder = written(long_run)
    engine = engine_process.Engine(folder, attempt=1, device="cpu")
    try:
        wait_until(lambda: (tmp_path / "up").exists())
        engine.stop()
        assert engine.wait(seconds=0) == -9
        assert engines_of(folder) == []
    finally:
        for pid in engines_of(folder):
            os.kill(pid, 9)


def test_a_lost_lease_ends_the_engine_and_writes_nothing(long_run: Run) -> None:
    started = Started(long_run)
    Run.objects.filter(pk=long_run.pk).update(lease_owner="another", attempt=2)
    run = started.wait()
    assert (run.state, run.lease_owner, run.attempt) == (RunState.RUNNING, "another", 2)
    assert started.engines() == []


def test_a_killed_engine_brings_the_run_back_to_the_queue(long_run: Run) -> None:
    started = Started(long_run)
    for pid in started.engines():
        os.kill(pid, 9)
    run = started.wait()
    assert (run.state, run.losses) == (RunState.QUEUED, 1)
    assert run.detail == "The engine of attempt 1 ended by SIGKILL."


def test_a_stopping_worker_hands_the_run_back(long_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(long_run)
    monkeypatch.setattr(worker_state, "should_stop", 0)
    run = started.wait()
    assert (run.state, run.losses) == (RunState.QUEUED, 0)
    assert started.engines() == []


def test_the_supervisor_beats_while_the_engine_is_silent(long_run: Run, settings: Any) -> None:
    settings.RUN_LEASE_SECONDS, settings.RUN_HEARTBEAT_SECONDS = 2, 0.2
    started = Started(long_run)
    (engine,) = started.engines()
    os.kill(engine, 19)  # stopped: it reports nothing more
    first = Run.objects.get(pk=long_run.pk).heartbeat_at
    wait_until(lambda: Run.objects.get(pk=long_run.pk).heartbeat_at > first)
    second = Run.objects.get(pk=long_run.pk).heartbeat_at
    wait_until(lambda: Run.objects.get(pk=long_run.pk).heartbeat_at > second)
    lifecycle.cancel(run=long_run, actor=None)
    os.kill(engine, 18)
    assert started.wait().state == RunState.CANCELLED


def test_a_busy_folder_is_waited_for(split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(supervisor, "FOLDER_BUSY_SECONDS", 0.3)
    run = made.run(split)
    folder = written(run)
    with (folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        supervisor.execute(run.uuid)
    run.refresh_from_db()
    assert run.message.startswith("Another process still works in this run's folder.")


# Small things -------------------------------------------------------------------------------------------


def test_the_percentile_counts_normals_at_or_below() -> None:
    assert [percentile(score, [1.0, 2.0, 2.0, 5.0]) for score in (0.5, 1.0, 2.0, 9.0)] == [0, 25, 75, 100]
    assert percentile(None, [1.0]) is None
    assert percentile(1.0, []) is None


def test_a_model_is_kept_once_under_its_hash(data_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "detector.safetensors"
    model.write_bytes(b"model")
    first, second = paths.keep_model(model), paths.keep_model(model)
    assert first == second
    assert paths.model_path(first).read_bytes() == b"model"
    assert len(list(paths.model_path(first).parent.iterdir())) == 1


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("\n".join(f"line {k}" for k in range(5000)))
    assert paths.tail(log, lines=2) == "line 4998\nline 4999"
    assert paths.tail(tmp_path / "none.txt", lines=2) == ""
