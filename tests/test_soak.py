"""The short forms of `make soak` and `make load`, and that their checks find what they look for."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from benchmarks import invariants
from benchmarks.mixed_load import SentLabel, SentRun, SentUpload
from ml_engine.models import Run, RunKind, RunState, Score
from ml_engine.runs import paths
from portal.intake.film_files import pixel_path
from portal.models import CurrentLabel, Image, LabelEvent, Upload
from tests.ml_engine import made
from tests.paths import ROOT
from tests.portal import factories


def run(*arguments: str) -> str:
    """What a benchmark printed."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(output: str, row: str) -> list[int]:
    line = next(line for line in output.splitlines() if re.match(rf"\| {row} ", line))
    return [int(cell.replace(",", "")) for cell in re.findall(r"(?<=\|) *([\d,]+) *(?=\|)", line)]


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_web_engine_and_database_are_killed() -> None:
    output = run("benchmarks.soak", "--rounds", "3", "--faults", "web,engine,database", "--patience", "0")
    for what in ("labels", "uploads", "runs"):
        sent, acknowledged, there = numbers(output, what)
        assert sent >= there >= acknowledged > 0
    assert "Lost, there twice or wrong: 0." in output


@pytest.mark.slow
def test_five_readers_lose_no_label() -> None:
    output = run("benchmarks.load", "--readers", "5", "--labels", "4", "--every", "0.2", "--films", "20")
    assert numbers(output, "labels sent") == numbers(output, "acknowledged") == numbers(output, "in the database")
    assert numbers(output, "labels sent") == [20]
    assert numbers(output, "in the database twice") == [0]


# --- the checks ---------------------------------------------------------------------------------


@pytest.fixture
def film() -> Image:
    return factories.film(factories.dataset())


def sent_label(film: Image, *, act: uuid.UUID | None = None, **fields: object) -> SentLabel:
    label = SentLabel(act or uuid.uuid4(), str(film.uuid), "normal", "ann", acknowledged=True)
    return SentLabel(**vars(label) | fields)


@pytest.mark.django_db
def test_a_label_that_is_lost_twice_or_another_is_found(film: Image) -> None:
    ann = factories.curator("ann")
    act = factories.label_films(images=[film], value="normal", author=ann, site=film.dataset.site)
    assert not list(invariants.wrong_labels([sent_label(film, act=act)]))
    assert not list(invariants.wrong_labels([sent_label(film, acknowledged=False)]))

    assert "is lost" in next(invariants.wrong_labels([sent_label(film)]))
    assert "was sent" in next(invariants.wrong_labels([sent_label(film, act=act, value="abnormal")]))
    factories.event(film, "normal", ann, batch=act)
    assert "is there 2 times" in next(invariants.wrong_labels([sent_label(film, act=act)]))


@pytest.mark.django_db
def test_a_current_label_that_is_not_that_of_the_events_is_found(film: Image) -> None:
    factories.event(film, "normal")
    assert not [*invariants.wrong_current_labels(), *invariants.misdated_labels()]
    CurrentLabel.objects.update(value="abnormal")
    assert "its events make it normal" in next(invariants.wrong_current_labels())


@pytest.mark.django_db
def test_a_label_that_is_dated_before_an_earlier_one_is_found(film: Image) -> None:
    event = factories.event(film, "normal")
    LabelEvent.objects.create(image=film, value="abnormal", source="import", created_at=event.created_at)
    assert "before the one that it replaces" in next(invariants.misdated_labels())


@pytest.mark.django_db
def test_an_upload_that_is_lost_or_whose_films_are_not_right_is_found(data_dir: Path) -> None:
    of = factories.dataset()
    film = factories.film(of, "normal", original_name="a.png")
    stored = gzip.decompress(pixel_path(film.pixel_sha256).read_bytes())
    pixels = np.frombuffer(stored, "<u2").reshape(film.rows, film.columns)
    address = str(Upload.objects.create(dataset=of, state=Upload.State.DONE).uuid)
    assert not list(invariants.wrong_uploads([SentUpload(1, {"a.png": pixels}, acknowledged=address)]))

    missing = SentUpload(1, {"b.png": pixels}, acknowledged=address)
    assert "is there 0 times" in next(invariants.wrong_uploads([missing]))
    other = SentUpload(1, {"a.png": np.zeros_like(pixels)}, acknowledged=address)
    assert "has other pixels" in next(invariants.wrong_uploads([other]))
    factories.event(film, "normal")
    assert "has 2 imported labels" in next(invariants.wrong_uploads([SentUpload(1, {"a.png": pixels})]))
    assert "is lost" in next(invariants.wrong_uploads([SentUpload(2, {}, acknowledged=str(uuid.uuid4()))]))


@pytest.mark.django_db
def test_a_run_that_is_lost_or_whose_results_are_not_right_is_found(data_dir: Path) -> None:
    split = made.small_split(made.site())
    scored = made.run(
        split,
        kind=RunKind.SCORE,
        name="Scores 1",
        detector=made.detector_model(split),
        parts=["test"],
        state=RunState.DONE,
    )
    folder = paths.run_folder(scored.uuid)
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_bytes(b"image\n1\n")
    reference = {("test",): {"scores.csv": b"image\n1\n"}}
    sent = SentRun("Scores 1", ("test",), acknowledged=str(scored.uuid))
    assert "has 0 scores of 1" in next(invariants.wrong_runs([sent], reference))
    film = Image.objects.first()
    assert film is not None
    Score.objects.create(run=scored, image=film, row=0, fused_score=1.0)
    assert not list(invariants.wrong_runs([sent], reference))

    (folder / "scores.csv").write_bytes(b"image\n2\n")
    assert "has other bytes" in next(invariants.wrong_runs([sent], reference))
    lost = SentRun("Scores 2", ("test",), acknowledged=str(uuid.uuid4()))
    assert "Scores 2 was acknowledged and is lost" in list(invariants.wrong_runs([lost], reference))
    Run.objects.filter(pk=scored.pk).update(state=RunState.FAILED, message="Internal error")
    assert "is failed: Internal error" in list(invariants.wrong_runs([sent], reference))[1]
