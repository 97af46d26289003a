"""python -m ml_engine forecast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml_engine.command import main
from ml_engine.engine import unit_costs
from ml_engine.engine.outcome import ExitStatus
from tests.ml_engine import films


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, and a model fitted on them."""
    folder = tmp_path_factory.mktemp("forecast")
    films.write_set(folder, train=12, test=4)
    arguments = ("--images", folder, "--csv", folder / "labels.csv", "--out", folder / "model")
    assert main.main(["fit", *map(str, arguments), *films.UNALIGNED]) == ExitStatus.DONE
    return folder


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path / "data"))


def forecast(folder: Path, *arguments: object) -> int:
    common = ("--images", folder, "--csv", folder / "labels.csv")
    return main.main(["forecast", *map(str, (*common, *arguments))])


def test_a_fit_is_forecast_by_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forecast(folder, *films.UNALIGNED) == ExitStatus.DONE

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fit detector, ")
    assert "fit" in lines[0]
    assert lines[-1].startswith("This takes about ")
    assert unit_costs.default_path().is_file()
    assert not (folder / "out").exists()


def test_an_alignment_is_forecast_before_the_detector(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--set", "alignment.size=32", "--set", "alignment.search_steps=2", "--align", "network")

    assert forecast(folder, *films.SMALL, *small, "--json") == ExitStatus.DONE

    made = json.loads(capsys.readouterr().out)
    assert {"seconds", "memory_gib", "disk_gib", "stages"} == set(made)
    assert {"0-network", "1-banks"} <= set(made["stages"])
    assert made["memory_gib"] > 0.05


def test_a_score_is_forecast_by_its_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forecast(folder, "--model", folder / "model", "--threads", 1) == ExitStatus.DONE

    assert capsys.readouterr().out.startswith("score, 4 films: ")


def test_a_run_that_cannot_fit_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forecast(folder, *films.UNALIGNED, "--set", "memory_gib=0.01") == ExitStatus.REFUSED

    printed = capsys.readouterr()
    assert "This takes about" in printed.out
    assert "and memory_gib is 0.01: choose a smaller" in printed.err


@pytest.mark.parametrize("model", [(), ("--model", "model")])
def test_a_folder_without_the_films_is_refused(
    folder: Path, tmp_path: Path, model: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """As fit and score refuse it: there was a forecast of a run that could not begin."""
    chosen = [*model[:1], str(folder / "model")] if model else films.UNALIGNED
    arguments = ("--images", tmp_path, "--csv", folder / "labels.csv", *chosen)
    assert main.main(["forecast", *map(str, arguments)]) == ExitStatus.REFUSED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"films that the CSV names is in {tmp_path}: check --images." in printed.err
