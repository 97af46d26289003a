"""Ranges of films that are scored one by one and merged have the bytes of a score of all films at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ml_engine.command import main
from ml_engine.core import files
from ml_engine.engine import manifest, shards
from ml_engine.engine.merge_shards import merge_shards
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_folder import write_run_folder
from tests.ml_engine import films
from tests.ml_engine.films import SMALL

FILMS = 11
BROKEN = ("film-11.png", "film-14.png")  # the first of a range of 3, and one within


@dataclass(frozen=True)
class World:
    images: Path
    csv: Path
    model: Path
    whole: Path  # scored at once

    def score(self, out: Path, *more: str) -> int:
        arguments = ["score", "--images", self.images, "--csv", self.csv, "--model", self.model, "--out", out, *more]
        return main.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Eleven films to score, one not an image and one missing, by a detector that aligns them by search."""
    base = tmp_path_factory.mktemp("shards")
    with films.fixed_code_version(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILUM_DATA_DIR", str(base / "data"))
        csv = films.write_set(base / "films", train=10, test=FILMS)
        fit = ["fit", "--images", base / "films", "--csv", csv, "--out", base / "model", *SMALL]
        fit += ["--set", "batch=4", "--set", "alignment.size=32", "--set", "alignment.search_steps=2"]
        assert main.main([str(argument) for argument in fit]) == 0
        (base / "films" / BROKEN[0]).write_bytes(b"not a film")
        (base / "films" / BROKEN[1]).unlink()
        made = World(base / "films", csv, base / "model", base / "whole")
        assert made.score(made.whole) == ExitStatus.UNREADABLE
        yield made


def score_ranges(world: World, out: Path, count: int) -> None:
    for first, end in reversed(shards.ranges(FILMS, -(-FILMS // count))):
        assert world.score(out, "--range", f"{first}:{end}") in (ExitStatus.DONE, ExitStatus.UNREADABLE)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_folder_is_the_same_whatever_the_number_of_ranges(world: World, tmp_path: Path, count: int) -> None:
    score_ranges(world, tmp_path, count)
    assert main.main(["merge", str(tmp_path), "--images", str(world.images)]) == ExitStatus.UNREADABLE
    merged, whole = films.result_bytes(tmp_path), films.result_bytes(world.whole)
    assert sorted(merged) == sorted(whole)
    assert [name for name in whole if merged[name] != whole[name]] == []
    assert json.loads(whole["score.json"])["unreadable"].keys() == {"1", "4"}


@pytest.fixture(scope="module")
def scored(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three ranges, not merged yet."""
    out = tmp_path_factory.mktemp("ranges")
    score_ranges(world, out, 3)
    return out


@pytest.fixture
def ranges(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "ranges"))


def sentence(out: Path, images: Path) -> str:
    outcome = merge_shards(out, images=images)
    assert outcome.status == ExitStatus.REFUSED
    return outcome.sentence


def test_a_missing_range_is_named(world: World, ranges: Path) -> None:
    shutil.rmtree(shards.folders(ranges)[1])
    assert sentence(ranges, world.images) == ("Films 4 to 7 are in no range: score them with --range 3:7, then merge.")


def test_a_missing_last_range_is_named(world: World, ranges: Path) -> None:
    shutil.rmtree(shards.folders(ranges)[2])
    assert "Films 8 to 11 are in no range" in sentence(ranges, world.images)


def test_an_unfinished_range_is_named(world: World, ranges: Path) -> None:
    (shards.folders(ranges)[1] / "stages" / "results.json").unlink()
    assert "Films 4 to 7 are not scored to the end" in sentence(ranges, world.images)


def test_ranges_that_overlap_are_refused(world: World, ranges: Path) -> None:
    assert world.score(ranges, "--range", "2:3") == ExitStatus.DONE
    assert "Films 3 to 3 overlap with the range before" in sentence(ranges, world.images)


def test_a_range_of_another_version_is_refused(world: World, ranges: Path) -> None:
    path = shards.folders(ranges)[2] / "run.json"
    path.write_text(path.read_text().replace('"code_version": "test"', '"code_version": "older"'))
    assert "Films 8 to 11 are of another run than those before" in sentence(ranges, world.images)


def test_ranges_of_other_films_than_the_run_has_are_refused(world: World, ranges: Path) -> None:
    rows = manifest.read(world.whole / "images.csv")
    request, _ = shards.request_of(shards.folders(ranges)[0])
    write_run_folder(ranges, request, [*rows[:-1], replace(rows[-1], sha256="0" * 64)])
    assert "The ranges are of other films than images.csv names" in sentence(ranges, world.images)


def test_no_range_at_all_is_refused(tmp_path: Path) -> None:
    assert "is not a run folder" in merge_shards(tmp_path).sentence


def test_a_range_into_the_folder_of_a_whole_run_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.score(world.whole, "--range", "0:2") == ExitStatus.REFUSED
    assert "holds a whole run already" in capsys.readouterr().err


def test_films_that_are_all_missing_are_refused_as_by_one_run(world: World, ranges: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(shards.folders(ranges)):
        first, end = shards.ranges(FILMS, 4)[number]
        errors = {str(row): "The file is not there." for row in range(end - first)}
        files.write_json(folder / "stages" / "films.json", {"errors": errors})
    assert f"None of the {FILMS} files that images.csv names" in sentence(ranges, tmp_path)


def test_a_merge_that_was_killed_is_done_again(world: World, ranges: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its last file, and after it while the ranges were removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_engine.engine.joined_scores.ScoredFolder.write_summary", lambda *_: 1 / 0)
        assert merge_shards(ranges, images=world.images).status == ExitStatus.BUG
    assert len(shards.folders(ranges)) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert merge_shards(ranges, images=world.images).unreadable == 2
    kept = (ranges / "scores.csv").stat().st_mtime_ns
    assert merge_shards(ranges, images=world.images).unreadable == 2
    assert (ranges / "scores.csv").stat().st_mtime_ns == kept
    assert not (ranges / shards.FOLDER).exists()
    merged, whole = films.result_bytes(ranges), films.result_bytes(world.whole)
    assert {name for name in merged if merged[name] != whole.get(name)} == set()


def test_a_merge_that_ended_is_nothing_to_an_earlier_attempt(world: World, ranges: Path) -> None:
    assert merge_shards(ranges, images=world.images, attempt=3).has_results
    assert "Attempt 2 is over" in merge_shards(ranges, images=world.images, attempt=2).sentence
