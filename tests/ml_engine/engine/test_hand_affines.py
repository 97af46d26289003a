"""Hand-made affines in a run: honoured to the byte, recorded, and of no influence on other films."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine import hand_affines, manifest
from ml_engine.engine.hand_affines import text_of
from ml_engine.engine.reports import DetectorReport
from ml_engine.engine.run_folder import RunSpec, write_run_folder
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.engine.stages.runner import run_folder
from tests.ml_engine import films

CONFIG = PipelineConfig.from_preset("default").replace(
    weights="random", backbone="resnet18", size=64, grid=2, rate=0.2, threads=1, controls=0, mask=False
)
CONFIG = CONFIG.replace_fields({"alignment.size": "64", "alignment.search_steps": "2", "alignment.perceptual": "0"})
# A turn, a shear and a shift that no search finds; thirds and roots have no short decimals.
BY_HAND = np.array([[1.25 / 3 * 2.9, 0.1 / 7, 2**0.5], [-0.2 / 3, 1.2 + 1e-15, -(3**0.5)]])


@pytest.fixture(scope="module", autouse=True)
def one_code_version() -> Iterator[None]:
    with films.fixed_code_version():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films, an alignment, a detector fitted with the third film placed by hand, and a plain scoring run."""
    base = tmp_path_factory.mktemp("world")
    films.write_set(base / "films", train=10, test=0)
    run(base, "fit_alignment", [row for row in rows(base) if row.part == "fit"])
    run(base, "fit_detector", rows(base), by_hand="id-2")
    run(base, "score", rows(base))
    return base


def rows(base: Path) -> list[manifest.ManifestRow]:
    parts = ["fit"] * 6 + ["tune"] * 2 + ["calibrate"] * 2
    paths = [base / "films" / f"film-{number:02}.png" for number in range(10)]
    return [
        manifest.ManifestRow(path.name, f"id-{k}", files.sha256_of(path), f"p{k}", part, "normal")
        for k, (path, part) in enumerate(zip(paths, parts, strict=True))
    ]


def run(base: Path, kind: str, of: list[manifest.ManifestRow], *, by_hand: str = "", name: str = "") -> Path:
    folder = base / (name or kind)
    models = {"fit_alignment": "alignment", "fit_detector": "detector"}
    paths = {word: base / made / f"{word}.safetensors" for made, word in models.items() if made != kind}
    inputs = {word: path for word, path in paths.items() if path.exists()}
    if by_hand:
        inputs["hand_affines"] = base / f"{folder.name}.json"
        inputs["hand_affines"].write_text(text_of({by_hand: BY_HAND.tolist(), "no film": BY_HAND}, canonical_size=64))
    spec = RunSpec(kind, CONFIG, inputs={word: files.sha256_of(path) for word, path in inputs.items()})
    write_run_folder(folder, spec.to_json(), of, inputs=inputs)
    assert run_folder(folder, images=base / "films").status == 0
    return folder


def test_a_hand_made_affine_is_honoured_to_the_byte_and_recorded(world: Path) -> None:
    plain, scored = (
        ScoredFolder(world / "score"),
        ScoredFolder(run(world, "score", rows(world), by_hand="id-7", name="by hand")),
    )

    assert scored.affine_of(7).tobytes() == BY_HAND.tobytes()
    assert list(scored.summary.by_hand) == [7]
    assert list(plain.summary.by_hand) == []
    assert plain.affine_of(7).tobytes() != BY_HAND.tobytes()
    for row in set(range(10)) - {7}:
        assert scored.affine_of(row).tobytes() == plain.affine_of(row).tobytes()
        np.testing.assert_array_equal(scored.array("maps")[row], plain.array("maps")[row])
    assert not np.array_equal(scored.array("maps")[7], plain.array("maps")[7], equal_nan=True)


def test_a_detector_is_fitted_on_the_film_as_it_was_placed(world: Path) -> None:
    folder = world / "fit_detector"
    assert list(DetectorReport.read(folder).by_hand or []) == [2]
    input_from_canonical = files.read_npy(folder / "stages" / "input_from_canonical.npy")[2]
    original_from_input = files.read_npy(folder / "stages" / "original_from_input.npy")[2]
    product = np.vstack([original_from_input, [0, 0, 1]]) @ np.vstack([input_from_canonical, [0, 0, 1]])
    np.testing.assert_allclose(product[:2], BY_HAND, rtol=1e-12, atol=1e-12)


def test_kept_features_of_the_fitted_place_are_not_taken_for_the_place_by_hand(world: Path) -> None:
    shutil.copytree(world / "score", world / "kept", ignore=shutil.ignore_patterns("stages", "lock"))
    (world / "kept" / "features").mkdir()
    assert run_folder(world / "kept", images=world / "films").status == 0
    (world / "with store").mkdir()
    shutil.copytree(world / "kept" / "features", world / "with store" / "features")

    scored = ScoredFolder(run(world, "score", rows(world), by_hand="id-7", name="with store"))
    fresh = ScoredFolder(run(world, "score", rows(world), by_hand="id-7", name="without store"))
    assert scored.affine_of(7).tobytes() == BY_HAND.tobytes()
    np.testing.assert_allclose(scored.array("maps")[7], fresh.array("maps")[7], rtol=1e-4)


def test_an_affine_is_scaled_to_the_frame_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "hand_affines.json"
    path.write_text(text_of({"a": BY_HAND.tolist()}, canonical_size=224))
    assert hand_affines.read(path, size=224)["a"].tobytes() == BY_HAND.tobytes()
    in_448 = hand_affines.read(path, size=448)["a"]
    np.testing.assert_allclose(in_448 @ [448, 224, 1], BY_HAND @ [224, 112, 1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "holds no hand-made affines that can be read"),
        ('{"format": 9, "canonical_size": 64, "films": {}}', "has format 9; this version reads format 1"),
        (
            '{"format": 1, "canonical_size": 64, "films": {"a": [[1, 2]]}}',
            "has no affine of 2 x 3 numbers for the film a",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "hand_affines.json"
    path.write_text(text)
    with pytest.raises(EngineError, match=sentence):
        hand_affines.read(path, size=64)
