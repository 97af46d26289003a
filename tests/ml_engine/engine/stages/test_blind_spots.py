"""Lesions pasted into small synthetic films, and their scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_engine.command import main
from ml_engine.core import files
from ml_engine.core.detector import pipeline
from ml_engine.engine import manifest
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.stages import blind_spots
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films

STUDY = ["--films", "3", "--places", "2", "--contrasts", "0,0.4", "--size-mm", "nodule=30,80"]
STUDY += ["--size-mm", "effusion=60", "--size-mm", "pneumothorax=40"]
SETTINGS = [*films.UNALIGNED, "--set", "false_alarm_rate=0.3", "--set", "mask.keep=0.6"]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def films_and_csv(base: Path) -> list[str]:
    return ["--images", str(base / "films"), "--csv", str(base / "films" / "labels.csv")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films``, a model ``m`` and a finished study ``out``."""
    base = tmp_path_factory.mktemp("blind")
    films.write_set(base / "films", train=24, tune_abnormal=2, test=4)
    assert main.main(["fit", *films_and_csv(base), *SETTINGS, "--out", str(base / "m")]) == 0
    command = ["blind-spots", *films_and_csv(base), "--model", str(base / "m"), *STUDY, "--out", str(base / "out")]
    assert main.main(command) == 0
    return base


def lesions(world: Path) -> list[dict[str, str]]:
    return films.read_csv(world / "out" / "lesions.csv")


def summary(world: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((world / "out" / "blind_spots.json").read_text())
    return facts


def test_every_planned_lesion_is_listed(world: Path) -> None:
    pasted = lesions(world)
    assert len(pasted) + summary(world)["no_room"] == 3 * 2 * 2 * (2 + 1 + 1)
    assert {line["kind"] for line in pasted} == {"nodule", "effusion", "pneumothorax"}


def test_a_lesion_without_contrast_changes_no_number(world: Path) -> None:
    flat = [line for line in lesions(world) if float(line["contrast"]) == 0]
    assert flat
    for line in flat:
        for name in blind_spots.MAPS:
            for what in ("score", "highest", "place", "marked"):
                assert line[f"{name}_{what}_after"] == line[f"{name}_{what}_before"]


def test_a_bright_lesion_raises_the_score_at_its_place(world: Path) -> None:
    large = [line for line in lesions(world) if line["kind"] == "nodule" and float(line["contrast"]) > 0]
    assert any(
        float(line["region_place_after"]) > float(line["region_place_before"])
        for line in large
        if line["region_place_after"]
    )


def test_the_films_are_those_that_score_scores(world: Path, tmp_path: Path) -> None:
    """The numbers of the untouched films equal those of a scoring run."""
    names = [line["filename"] for line in films.read_csv(world / "out" / "films.csv")]
    rows = [{"filename": name} for name in names]
    films.write_csv(tmp_path / "some.csv", rows)
    common = ["--images", str(world / "films"), "--csv", str(tmp_path / "some.csv")]
    assert main.main(["score", *common, "--model", str(world / "m"), "--out", str(tmp_path / "s")]) == 0
    scores = {line["filename"]: line for line in films.read_csv(tmp_path / "s" / "scores.csv")}
    for line in films.read_csv(world / "out" / "films.csv"):
        for name in blind_spots.MAPS:
            assert float(line[f"{name}_score"]) == float(scores[line["filename"]][name])


def test_a_place_that_the_mask_cuts_off_is_reported(world: Path) -> None:
    mask, lines = np.array(summary(world)["mask"]), lesions(world)
    for line in lines:
        assert (line["masked_off"] == "yes") == (not mask[int(line["patch_row"]), int(line["patch_column"])])
        if float(line["masked_share"]) == 1:
            assert line["fused_place_after"] == "" and line["fused_found_there"] == "no"
    assert {line["masked_off"] for line in lines} == {"yes", "no"}


def test_places_are_listed_in_both_frames(world: Path) -> None:
    for line in lesions(world):  # not aligned: 80 original pixels are 64 canonical ones
        assert float(line["x_original_px"]) == pytest.approx(float(line["x_canonical_px"]) * 80 / 64)
        assert int(line["patch_row"]) == int(float(line["y_canonical_px"]) // 8)
        assert int(line["cell"]) == int(line["patch_row"]) * 2 // 8 * 2 + int(line["patch_column"]) * 2 // 8
    large = [line for line in lesions(world) if line["size_mm"] == "80.0"]
    assert any(int(line["cells_touched"]) > 1 for line in large)


def test_sizes_and_contrasts_share_their_places(world: Path) -> None:
    places: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for line in lesions(world):
        if line["kind"] == "nodule":
            places.setdefault((line["filename"], line["place"]), set()).add(
                (line["x_original_px"], line["y_original_px"])
            )
    assert len(places) == 6
    assert all(len(at) == 1 for at in places.values())


def test_the_threshold_is_the_detectors(world: Path) -> None:
    detector = pipeline.load_detector(world / "m" / "detector.safetensors")
    facts = summary(world)
    for name, weight in (("global", 0.0), ("region", 1.0), ("fused", detector.choice.weight)):
        value = pipeline.threshold(detector, weight=weight)["value"]
        assert facts["thresholds"][name]["value"] == value
        for line in lesions(world):
            assert (line[f"{name}_marked_after"] == "yes") == (float(line[f"{name}_highest_after"]) > value)


def test_a_film_without_spacing_counts_as_400_mm_wide(world: Path) -> None:
    facts = summary(world)
    assert facts["films_of_nominal_width"] == facts["films"] == 3
    assert facts["nominal_width_mm"] == 400


def test_the_manifest_holds_no_label(world: Path) -> None:
    header = (world / "out" / "images.csv").read_text().splitlines()[0]
    assert "label" not in header
    assert {row.part for row in manifest.read(world / "out" / "images.csv")} == {"tune"}


def test_a_restart_skips_the_films_already_done(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [
        "blind-spots",
        *films_and_csv(world),
        "--model",
        str(world / "m"),
        *STUDY,
        "--out",
        str(tmp_path / "out"),
    ]
    rows_pasted: list[int] = []
    paste_into = blind_spots._paste_into

    def stops(work: Any, planned: Any, row: int, **more: Any) -> Any:
        rows_pasted.append(row)
        if len(rows_pasted) == 2:
            raise MemoryError
        return paste_into(work, planned, row, **more)

    monkeypatch.setattr(blind_spots, "_paste_into", stops)
    assert main.main(command) == 2
    assert main.main(command) == 0
    assert rows_pasted == [0, 1, 1, 2]
    for name in ("lesions.csv", "films.csv", "blind_spots.json"):
        assert (tmp_path / "out" / name).read_bytes() == (world / "out" / name).read_bytes()


def test_a_detector_without_a_threshold_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        *films.UNALIGNED,
        "--set",
        "false_alarm_rate=0.01",
        "--set",
        "cross_fit=no",
        "--out",
        str(tmp_path / "m"),
    ]
    assert main.main(["fit", *films_and_csv(world), *settings]) == 0
    command = [
        "blind-spots",
        *films_and_csv(world),
        "--model",
        str(tmp_path / "m"),
        *STUDY,
        "--out",
        str(tmp_path / "out"),
    ]
    assert main.main(command) == 2
    assert "The detector has no threshold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--size-mm", "mass=3"], "write KIND=LIST"),
        (["--kinds", "mass"], "kind is 'mass'"),
        (["--contrasts", "7"], "contrasts is 7"),
        (["--model", "nowhere"], "holds no detector.safetensors"),
    ],
)
def test_invalid_options_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    command = ["blind-spots", *films_and_csv(world), "--model", str(world / "m"), *more, "--out", str(tmp_path / "out")]
    assert main.main(command) == 2
    assert sentence in capsys.readouterr().err


def test_a_study_without_any_lesion_is_refused(world: Path, tmp_path: Path) -> None:
    """As if the lungs of every film were too small for the lesions."""
    folder = shutil.copytree(world / "out", tmp_path / "out")
    for path in (folder / "stages" / "lesions").glob("*.json"):
        files.write_json(path, files.read_json(path) | {"lesions": []})
    (folder / "stages" / "results.json").unlink()
    outcome = run_folder(folder, images=world / "films")
    assert outcome.status == ExitStatus.REFUSED
    assert outcome.sentence.startswith("No lesion fits into any film: check the alignment")
