"""An alignment by landmarks, fitted, saved and applied; and the canonical image made with landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ml_engine.core.alignment.fit_landmarks import canonical_by_landmarks, fit_landmarks
from ml_engine.core.alignment.landmarks import InvalidLandmarks, Points
from ml_engine.core.alignment.model import FittedAlignment, load_alignment, save_alignment
from tests.ml_engine.core.alignment.blobs import films, small_config

MARKS = {"left": (-0.38, -0.05), "right": (0.38, -0.1), "spot": (0.1, 0.25), "top": (0.0, -0.7)}
SIZE = 48


def marked_films(count: int) -> tuple[torch.Tensor, torch.Tensor, list[Points], np.ndarray]:
    """Films, valid areas, the landmarks in pixels, and the atlas_from_film (N, 3, 3) in pixels."""
    shown, valid, atlas_from_film = films(count, size=SIZE)
    unit = np.array([[2 / SIZE, 0, -1], [0, 2 / SIZE, -1], [0, 0, 1]])
    square = np.tile(np.eye(3), (count, 1, 1))
    square[:, :2] = atlas_from_film.double().numpy()
    atlas_from_film_px = np.linalg.inv(unit) @ square @ unit
    at = np.array([[(x + 1) * SIZE / 2, (y + 1) * SIZE / 2, 1] for x, y in MARKS.values()])
    film_marks = np.einsum("nij,lj->nli", np.linalg.inv(atlas_from_film_px), at)[..., :2]
    points = [{name: (float(x), float(y)) for name, (x, y) in zip(MARKS, film, strict=True)} for film in film_marks]
    return shown, valid, points, atlas_from_film_px


CONFIG = small_config(method="landmarks", size=32)


@pytest.fixture(scope="module")
def fitted() -> FittedAlignment:
    shown, valid, points, _ = marked_films(8)
    return fit_landmarks(shown, valid=valid, points=points, config=CONFIG, seed=0)


def test_landmarks_bring_films_into_one_frame(fitted: FittedAlignment) -> None:
    shown, valid, points, atlas_from_film = marked_films(8)
    affines, flagged = fitted.affines(shown, valid, points=points)
    assert not flagged.any()
    square = np.tile(np.eye(3), (8, 1, 1))
    square[:, :2] = affines.numpy()
    atlas_from_canonical = atlas_from_film @ square  # the same for all films, whatever the gauge
    np.testing.assert_allclose(atlas_from_canonical, np.tile(atlas_from_canonical[:1], (8, 1, 1)), atol=1e-4)


def test_the_report_measures_the_residual_and_the_stack(fitted: FittedAlignment) -> None:
    report = fitted.report
    assert report["landmarks"]["aligned"] == report["landmarks"]["films"] == 8
    assert report["landmarks"]["residual_most_px"] < 1e-4
    assert report["stack_variance_after"] < 0.3 * report["stack_variance_before"]
    assert report["canonical_source"] == "mean of films aligned by landmarks"


def test_a_film_without_landmarks_is_not_moved_and_is_flagged(fitted: FittedAlignment) -> None:
    shown, valid, points, _ = marked_films(3)
    affines, flagged = fitted.affines(shown, valid, points=[points[0], {}, points[2]])
    assert flagged.tolist() == [False, True, False]
    np.testing.assert_array_equal(affines[1].numpy(), np.eye(2, 3))
    assert fitted.placed({}, size=SIZE).reason == "it has no landmarks"


def test_landmarks_that_mirror_a_film_are_rejected(fitted: FittedAlignment) -> None:
    shown, valid, points, _ = marked_films(1)
    mirrored = {name: (SIZE - x, y) for name, (x, y) in points[0].items()}
    affines, flagged = fitted.affines(shown, valid, points=[mirrored])
    assert flagged.tolist() == [True]
    np.testing.assert_array_equal(affines[0].numpy(), np.eye(2, 3))


def test_the_share_of_flagged_films_counts_those_without_landmarks() -> None:
    shown, valid, points, _ = marked_films(4)
    model = fit_landmarks(shown, valid=valid, points=[*points[:3], {}], config=CONFIG, seed=0)
    assert model.report["share_flagged"] == 0.25
    assert (model.report["landmarks"]["aligned"], model.report["landmarks"]["films"]) == (3, 4)


def test_films_without_their_landmarks_are_refused(fitted: FittedAlignment) -> None:
    shown, valid, _, _ = marked_films(1)
    with pytest.raises(InvalidLandmarks, match=r"uses landmarks: provide those of all films"):
        fitted.affines(shown, valid)


def test_an_alignment_places_films_equally_after_loading(fitted: FittedAlignment, tmp_path: Path) -> None:
    shown, valid, points, _ = marked_films(3)
    save_alignment(fitted, tmp_path / "a.safetensors", header={})
    loaded = load_alignment(tmp_path / "a.safetensors")
    assert loaded.landmarks == fitted.landmarks
    np.testing.assert_array_equal(
        loaded.affines(shown, valid, points=points)[0], fitted.affines(shown, valid, points=points)[0]
    )


def test_the_canonical_image_is_the_mean_of_films_with_landmarks(fitted: FittedAlignment) -> None:
    shown, valid, points, _ = marked_films(8)
    noise = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    image, report = canonical_by_landmarks(
        torch.cat([shown, noise]), valid=torch.cat([valid, valid[:1]]), points=[*points, {}], config=CONFIG
    )
    assert torch.allclose(image, fitted.canonical, atol=1e-5)
    assert (report.aligned, report.films) == (8, 9)
