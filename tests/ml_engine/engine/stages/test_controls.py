"""Negative controls: held-out normals changed harmlessly, scored as new films by a detector fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml_engine.core import files
from ml_engine.core.alignment.model import load_alignment
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import load_detector
from ml_engine.core.film import controls as changes
from ml_engine.core.film.preprocess import FilmArray, intensities, prepare, resized, valid_area
from ml_engine.engine import manifest
from ml_engine.engine.decode_films import decode_film
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reports import DetectorReport, NegativeControls
from ml_engine.engine.run_folder import RunSpec, open_run_folder, write_run_folder
from ml_engine.engine.stages import controls
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films

CONFIG = PipelineConfig.from_preset("default").replace(
    weights="random", backbone="resnet18", size=64, grid=2, rate=0.2, threads=1, align="none", mask_keep=0.6
)
CONFIG = CONFIG.replace(controls=3, false_alarm_rate=0.3)
CALIBRATE = 8
KINDS = ["unchanged", *changes.KINDS]


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


def rows_of(folder: Path, parts: list[tuple[str, str]]) -> list[ManifestRow]:
    """One film of a new patient for each (part, label)."""
    rows = []
    for number, (part, label) in enumerate(parts):
        path = folder / f"film-{number:02}.png"
        if not path.is_file():
            Image.fromarray(films.film(number, abnormal=label == "abnormal")).save(path)
        rows.append(ManifestRow(path.name, f"id-{number}", files.sha256_of(path), f"p{number}", part, label))
    return rows


WITH_CALIBRATE = [("fit", "normal")] * 6 + [("tune", "normal")] + [("calibrate", "normal")] * CALIBRATE
WITHOUT = [("fit", "normal")] * 8 + [("tune", "normal"), ("tune", "abnormal"), ("tune", "normal")]


def fit(folder: Path, images: Path, rows: list[ManifestRow], config: PipelineConfig = CONFIG) -> DetectorReport:
    write_run_folder(folder, RunSpec("fit_detector", config).to_json(), rows)
    outcome = run_folder(folder, images=images)
    assert outcome.has_results, outcome.sentence
    return DetectorReport.read(folder)


def controls_of(report: DetectorReport) -> NegativeControls:
    assert report.controls is not None
    return report.controls


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films``, and a detector ``m`` of films with a calibrate part."""
    base = tmp_path_factory.mktemp("controls")
    (base / "films").mkdir()
    fit(base / "m", base / "films", rows_of(base / "films", WITH_CALIBRATE))
    return base


def by_film(folder: Path) -> dict[int, dict[str, Any]]:
    paths = sorted((folder / "stages" / "controls").glob("*.json"))
    return {facts["row"]: facts["kinds"] for facts in map(files.read_json, paths)}


def test_every_kind_is_reported_for_the_films_asked_for(world: Path) -> None:
    report = controls_of(DetectorReport.read(world / "m"))

    assert (report.part, report.rate, report.note) == ("calibrate", 0.3, "")
    assert [kind.kind for kind in report.kinds] == KINDS
    assert {kind.films for kind in report.kinds} == {3}
    assert len(by_film(world / "m")) == 3


def test_the_report_counts_what_was_flagged_film_by_film(world: Path) -> None:
    films_of_run = by_film(world / "m").values()

    for kind in controls_of(DetectorReport.read(world / "m")).kinds:
        facts = [film[kind.kind] for film in films_of_run]
        plain = [film["unchanged"] for film in films_of_run]
        assert kind.flagged == sum(fact["score"] > fact["threshold"] for fact in facts)
        assert kind.mean_change == pytest.approx(
            sum(fact["parts"][0] - before["parts"][0] for fact, before in zip(facts, plain, strict=True)) / 3
        )
        assert kind.top_change == pytest.approx(
            sum(fact["parts"][1] - before["parts"][1] for fact, before in zip(facts, plain, strict=True)) / 3
        )
        assert kind.low <= kind.share <= kind.high


def wilson(flagged: int, count: int) -> tuple[float, float]:
    """The interval of Wilson (1927), written out."""
    z = 1.959963984540054
    share, shrunk = flagged / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / shrunk
    half = z / shrunk * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return middle - half, middle + half


@pytest.mark.parametrize(("flagged", "count"), [(0, 40), (1, 3), (7, 40), (40, 40)])
def test_the_interval_is_that_of_wilson(flagged: int, count: int) -> None:
    scored = [{"unchanged": {"flagged": k < flagged, "parts": None, "unaligned": False}} for k in range(count)]

    kind = controls._summary("unchanged", scored)

    assert (kind.low, kind.high) == pytest.approx(wilson(flagged, count), abs=1e-12)
    assert (kind.flagged, kind.mean_change) == (flagged, None)


def test_a_film_that_calibrates_is_scored_as_one_that_does_not(world: Path, tmp_path: Path) -> None:
    """Against a second fit from which the film's patient was left out, which scores the film as a new one."""
    rows = manifest.read(world / "m" / "images.csv")
    row = next(iter(by_film(world / "m")))
    others = [each for each in rows if each.patient != rows[row].patient]
    fit(tmp_path / "m", world / "films", others, CONFIG.replace(controls=0))
    inputs = {"detector": tmp_path / "m" / "detector.safetensors"}
    spec = RunSpec("score", CONFIG, inputs={"detector": files.sha256_of(inputs["detector"])})
    write_run_folder(tmp_path / "s", spec.to_json(), [replace(rows[row], label="", part="")], inputs=inputs)
    assert run_folder(tmp_path / "s", images=world / "films").has_results
    detector = load_detector(tmp_path / "m" / "detector.safetensors")

    facts = by_film(world / "m")[row]["unchanged"]

    [scored] = films.read_csv(tmp_path / "s" / "scores.csv")
    assert facts["score"] == pytest.approx(float(scored["fused"]), rel=1e-5)
    ordered = sorted(pipeline.normal_scores(detector))
    assert facts["threshold"] == pytest.approx(ordered[int(np.ceil(0.7 * CALIBRATE)) - 1], rel=1e-5)  # of 7 others


ALIGNED = {
    "align": "network",
    "alignment.method": "network",
    "alignment.size": "32",
    "alignment.epochs": "3",
    "alignment.batch": "4",
    "alignment.perceptual": "0",
    "alignment.local_ncc": "0",
    "alignment.consistency": "0",
    "alignment.fallback": "no",
}


@pytest.fixture(scope="module")
def aligned(world: Path) -> Path:
    """The detector ``aligned``, which aligns films by a network, beside that of the other tests."""
    config, rows = CONFIG.replace_fields(ALIGNED), rows_of(world / "films", WITH_CALIBRATE)
    write_run_folder(world / "alignment", RunSpec("fit_alignment", config).to_json(), rows[:6])
    assert run_folder(world / "alignment", images=world / "films").has_results
    inputs = {"alignment": world / "alignment" / "alignment.safetensors"}
    spec = RunSpec("fit_detector", config, inputs={"alignment": files.sha256_of(inputs["alignment"])})
    write_run_folder(world / "aligned", spec.to_json(), rows, inputs=inputs)
    assert run_folder(world / "aligned", images=world / "films").has_results
    return world


@pytest.mark.parametrize("model", ["m", "aligned"])
def test_a_changed_film_is_scored_as_its_file_would_be(aligned: Path, tmp_path: Path, model: str) -> None:
    """Collimated films are 8-bit again, so they can be written as files and scored, newly aligned, by a run."""
    world, row = aligned, next(iter(by_film(aligned / model)))
    facts, unchanged = (by_film(aligned / model)[row][kind] for kind in ("collimated", "unchanged"))
    rows = manifest.read(world / model / "images.csv")
    gray = np.asarray(Image.open(world / "films" / rows[row].filename))
    inside = changes.apply(np.ones(gray.shape, np.float32), changes.Collimation(**facts["parameters"])) > 0
    Image.fromarray(np.where(inside, gray, 0).astype(np.uint8)).save(tmp_path / "new.png")
    inputs = {"detector": world / model / "detector.safetensors"}
    if model == "aligned":
        inputs["alignment"] = world / "alignment" / "alignment.safetensors"
    config = files.read_json(world / model / "run.json")["config"]
    sha256s = {name: files.sha256_of(path) for name, path in inputs.items()}
    spec = RunSpec("score", PipelineConfig.from_json(config), inputs=sha256s)
    write_run_folder(tmp_path / "s", spec.to_json(), [ManifestRow("new.png")], inputs=inputs)
    assert run_folder(tmp_path / "s", images=tmp_path).has_results
    detector = load_detector(world / model / "detector.safetensors")
    others = np.array([each.patient != rows[row].patient for each in rows if each.part == "calibrate"])
    maps = detector.calibration.maps[others]
    calibrated = pipeline.calibrate(maps, source="calibrate", config=detector.config)

    scores = pipeline.score_maps(np.load(tmp_path / "s" / "maps.npy"), replace(detector, calibration=calibrated))

    change = scores.fused[0] - unchanged["score"]
    assert abs(change) > 0.5
    assert facts["score"] - unchanged["score"] == pytest.approx(change, rel=0.05)  # the file's black is not exactly 0


def test_every_changed_film_gets_the_affine_of_its_own_pixels(aligned: Path) -> None:
    alignment = load_alignment(aligned / "alignment" / "alignment.safetensors")
    gray = intensities(decode_film(aligned / "films" / "film-07.png"), CONFIG)
    turned = [gray, *(changes.apply(gray, changes.Rotation(degrees)) for degrees in (-6.0, 6.0))]
    films_of = [resized(image, CONFIG) for image in turned]

    affines, flagged = controls._placed(alignment, films_of)

    assert len({affine.tobytes() for affine in affines}) == 3
    for k, film in enumerate(films_of):
        own, own_flag = alignment.affines(film.image[None, None], valid_area(np.array([film.box]), 64))
        np.testing.assert_allclose(affines[k], own[0], atol=1e-6)
        assert flagged[k] == own_flag[0]


@pytest.fixture
def finished(world: Path, tmp_path: Path) -> Path:
    """A second fit of the same films."""
    fit(tmp_path / "m", world / "films", manifest.read(world / "m" / "images.csv"))
    return tmp_path / "m"


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "stages" / "controls").glob("*.json")}


def test_an_interruption_changes_no_byte(world: Path, finished: Path) -> None:
    """After two films; their files are kept."""
    stages = finished / "stages"
    last = max((stages / "controls").glob("*.json"))
    kept = min((stages / "controls").glob("*.json"))
    written = kept.stat().st_mtime_ns
    for path in (last, stages / "controls.json", stages / "results.json", stages / "films.json"):
        path.unlink()  # also films: its arrays are deleted at the end of a run

    assert run_folder(finished, images=world / "films").has_results

    assert bytes_of(finished) == bytes_of(world / "m")
    assert (finished / "detector.json").read_bytes() == (world / "m" / "detector.json").read_bytes()
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize("batch", [1, 4])
def test_the_batch_changes_no_result(world: Path, tmp_path: Path, batch: int) -> None:
    rows = manifest.read(world / "m" / "images.csv")
    fit(tmp_path / "m", world / "films", rows, CONFIG.replace(batch=batch))

    for row, kinds in by_film(world / "m").items():
        for kind, facts in by_film(tmp_path / "m")[row].items():
            assert facts["score"] == pytest.approx(kinds[kind]["score"], abs=1e-3)
            assert facts["parameters"] == kinds[kind]["parameters"]


def test_without_a_calibrate_part_they_are_normals_of_tune(world: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    report = controls_of(fit(tmp_path / "m", tmp_path / "films", rows_of(tmp_path / "films", WITHOUT)))

    assert report.part == "tune"
    assert {kind.films for kind in report.kinds} == {2}
    assert sorted(by_film(tmp_path / "m")) == [8, 10]


def test_one_film_of_each_patient_is_changed(world: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, patient="twice") if row.part == "calibrate" and number < 9 else row
        for number, row in enumerate(rows_of(world / "films", WITH_CALIBRATE))
    ]
    report = controls_of(fit(tmp_path / "m", world / "films", rows, CONFIG.replace(controls=40)))

    assert {kind.films for kind in report.kinds} == {CALIBRATE - 1}
    assert len({rows[row].patient for row in by_film(tmp_path / "m")}) == CALIBRATE - 1


def test_none_are_made_where_none_are_asked_for(world: Path, tmp_path: Path) -> None:
    report = fit(tmp_path / "m", world / "films", rows_of(world / "films", WITH_CALIBRATE), CONFIG.replace(controls=0))

    assert report.controls is None
    assert "controls" not in json.loads((tmp_path / "m" / "detector.json").read_text())


@pytest.mark.parametrize(
    ("parts", "settings", "words"),
    [
        ([("fit", "normal")] * 6, {}, "There are no held-out normal films"),
        (WITH_CALIBRATE, {"false_alarm_rate": 0.1}, "needs normal films of at least 9 other patients"),
        (WITH_CALIBRATE[:-6], {"false_alarm_rate": 0.5}, "to calibrate on, and there are 1."),
    ],
)
def test_where_they_cannot_be_made_the_report_says_why(
    world: Path, tmp_path: Path, parts: list[tuple[str, str]], settings: dict[str, Any], words: str
) -> None:
    rows = rows_of(world / "films", parts)
    report = controls_of(fit(tmp_path / "m", world / "films", rows, CONFIG.replace(**settings)))

    assert words in report.note
    assert not report.kinds
    assert not by_film(tmp_path / "m")


def test_films_placed_by_landmarks_are_no_controls(tmp_path: Path) -> None:
    config = CONFIG.replace_fields({"align": "network", "alignment.method": "landmarks"})
    write_run_folder(tmp_path, RunSpec("fit_detector", config).to_json(), [ManifestRow("a.png", part="calibrate")])
    with open_run_folder(tmp_path) as folder:
        context = RunContext(folder, folder.spec(), tmp_path, "cpu")

        assert controls._refusal(context, None, np.array([0])).startswith("The alignment is by landmarks")


def test_films_whose_files_are_gone_are_no_controls(world: Path, tmp_path: Path) -> None:
    """As in a detector that forgets: the features are kept, and the films need not be there."""
    rows = rows_of(world / "films", WITH_CALIBRATE)
    (tmp_path / "none").mkdir()
    spec = RunSpec("fit_detector", CONFIG).to_json()
    for name, images in (("before", world / "films"), ("after", tmp_path / "none")):
        write_run_folder(tmp_path / name, spec, rows)
        assert run_folder(tmp_path / name, images=images, features=tmp_path / "features").has_results
    before, after = (controls_of(DetectorReport.read(tmp_path / name)) for name in ("before", "after"))

    assert before == controls_of(DetectorReport.read(world / "m"))
    assert not after.kinds
    assert after.note.startswith("The files of the normal films could not be read. The first: The file is not there.")


def film_array(*, display: bool, padded: bool) -> FilmArray:
    gray = np.random.default_rng(3).uniform(0.1, 0.9, (40, 30)).astype(np.float32)
    padding = np.zeros(gray.shape, dtype=np.bool_)
    padding[:, :4] = padded
    return FilmArray(
        values=gray * 1000, bits=12, ends=(0.0, 4095.0), display=gray if display else None, padding=padding
    )


@pytest.mark.parametrize("display", [True, False])
def test_a_changed_film_keeps_its_window_or_is_windowed_anew(display: bool) -> None:
    """A gain is undone by the percentiles of a film without a window, and kept in one with a window."""
    array = film_array(display=display, padded=False)
    dimmed = (0.5 * intensities(array, CONFIG)).astype(np.float32)

    new = prepare(controls.as_new_film(array, dimmed, is_moved=False), CONFIG).image
    old = prepare(array, CONFIG).image

    np.testing.assert_allclose(new, 0.5 * old if display else old, atol=0.01)


def test_padding_stays_and_moves_with_its_pixels() -> None:
    array = film_array(display=True, padded=True)
    gray = intensities(array, CONFIG)
    moved = np.roll(gray, 5, axis=1)

    assert (controls.as_new_film(array, gray + np.float32(0.1), is_moved=False).padding == array.padding).all()
    assert (controls.as_new_film(array, moved, is_moved=True).padding == np.roll(array.padding, 5, axis=1)).all()
