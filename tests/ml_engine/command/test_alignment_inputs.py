"""fit and score with landmarks or a canonical image of the user's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_engine.command import main
from ml_engine.command.alignment_inputs import canonical_image
from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films
from tests.ml_engine.films import SMALL

# landmarks of `films.film` before it is moved, in pixels of its 80 x 80
AT = {"left": (25.6, 40.0), "right": (54.4, 40.0), "apex": (40.0, 12.0), "base": (40.0, 70.0)}
TRAIN, TEST = 20, 4
BARE = 22  # a test film without landmarks
ALIGN = [*SMALL, "--align", "network"]
BY_LANDMARKS = ["--set", "alignment.method=landmarks", "--set", "alignment.size=32"]
SEARCH = ["--set", "alignment.method=search", "--set", "alignment.size=32", "--set", "alignment.search_steps=2"]


def moved_by(seed: int) -> tuple[int, int]:
    """By how many pixels, x and y, `films.film` moves what it draws."""
    dy, dx = np.random.default_rng(seed).integers(-2, 3, size=2)
    return int(dx), int(dy)


def write_landmarks(path: Path, count: int) -> Path:
    rows = []
    for number in range(count):
        dx, dy = moved_by(number)
        if number != BARE:
            name = f"film-{number:02}.png"
            rows += [{"filename": name, "name": mark, "x": x + dx, "y": y + dy} for mark, (x, y) in AT.items()]
    return films.write_csv(path, rows)


def run(*arguments: object) -> int:
    return main.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, their landmarks, a model that aligns by them, and the scores of the test films."""
    base = tmp_path_factory.mktemp("landmarks")
    csv = films.write_set(base / "films", train=TRAIN, test=TEST)
    marks = write_landmarks(base / "marks.csv", TRAIN + TEST)
    common = ["--images", base / "films", "--csv", csv, "--landmarks", marks]
    assert run("fit", *common, "--out", base / "model", *ALIGN, *BY_LANDMARKS) == 0
    assert run("score", *common, "--model", base / "model", "--out", base / "scores") == 0
    return base


def common(base: Path) -> list[object]:
    return ["--images", base / "films", "--csv", base / "films" / "labels.csv"]


def test_films_are_placed_by_their_landmarks(base: Path) -> None:
    affines = np.load(base / "scores" / "affines.npy")
    moves = np.array([moved_by(TRAIN + k) for k in range(TEST) if TRAIN + k != BARE])
    placed = np.delete(affines, BARE - TRAIN, axis=0)
    np.testing.assert_allclose(placed[:, :, :2], np.tile(np.eye(2) * 80 / 64, (TEST - 1, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(placed[:, :, 2] - placed[0, :, 2], moves - moves[0], atol=1e-5)


def test_a_scored_film_without_landmarks_is_flagged_with_the_reason(base: Path) -> None:
    assert files.read_json(base / "scores" / "score.json")["flagged"] == [BARE - TRAIN]
    residuals = files.read_json(base / "scores" / "stages" / "align.json")["landmarks"]
    assert residuals[BARE - TRAIN] == {"row": BARE - TRAIN, "residual_px": None, "reason": "it has no landmarks"}
    assert residuals[0]["residual_px"] < 1e-5
    assert "Row 3 of images.csv is not aligned: it has no landmarks." in (base / "scores" / "log.txt").read_text()


def test_the_landmarks_travel_in_the_run_folder_by_hash(base: Path) -> None:
    folder = base / "model" / "alignment-run"
    entry = files.read_json(folder / "run.json")["inputs"]["landmarks"]
    assert entry == {"file": "inputs/landmarks.csv", "sha256": files.sha256_of(folder / "inputs" / "landmarks.csv")}
    report = files.read_json(folder / "alignment.json")["report"]["landmarks"]
    assert report["aligned"] == report["films"] == 14
    assert len(files.read_json(folder / "alignment.json")["landmarks"]) == 14


def test_landmarks_that_were_changed_afterwards_are_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(base / "model" / "alignment-run", folder, ignore=shutil.ignore_patterns("stages", "*.safetensors"))
    with (folder / "inputs" / "landmarks.csv").open("a") as file:
        file.write("film-00.png,more,1,2\n")
    outcome = run_folder(folder, images=base / "films")
    assert "inputs/landmarks.csv is not the file that run.json names" in outcome.sentence


def test_the_network_aligns_to_the_mean_of_films_with_landmarks(base: Path) -> None:
    options = ["--set", "alignment.canonical=landmarks", *SEARCH]
    options += ["--landmarks", str(base / "marks.csv")]
    assert run("fit", *common(base), "--out", base / "by-mean", *ALIGN, *options) == 0
    report = files.read_json(base / "by-mean" / "alignment-run" / "alignment.json")["report"]
    assert report["canonical_source"] == "mean of films aligned by landmarks"
    assert report["landmarks"]["aligned"] == 14
    assert report["landmarks"]["fit"] == "affine"
    assert not (base / "by-mean" / "inputs" / "landmarks.csv").exists()  # only the alignment's fit needs them


def test_films_are_warped_by_the_fit_of_their_mean(base: Path) -> None:
    options = ["--set", "alignment.canonical=landmarks", "--set", "alignment.canonical_fit=perspective", *SEARCH]
    options += ["--landmarks", str(base / "marks.csv")]
    assert run("fit", *common(base), "--out", base / "bent", *ALIGN, *options) == 0
    report = files.read_json(base / "bent" / "alignment-run" / "alignment.json")["report"]
    assert report["landmarks"]["fit"] == "perspective"
    assert report["landmarks"]["aligned"] == 14


def test_a_canonical_image_from_a_file(base: Path) -> None:
    Image.fromarray(films.film(0)).save(base / "atlas.png")
    options = ["--set", "alignment.canonical=file", *SEARCH]
    options += ["--canonical", str(base / "atlas.png")]
    assert run("fit", *common(base), "--out", base / "by-atlas", *ALIGN, *options) == 0
    folder = base / "by-atlas" / "alignment-run"
    assert files.read_json(folder / "alignment.json")["report"]["canonical_source"] == "a file that was given"
    kept, _ = files.read_tensors(folder / "alignment.safetensors")
    expected = Image.fromarray(films.film(0)).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(kept["canonical"].numpy(), np.asarray(expected) / 255, atol=0.01)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (BY_LANDMARKS, "--landmarks is missing: alignment.method or alignment.canonical=landmarks needs it"),
        (["--landmarks", "marks.csv"], "--landmarks is set, but only alignment.method or alignment.canonical="),
        (["--set", "alignment.canonical=file"], "--canonical is missing: alignment.canonical=file needs it"),
        (["--canonical", "a.png"], "--canonical is set, but only alignment.canonical=file uses it"),
    ],
)
def test_a_missing_or_unused_file_is_refused(
    base: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert run("fit", *common(base), "--out", base / "none", *ALIGN, *options) == 2
    assert sentence in capsys.readouterr().err


def test_a_model_aligned_by_landmarks_needs_them_to_score(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", *common(base), "--model", base / "model", "--out", base / "none") == 2
    assert "--landmarks is missing: a model fitted with alignment.method=landmarks" in capsys.readouterr().err


def test_a_model_aligned_by_landmarks_cannot_explain(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "--model", base / "model", "--film", base / "films" / "film-21.png") == 2
    assert "This model aligns films by landmarks, and a single film has none" in capsys.readouterr().err


def test_a_landmark_outside_its_film_is_refused(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (base / "marks.csv").read_text().replace("film-21.png,left,", "film-21.png,left,9", 1)
    (base / "outside.csv").write_text(text)
    options = ["--landmarks", str(base / "outside.csv"), "--model", str(base / "model")]
    assert run("score", *common(base), *options, "--out", base / "outside") == 2
    assert "outside the film, whose lower right corner is near (80, 80): write x and y" in capsys.readouterr().err


def test_an_input_of_an_unknown_name_is_refused() -> None:
    spec = RunSpec("fit_alignment", PipelineConfig.from_preset("default")).to_json()
    with pytest.raises(EngineError, match=r"run.json has an input atlas: it must be one of alignment, detector, land"):
        RunSpec.from_json(spec | {"inputs": {"atlas": {"sha256": "0" * 64}}})


def test_a_canonical_image_is_gray_over_its_white(tmp_path: Path) -> None:
    deep = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(canonical_image(tmp_path / "deep.png"), deep / 65535, atol=1e-6)
    np.save(tmp_path / "plain.npy", deep / 70000)
    np.testing.assert_allclose(canonical_image(tmp_path / "plain.npy"), deep / 70000, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((40, 50)), r"The canonical image is 40 x 50 pixels: it must be gray and square"),
        (np.zeros((16, 16)), r"The canonical image is 16 x 16 pixels: it must be gray and square, 32 pixels or more"),
        (np.full((40, 40), 0.5), r"has values outside 0 to 1, or only one: scale it"),
        (np.linspace(0, 255, 1600).reshape(40, 40), r"has values outside 0 to 1"),
        (np.full((40, 40), np.nan), r"has values outside 0 to 1"),
    ],
)
def test_an_invalid_canonical_image_is_refused(tmp_path: Path, image: np.ndarray, sentence: str) -> None:
    np.save(tmp_path / "image.npy", image)
    with pytest.raises(EngineError, match=sentence):
        canonical_image(tmp_path / "image.npy")


def test_a_colour_image_and_a_text_file_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "colour.png")
    with pytest.raises(EngineError, match=r"is 40 x 40 x 3 pixels: it must be gray"):
        canonical_image(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(EngineError, match=r"is not a readable image: --canonical takes a gray PNG or an npy"):
        canonical_image(tmp_path / "text.png")


def test_an_alignment_is_measured_and_pictured(base: Path) -> None:
    options = [*SEARCH, "--set", "alignment.rounds=1"]
    assert run("fit", *common(base), "--out", base / "measured", *ALIGN, *options) == 0
    folder = base / "measured" / "alignment-run"
    report = files.read_json(folder / "alignment.json")
    assert report["report"]["known"]["films"] == 14
    assert report["report"]["known"]["before"]["displacement_median_px"] > 0
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == sorted(report["pictures"])
    assert [pair["name"] for pair in report["pairs"]] == [
        "mean", "variance", "worst-1", "worst-2", "worst-3", "middle-1", "middle-2", "middle-3"
    ]  # fmt: skip
    for pair in report["pairs"]:
        for name in (pair["before"], pair["after"]):
            with Image.open(folder / "pictures" / name) as picture:
                assert (picture.size, picture.mode) == ((32, 32), "RGB" if "row" in pair else "L")


def test_the_settings_refuse_another_canonical() -> None:
    with pytest.raises(InvalidConfig, match=r"alignment\.canonical is atlas"):
        PipelineConfig.from_preset("default").replace_fields({"alignment.canonical": "atlas"})
