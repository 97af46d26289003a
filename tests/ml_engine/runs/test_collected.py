"""Folders of runs, models, pictures, canonical images and boards are collected only without a row."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from ml_engine.models import CanonicalBoard, HandMadeCanonical, Run, RunState
from ml_engine.runs import paths
from portal.models import Split
from portal.retention.collector import collect
from tests.ml_engine import made

pytestmark = [pytest.mark.django_db]


@pytest.fixture
def split(data_dir: Path) -> Split:
    return made.small_split(made.site())


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    return path


def grow_old(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        os.utime(path, (0, 0))


def test_what_rows_name_stays_and_the_rest_goes(split: Split, data_dir: Path) -> None:
    run = made.run(split, state=RunState.DONE)
    child = Run.with_children.create(
        site=run.site, kind="score", parent=run, first_row=0, end_row=1, detector=made.detector_model(split)
    )
    board = CanonicalBoard.objects.create(site=run.site, name="Board", split=split)
    canonical = HandMadeCanonical.objects.create(site=run.site, board=board, name="Mean", sha256="c" * 64, films=1)
    stranger = uuid.UUID(int=7)
    kept = [
        *(written(paths.run_folder(one.uuid) / "files" / "a") for one in (run, child)),
        written(paths.model_path("d" * 64)),  # of the detector
        written(paths.canonical_path(canonical.sha256)),
        written(paths.canonical_path(f"{canonical.sha256}-variance")),
        written(paths.picture_path(run.uuid, "a.png")),
        written(paths.board_folder(board.uuid) / "sums.npz"),
        written(data_dir / "weights" / "imagenet.safetensors"),
    ]
    gone = [
        written(paths.run_folder(stranger) / "files" / "a"),
        written(data_dir / "runs" / ".removed-half" / "a"),
        written(paths.model_path("e" * 64)),
        written(data_dir / "models" / "ee" / f".{'e' * 64}.safetensors.0a"),
        written(paths.canonical_path("e" * 64)),
        written(paths.picture_path(stranger, "a.png")),
        written(paths.board_folder(stranger) / "sums.npz"),
    ]
    grow_old(data_dir)
    young = written(paths.run_folder(uuid.UUID(int=8)) / "stages" / "a")
    os.utime(paths.run_folder(uuid.UUID(int=8)), (0, 0))
    collect(hours=24, removes=True)
    assert all(path.exists() for path in (*kept, young))
    assert not any(path.exists() for path in gone)
    assert not paths.run_folder(stranger).exists() and not (data_dir / "runs" / ".removed-half").exists()


def test_storing_a_model_that_was_left_behind_makes_it_young(split: Split, data_dir: Path) -> None:
    """Its row comes only when the run ends."""
    source = written(data_dir / "runs" / "detector.safetensors")
    left = paths.model_path(paths.keep_model(source))
    os.utime(left, (0, 0))
    paths.keep_model(source)
    collect(hours=24, removes=True)
    assert left.exists()
