"""A scored folder loads as it was written, and missing or inconsistent files are refused."""

from __future__ import annotations

import csv
import json
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_engine.core.detector.pipeline import Scores
from ml_engine.engine.heatmap import NoPlaceOnFilm
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.scored_folder import ARRAYS, ArrayName, ResultsMissing, ScoredFolder, ScoreSummary
from tests.ml_engine import scored_folders

MAPS = np.array([[[1.0, 2.0], [3.0, np.nan]], [[5.0, 6.0], [7.0, 8.0]]], dtype=np.float32)
ROWS = [ManifestRow("a.png", image="a"), ManifestRow("b.png", image="b"), ManifestRow("c.png", image="c")]


def small(path: Path, maps: np.ndarray = MAPS, **changes: Any) -> ScoredFolder:
    """Three films, each with these maps of 2 x 2 patches of 8 pixels."""
    sweep = scored_folders.sweep_between(np.array([1.0, 2.0, 3.0]), np.array([4.0, 2.0, 0.0]))
    together = np.tile(maps, (3, 1, 1, 1))
    return scored_folders.write(path, ROWS, sweep, maps=together, rows=2, columns=2, size=16, **changes)


def scores_of(values: np.ndarray) -> Scores:
    """All scores of the films are these values, the others zero."""
    zeros = np.zeros((len(values), 1, 101), np.float32)
    return Scores(values, values, values, zeros[:, 0], np.repeat(zeros, 2, axis=1), np.repeat(zeros, 6, axis=1))


# --- a round trip -----------------------------------------------------------------------------------


def test_films_and_summary_come_back(tmp_path: Path) -> None:
    written = small(tmp_path, calibration_scores=[0.5, 1.5], unreadable={})
    folder = ScoredFolder(tmp_path)
    assert asdict(folder.summary) == asdict(scored_folders.summary(
        rows=2, columns=2, size=16, calibration_scores=[0.5, 1.5], by_hand=[]
    ))  # fmt: skip
    assert [(film.image, film.filename, film.whole, film.region) for film in folder.films] == [
        ("a", "a.png", 1.0, 4.0), ("b", "b.png", 2.0, 2.0), ("c", "c.png", 3.0, 0.0)
    ]  # fmt: skip
    assert [film.fused for film in folder.films] == pytest.approx([2.8, 2.0, 1.2])
    np.testing.assert_array_equal(folder.array("sweep"), written.array("sweep"))
    np.testing.assert_array_equal(folder.maps_of(1), MAPS)
    assert folder.affine_of(2).tolist() == [[0.5, 0, 0], [0, 0.75, 0]]


def test_an_unreadable_film_has_no_score_but_a_reason(tmp_path: Path) -> None:
    ScoredFolder(tmp_path).write_scores(
        [ManifestRow("a.png"), ManifestRow("b.png")],
        {1: "It is damaged, says the reader."},
        scores_of(np.array([1.0, np.nan])),
        weight=0.6,
    )
    readable, broken = ScoredFolder(tmp_path).films
    assert (readable.fused, readable.error, readable.image) == (1.0, "", "")
    assert np.isnan(broken.fused)
    assert broken.error == "It is damaged, says the reader."


def test_scores_of_an_untrained_network_say_so_in_each_line(tmp_path: Path) -> None:
    def lines(**options: Any) -> list[dict[str, str]]:
        ScoredFolder(tmp_path).write_scores(ROWS, {}, scores_of(np.arange(3.0)), weight=0.6, **options)
        with (tmp_path / "scores.csv").open() as file:
            return list(csv.DictReader(file))

    assert "notice" not in lines()[0]
    noted = lines(random_weights=True)
    assert [line["notice"] for line in noted] == ["random weights, not for evaluation"] * 3
    assert list(noted[0])[-1] == "notice"
    assert [film.fused for film in ScoredFolder(tmp_path).films] == [0.0, 1.0, 2.0]


def test_every_number_keeps_all_its_digits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=3) / 3
    ScoredFolder(tmp_path).write_scores(ROWS, {}, scores_of(values), weight=0.6)
    assert [film.whole for film in ScoredFolder(tmp_path).films] == values.tolist()


def test_the_parts_are_those_at_the_fusion_weight(tmp_path: Path) -> None:
    folder = small(tmp_path)
    assert folder.has_parts
    for row, film in enumerate(folder.films):
        assert [film.mean_z, film.top_z] == pytest.approx(folder.array("parts")[row, :, 60].tolist())
    assert folder.films[0].mean_z == pytest.approx((2.8 - 1) / 2)


def test_a_folder_of_an_engine_without_parts_opens(tmp_path: Path) -> None:
    folder = small(tmp_path)
    scores = tmp_path / "scores.csv"
    with scores.open(newline="") as file:
        lines = list(csv.DictReader(file))
    with scores.open("w", newline="") as file:
        names = ["image", "filename", "global", "region", "fused", "error"]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    for name in ("parts.npy", "family.npy"):
        (tmp_path / name).unlink()
    again = ScoredFolder(tmp_path)
    assert not again.has_parts
    assert [film.fused for film in again.films] == [film.fused for film in folder.films]
    assert np.isnan([film.mean_z for film in again.films]).all()


def test_names_of_a_later_release_are_ignored(tmp_path: Path) -> None:
    facts = scored_folders.summary().to_json() | {"something_new": 1}
    assert ScoreSummary.from_json(facts) == scored_folders.summary()


# --- missing or inconsistent files -----------------------------------------------------------------


@pytest.mark.parametrize("name", [field.name for field in fields(ScoreSummary) if field.default is MISSING])
def test_a_summary_without_one_of_its_names_is_refused(tmp_path: Path, name: str) -> None:
    small(tmp_path)
    facts = json.loads((tmp_path / "score.json").read_text())
    facts[f"{name}_renamed"] = facts.pop(name)
    (tmp_path / "score.json").write_text(json.dumps(facts))
    with pytest.raises(ResultsMissing, match=f"score.json does not hold {name}: score the films again"):
        _ = ScoredFolder(tmp_path).summary


@pytest.mark.parametrize("name", ["maps.npy", "affines.npy", "sweep.npy", "scores.csv", "score.json"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    for damage in (Path.unlink, lambda path: path.write_bytes(b"\xff")):
        small(tmp_path)
        damage(tmp_path / name)
        with pytest.raises(ResultsMissing, match=f"{name} is missing or damaged: score the films again"):
            ScoredFolder(tmp_path).check()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("maps", (3, 2, 2, 3)), ("maps", (2, 2, 2, 2)), ("original_from_canonical", (2, 2, 3)), ("sweep", (3, 100))],
)
def test_an_array_of_other_films_or_another_grid_is_refused(
    tmp_path: Path, name: ArrayName, shape: tuple[int, ...]
) -> None:
    folder = small(tmp_path)
    folder.write_array(name, np.zeros(shape, np.float32))
    with pytest.raises(ResultsMissing, match=f"{ARRAYS[name]} has the shape"):
        ScoredFolder(tmp_path).check()


# --- one map of a film's two ------------------------------------------------------------------------


def fused(path: Path, standardisation: Any, **options: Any) -> np.ndarray:
    return small(path, weight=0.25, standardisation=standardisation).heatmap_of(1, **options).fused


def test_raw_maps_are_fused_at_the_runs_weight(tmp_path: Path) -> None:
    map_ = fused(tmp_path, None)
    assert map_[0].tolist() == [0.25 * 5 + 0.75 * 1, 0.25 * 6 + 0.75 * 2]
    assert np.isnan(map_[1, 1])


def test_a_number_a_patch_standardises_each(tmp_path: Path) -> None:
    mean, std = [[[1, 1], [1, None]], [[4, 4], [4, 4]]], [[[2, 2], [2, None]], [[1, 1], [1, 2]]]
    assert fused(tmp_path, {"mean": mean, "std": std})[1, 0] == 0.25 * 3 + 0.75 * 1


@pytest.mark.parametrize("mean", [[1, 4], [[[1]], [[4]]]])
def test_a_number_a_map_holds_for_all_its_patches(tmp_path: Path, mean: Any) -> None:
    standardisation = {"mean": mean, "std": [2, 2] if mean == [1, 4] else [[[2]], [[2]]]}
    region = fused(tmp_path, standardisation, weight=1.0)
    assert region[:, 0].tolist() == [0.5, 1.5]
    assert region[0, 1] == 1.0
    assert np.isnan(region[1, 1])  # masked in one map is masked
    assert fused(tmp_path, standardisation, weight=0.0)[0].tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("threshold", "scale"), [(2.5, (0, 5)), (None, (0, 2)), (0.0, (0, 2)), (-1.0, (0, 2))])
def test_the_threshold_is_the_middle_of_the_scale(tmp_path: Path, threshold: float | None, scale: Any) -> None:
    heatmap = small(tmp_path, threshold_map=threshold).heatmap_of(0)
    assert (heatmap.low, heatmap.high) == scale
    assert heatmap.threshold == threshold


def test_points_go_to_original_pixels_and_pixels_find_their_patch(tmp_path: Path) -> None:
    """x' = x / 2 and y' = 3 y / 4 of the canonical film, whose patches are 8 pixels wide."""
    heatmap = small(tmp_path, weight=0.0).heatmap_of(0)
    assert heatmap.in_original(np.array([[0.5, 1.5], [2.0, 0.0]])).tolist() == [[2.0, 9.0], [8.0, 0.0]]
    pixels = heatmap.in_original_pixels(12, 8)
    assert np.isnan(pixels[6:, 4:]).all()  # the masked patch
    assert pixels[0, 0] == 1.0  # beyond the outermost centres the map is constant


def test_an_alignment_without_an_inverse_has_no_pixels(tmp_path: Path) -> None:
    folder = small(tmp_path, original_from_canonical=((1, 0, 0), (2, 0, 0)))
    with pytest.raises(NoPlaceOnFilm, match="The film's alignment cannot be inverted"):
        folder.heatmap_of(0).in_original_pixels(4, 4)


def test_the_outline_and_the_hottest_patch_are_in_original_pixels(tmp_path: Path) -> None:
    """One patch above the threshold, row 1 and column 0; x' = x / 2 and y' = 3 y / 4 of 8 canonical pixels."""
    maps = np.array([[[1.0, 1.0], [3.0, 1.0]]] * 2, dtype=np.float32)
    heatmap = small(tmp_path, maps, threshold_map=2.0).heatmap_of(0)
    assert heatmap.hottest() == (2.0, 9.0)
    outline = heatmap.outline()
    assert len(outline) > 0
    assert np.abs(outline[..., 0] - 2).max() <= 4 and np.abs(outline[..., 1] - 9).max() <= 6


def test_a_map_without_threshold_or_place_has_no_outline(tmp_path: Path) -> None:
    assert small(tmp_path, threshold_map=None).heatmap_of(0).outline().shape == (0, 2, 2)
    lost = small(tmp_path, original_from_canonical=((np.nan, 0, 0), (0, 1, 0))).heatmap_of(0)
    assert lost.outline().shape == (0, 2, 2)
    assert lost.hottest() is None
