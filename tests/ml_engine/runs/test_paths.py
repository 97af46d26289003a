"""Files of runs and models in the data folder: atomic writes, and one file for equal models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import uuid4

import pytest

from ml_engine.runs import paths


def test_a_model_is_kept_under_its_hash_and_twice_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"tensors")
    sha256 = paths.keep_model(model)
    assert sha256 == paths.keep_model(model) == hashlib.sha256(b"tensors").hexdigest()
    assert [path.read_bytes() for path in (data_dir / "models").rglob("*.*")] == [b"tensors"]


def test_a_link_leaves_an_existing_target(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_text("new")
    paths.link(source, target)
    other = tmp_path / "other"
    other.write_text("newer")
    paths.link(other, target)
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_source_that_is_gone_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        paths.link(tmp_path / "gone", tmp_path / "target")
    assert not list(tmp_path.iterdir())


def test_a_text_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        paths.write_text(tmp_path / "a.txt", text)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "two\n")]


def test_the_tail_of_a_log_is_its_last_lines(data_dir: Path) -> None:
    run = uuid4()
    assert paths.log_tail(run) == ""
    log = paths.run_folder(run) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(f"line {n}" for n in range(5_000)))
    assert paths.log_tail(run, lines=2) == "line 4998\nline 4999"
    assert len(paths.log_tail(run, lines=5_000, limit=100)) == 100
