"""Detectors that grow and forget, on real run folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.command import main
from ml_engine.core.bank import coreset
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from tests.ml_engine import films

TOGETHER = 9  # films 0 to 8 are in the first model; 9 and 10 join it


def csv_of(path: Path, numbers: list[int]) -> Path:
    """Films 0 to 5 and from 9 on are fit, 6 to 8 calibrate; films 0 and 1 are of one patient."""
    rows = []
    for number in numbers:
        part = "calibrate" if number in (6, 7, 8) else "fit"
        patient = "p0" if number < 2 else f"p{number}"
        rows.append({"filename": f"film-{number:02}.png", "label": "normal", "patient_id": patient, "split": part})
    return films.write_csv(path, rows)


def fit(images: Path, out: Path, numbers: list[int], *more: str) -> Path:
    table = csv_of(out.with_suffix(".csv"), numbers)
    status = main.main(
        ["fit", "--images", str(images), "--csv", str(table), "--out", str(out), *films.UNALIGNED, *more]
    )
    assert status == 0
    return out


def change(command: str, *arguments: object) -> int:
    return main.main([command, *map(str, arguments)])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``films``, ``kept`` (a model that keeps its features) and ``plain`` (the same model without)."""
    base = tmp_path_factory.mktemp("changing")
    films.write_set(base / "films", train=11, test=0)
    fit(base / "films", base / "kept", list(range(TOGETHER)), "--keep-features")
    fit(base / "films", base / "plain", list(range(TOGETHER)))
    return base


@pytest.fixture
def new_films(world: Path, tmp_path: Path) -> Path:
    """A folder with only the two new films, and their CSV."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number in (9, 10):
        shutil.copy(world / "films" / f"film-{number:02}.png", folder)
    csv_of(folder / "new.csv", [9, 10])
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in films.result_bytes(folder).items() if not name.startswith("features/")}


def test_keeping_features_changes_no_result(world: Path) -> None:
    assert bytes_of(world / "kept") == bytes_of(world / "plain")
    assert len(list((world / "kept" / "features").glob("*/*.safetensors"))) == TOGETHER


def test_a_grown_detector_equals_a_fresh_fit(world: Path, new_films: Path, tmp_path: Path) -> None:
    """Byte for byte, and the old films are not needed."""
    fresh = fit(world / "films", tmp_path / "fresh", list(range(11)))

    status = change(
        "grow",
        "--model",
        world / "kept",
        "--images",
        new_films,
        "--csv",
        new_films / "new.csv",
        "--out",
        tmp_path / "n",
    )

    assert status == 0
    assert bytes_of(tmp_path / "n") == bytes_of(fresh)


def test_a_detector_that_forgets_equals_a_fresh_fit(world: Path, tmp_path: Path) -> None:
    fresh = fit(world / "films", tmp_path / "fresh", list(range(2, TOGETHER)))

    assert change("forget", "--model", world / "kept", "--patient", "p0", "--out", tmp_path / "n") == 0

    assert bytes_of(tmp_path / "n") == bytes_of(fresh)
    assert len(list((tmp_path / "n" / "features").glob("*/*.safetensors"))) == TOGETHER - 2


def test_an_approximate_growth_of_a_whole_bank_is_the_whole_bank(
    world: Path, new_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fit(world / "films", tmp_path / "whole", list(range(TOGETHER)), "--rate", "1", "--set", "mask=no")
    fresh = load_detector(
        fit(world / "films", tmp_path / "f", list(range(11)), "--rate", "1", "--set", "mask=no")
        / "detector.safetensors"
    )
    arguments = ("--model", whole, "--images", new_films, "--csv", new_films / "new.csv", "--out", tmp_path / "n")

    assert change("grow", *arguments, "--approximate") == 0

    grown = load_detector(tmp_path / "n" / "detector.safetensors")
    # one film in a batch of black ones instead of films: the same features but for the last bit of half precision
    ours, theirs = grown.banks.whole.vectors, fresh.banks.whole.vectors
    assert ours.shape == theirs.shape
    assert (torch.cdist(ours, theirs).amin(1) < 1e-3 * theirs.norm(dim=1).mean()).all()
    assert [len(b.vectors) for b in grown.banks.cells if b] == [len(b.vectors) for b in fresh.banks.cells if b]
    assert "not calibrated again" in grown.note
    assert "not calibrated again" in capsys.readouterr().err
    assert json.loads((tmp_path / "n" / "detector.json").read_text())["note"] == grown.note


def plain_continuation(grid: np.ndarray, picked: int, count: int) -> list[int]:
    """The greedy k-centre by a loop in exact integers."""
    points = grid.astype(np.int64)
    nearest = ((points[:, None] - points[None, :picked]) ** 2).sum(2).min(1)
    picks = []
    for _ in range(count - picked):
        picks.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[picks[-1]]) ** 2).sum(1))
    return picks


def test_the_greedy_selection_continues_from_earlier_picks() -> None:
    grid = torch.from_numpy(np.random.default_rng(0).integers(-60, 60, (300, 6)).astype(np.int16))

    picks = coreset.greedy(grid, 40, picked=15, block=32)

    assert picks[:15].tolist() == list(range(15))
    assert picks[15:].tolist() == plain_continuation(grid.numpy(), 15, 40)
    with pytest.raises(ValueError, match="picked 41"):
        coreset.greedy(grid, 40, picked=41)


def approximated(world: Path, new_films: Path, out: Path) -> tuple[FittedDetector, FittedDetector]:
    before = load_detector(world / "plain" / "detector.safetensors")
    arguments = ("--model", world / "plain", "--images", new_films, "--csv", new_films / "new.csv", "--out", out)
    assert change("grow", *arguments, "--approximate") == 0
    return before, load_detector(out / "detector.safetensors")


def test_an_approximate_growth_keeps_the_old_vectors(world: Path, new_films: Path, tmp_path: Path) -> None:
    before, grown = approximated(world, new_films, tmp_path / "n")

    for old, new in zip(
        (before.banks.whole, *before.banks.cells), (grown.banks.whole, *grown.banks.cells), strict=True
    ):
        if old is None or new is None:
            assert old is new
            continue
        assert torch.equal(new.vectors[: len(old.vectors)], old.vectors)
        assert set(new.provenance[len(old.vectors) :, 0].tolist()) <= {9, 10}
        assert len(new.vectors) > len(old.vectors)
    assert len(grown.banks.whole.vectors) == np.ceil(0.2 * 8 * before.mask.keep.sum())


def test_an_approximate_forgetting_deletes_the_patients_vectors(world: Path, tmp_path: Path) -> None:
    before = load_detector(world / "plain" / "detector.safetensors")

    status = change("forget", "--model", world / "plain", "--patient", "p0", "--out", tmp_path / "n", "--approximate")

    after = load_detector(tmp_path / "n" / "detector.safetensors")
    stay = before.banks.whole.provenance[:, 0] >= 2
    assert status == 0
    assert torch.equal(after.banks.whole.vectors, before.banks.whole.vectors[stay])
    assert torch.equal(after.banks.whole.provenance[:, 0], before.banks.whole.provenance[stay][:, 0] - 2)
    assert "deleted" in after.note


def test_an_approximate_detector_scores(world: Path, new_films: Path, tmp_path: Path) -> None:
    approximated(world, new_films, tmp_path / "n")
    arguments = ["--images", new_films, "--csv", csv_of(tmp_path / "all.csv", [9, 10]), "--model", tmp_path / "n"]
    table = tmp_path / "score.csv"
    table.write_text("filename\nfilm-09.png\n", encoding="utf-8")
    arguments[3] = table

    assert change("score", *arguments, "--out", tmp_path / "s") == 0

    assert "approximate" in json.loads((tmp_path / "s" / "score.json").read_text())["note"]


def test_forgetting_a_calibration_patient_leaves_its_maps_out(world: Path, tmp_path: Path) -> None:
    before = load_detector(world / "plain" / "detector.safetensors")

    assert (
        change("forget", "--model", world / "plain", "--patient", "p7", "--out", tmp_path / "n", "--approximate") == 0
    )

    after = load_detector(tmp_path / "n" / "detector.safetensors")
    np.testing.assert_array_equal(after.calibration.maps, before.calibration.maps[[0, 2]])
    assert after.calibration.mean is not None
    values = before.calibration.maps[[0, 2]].astype(np.float64).mean(0)
    np.testing.assert_allclose(after.calibration.mean, np.nan_to_num(values), rtol=1e-6)
    assert before.calibration.patients is not None
    assert after.calibration.patients is not None
    assert after.calibration.patients.tolist() == before.calibration.patients[[0, 2]].tolist()


@pytest.mark.parametrize(
    ("numbers", "edit", "sentence"),
    [
        ([2, 3], None, "nothing was added"),
        ([9], ("p9", "p7"), "is of a patient in the calibrate part of the model"),
        ([9], ("film-09.png", "film-03.png"), "The model has another film called film-03.png"),
        ([9, 10], ("film-09.png", "gone.png"), "gone.png is not in the folder of the films"),
    ],
)
def test_unsuitable_new_films_are_refused(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numbers: list[int],
    edit: tuple[str, str] | None,
    sentence: str,
) -> None:
    folder = tmp_path / "films"
    shutil.copytree(world / "films", folder)
    shutil.copy(folder / "film-09.png", folder / "film-03.png") if edit and edit[1] == "film-03.png" else None
    table = csv_of(tmp_path / "new.csv", numbers)
    if edit:
        table.write_text(table.read_text().replace(*edit), encoding="utf-8")

    status = change("grow", "--model", world / "kept", "--images", folder, "--csv", table, "--out", tmp_path / "n")

    assert status == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--patient", "nobody"), "No film of the model is of the patient 'nobody'"),
        (("--patient", "p0", "--model", "plain"), "keeps the features of 0 of its 9 films"),
        (("--patient", "p0", "--model", "films"), "holds no finished detector fit"),
        (("--patient", "p0", "--out", "plain"), "already holds another run"),
    ],
)
def test_an_impossible_forgetting_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    model = world / options.get("--model", "kept")
    out = world / options["--out"] if "--out" in options else tmp_path / "n"

    assert change("forget", "--model", model, "--patient", options["--patient"], "--out", out) == 2

    assert sentence in capsys.readouterr().err


def test_a_model_aligned_by_landmarks_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(world / "plain", tmp_path / "model")
    facts = json.loads((model / "run.json").read_text())
    facts["inputs"] = {"landmarks": {"file": "inputs/landmarks.csv", "sha256": "0" * 64}}
    (model / "run.json").write_text(json.dumps(facts))

    assert change("forget", "--model", model, "--patient", "p0", "--out", tmp_path / "n") == 2

    assert "was aligned by landmarks, which come with each film" in capsys.readouterr().err


def test_the_last_fit_patient_is_not_forgotten(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(world / "films", tmp_path / "one", [0, 1, 6, 7, 8])

    assert change("forget", "--model", tmp_path / "one", "--patient", "p0", "--out", tmp_path / "n") == 2

    assert "no film is left to fit on" in capsys.readouterr().err


def test_a_bank_of_one_patient_alone_cannot_lose_it(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One vector a bank: the first patch of the first film."""
    fit(world / "films", tmp_path / "one", list(range(TOGETHER)), "--rate", "0.000001")

    status = change("forget", "--model", tmp_path / "one", "--patient", "p0", "--out", tmp_path / "n", "--approximate")

    assert status == 2
    assert "so it would be empty" in capsys.readouterr().err
