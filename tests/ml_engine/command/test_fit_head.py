"""``python -m ml_engine fit_head`` as a user types it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ml_engine.command import main
from ml_engine.core import files
from tests.ml_engine import confirmed, films
from tests.ml_engine.confirmed import Confirmed
from tests.ml_engine.films import engine


@dataclass(frozen=True)
class World:
    source: Confirmed
    data: Path
    model: Path
    head: Path


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("cli")
    made = World(confirmed.write(base / "films"), base / "data", base / "model", base / "head")
    for arguments in (
        confirmed.fit_arguments(made.source, made.model),
        confirmed.head_arguments(made.source, made.model, made.head),
    ):
        result = engine(*arguments, data=made.data)
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
    return made


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence that a refused command prints."""
    capsys.readouterr()
    assert main.main([str(argument) for argument in arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("ml_engine: ")
    return last.removeprefix("ml_engine: ")


def test_it_says_what_was_read_and_what_it_bought(world: World, tmp_path: Path) -> None:
    result = engine(*confirmed.head_arguments(world.source, world.model, tmp_path / "head"), data=world.data)

    assert result.returncode == 0, result.stderr
    assert "53 films of the pool: 14 read as abnormal, 3 read as normal, 36 not read" in result.stderr
    assert "are separable with an AUROC of 0." in result.stderr and "passed" in result.stderr
    assert "tune, 24 films: one-class 0." in result.stderr and "with 14 reads semi-supervised 0." in result.stderr
    assert (tmp_path / "head" / "head.safetensors").read_bytes() == (world.head / "head.safetensors").read_bytes()


def test_the_same_command_again_changes_nothing_and_another_is_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (world.head / "head.safetensors").stat().st_mtime_ns

    assert main.main([str(a) for a in confirmed.head_arguments(world.source, world.model, world.head)]) == 0

    assert (world.head / "head.safetensors").stat().st_mtime_ns == before
    other = confirmed.head_arguments(world.source, world.model, world.head, "--penalty", "10")
    assert "already holds a run with another head" in refused(capsys, *other)


def test_the_result_is_a_model_for_score_and_for_another_head(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--images", world.source.images, "--csv", world.source.labels, "--model", world.head]

    assert main.main([str(a) for a in ["score", *common, "--out", tmp_path / "scores"]]) == 0
    again = confirmed.head_arguments(world.source, world.head, tmp_path / "again")
    assert main.main([str(a) for a in again]) == 0

    assert "with the columns of the semi-supervised head" in capsys.readouterr().err
    table = films.read_csv(tmp_path / "scores" / "scores.csv")
    combined = [float(row["semi_supervised_combined"]) for row in table]
    assert np.median(combined[1::2]) > max(combined[0::2])  # every other test film is abnormal
    assert (tmp_path / "again" / "head.safetensors").read_bytes() == (world.head / "head.safetensors").read_bytes()


def test_explain_does_not_take_the_films_of_a_head_for_those_of_its_bank(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    film = world.source.images / "film-000.png"
    assert "holds no detector.safetensors" in refused(capsys, "explain", "--model", world.head, "--film", film)


@pytest.mark.parametrize("part", ["calibrate", "test"])
def test_a_line_of_a_held_out_part_is_refused(
    world: World, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"split": ""} for row in films.read_csv(world.source.reads)]
    rows.append(dict.fromkeys(rows[0], "") | {"filename": "other.png", "split": part})
    path = films.write_csv(tmp_path / "reads.csv", rows)

    sentence = refused(capsys, *confirmed.head_arguments(world.source, world.model, tmp_path / "head", csv=path))

    assert f"the film is in the {part} part, and films of {part} are never used" in sentence
    assert not (tmp_path / "head").exists()


def test_a_test_film_under_another_name_is_only_caught_if_the_model_knows_its_content(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = next(row for row in films.read_csv(world.source.labels) if row["split"] == "calibrate")
    copy = world.source.images / "copy.png"
    copy.write_bytes((world.source.images / source["filename"]).read_bytes())
    rows = films.read_csv(world.source.reads)
    rows.append(dict.fromkeys(rows[0], "") | {"filename": "copy.png"})
    path = films.write_csv(tmp_path / "reads.csv", rows)

    sentence = refused(capsys, *confirmed.head_arguments(world.source, world.model, tmp_path / "head", csv=path))

    assert "copy.png has the same content as a film of the model's calibrate part" in sentence


def test_nine_confirmed_films_are_refused_before_a_film_is_read(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = films.read_csv(world.source.reads)
    abnormal = [row for row in rows if row["label"] == "abnormal"]
    path = films.write_csv(tmp_path / "reads.csv", [row for row in rows if row not in abnormal[9:]])

    sentence = refused(capsys, *confirmed.head_arguments(world.source, world.model, tmp_path / "head", csv=path))

    assert sentence.startswith("The reads hold 9 films confirmed as abnormal")


def test_a_penalty_is_a_number_or_folds(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = confirmed.head_arguments(world.source, world.model, tmp_path / "head", "--penalty", "much")
    assert "penalty is 'much': it must be a number from 0.001 to 1000000, or folds" in refused(capsys, *arguments)


def test_films_that_were_left_out_are_counted(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = films.read_csv(world.source.reads)
    normal = next(row for row in rows if row["label"] == "normal" and row["model_shown"])
    normal["label"] = "unsure"
    path = films.write_csv(tmp_path / "reads.csv", rows)

    arguments = confirmed.head_arguments(world.source, world.model, tmp_path / "head", csv=path)
    assert main.main([str(a) for a in arguments]) == 0

    assert "1 rows left out: labelled unsure" in capsys.readouterr().err


def test_a_head_beside_another_detector_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "model"
    assert main.main([str(a) for a in [*confirmed.fit_arguments(world.source, other), "--seed", "3"]]) == 0
    mixed = tmp_path / "mixed"
    files.link_or_copy(other / "detector.safetensors", mixed / "inputs" / "detector.safetensors")
    files.link_or_copy(world.head / "head.safetensors", mixed / "head.safetensors")

    sentence = refused(
        capsys, "score", "--images", world.source.images, "--csv", world.source.labels, "--model", mixed,
        "--out", tmp_path / "scores",
    )  # fmt: skip

    assert "was fitted beside another detector" in sentence
