"""Files by the end of their path, which tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.intake.entries import NamedFile
from portal.intake.sources.file_index import FileIndex, files_of_folder


def test_a_file_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    for name in ("train/p1/s1/view1.jpg", "train/p2/s1/view1.jpg", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "train/p1/s1/view1.jpg")
    index = FileIndex(files_of_folder(tmp_path), parts=3)
    assert len(index) == 2
    assert index.path_of("CheXpert/train/p2/s1/view1.jpg") == tmp_path / "train/p2/s1/view1.jpg"
    assert index.path_of("train/p3/s1/view1.jpg") is None


def test_two_files_of_a_name_are_none(tmp_path: Path) -> None:
    index = FileIndex([NamedFile("1/a.png", tmp_path / "1/a.png"), NamedFile("2/a.png", tmp_path / "2/a.png")], parts=1)
    assert index.path_of("a.png") is None
    assert index.is_ambiguous("a.png")


def test_a_file_may_lie_under_another_name(tmp_path: Path) -> None:
    """As those of a zip do, which are unpacked under numbers."""
    index = FileIndex([NamedFile("films/a.png", tmp_path / "000001.png")], parts=1)
    assert index.path_of("a.png") == tmp_path / "000001.png"


def test_the_order_is_stable_and_a_heartbeat_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.intake.sources.file_index._FILES_BETWEEN_BEATS", 1)
    for number in reversed(range(3)):
        (tmp_path / f"{number}.png").touch()
    beats: list[None] = []
    names = [file.name for file in files_of_folder(tmp_path, beat=lambda: beats.append(None))]
    assert names == ["0.png", "1.png", "2.png"]
    assert len(beats) == 3
