"""Known affines: their draw, the definition of errors, and the errors that an alignment leaves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.fit_landmarks import fit_landmarks
from ml_engine.core.alignment.known import KNOWN, errors, known_affines, measured_by_known
from ml_engine.core.alignment.model import FittedAlignment, prepared
from ml_engine.core.alignment.report import KnownMeasures
from ml_engine.core.alignment.sampling import unaligned
from tests.ml_engine.core.alignment.blobs import films, quiet, small_config, thorax


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_known_affines_keep_within_their_ranges() -> None:
    drawn = known_affines(200, generator=generator()).double().numpy()
    scales = 0.5 * np.log(np.linalg.det(drawn[:, :, :2]))
    assert np.abs(drawn[:, :, 2]).max() <= KNOWN["shift"] + 1e-6
    assert 0.8 * KNOWN["log_scale"] < np.abs(scales).max() <= KNOWN["log_scale"] + 1e-6
    assert torch.equal(known_affines(3, generator=generator(), strength=0), unaligned(3))


def test_errors_of_an_affine_with_known_angle_scale_and_shift() -> None:
    angle, scale, size = math.radians(3), 1.05, 100
    theta = torch.tensor(
        [
            [
                [scale * math.cos(angle), -scale * math.sin(angle), 0.08],
                [scale * math.sin(angle), scale * math.cos(angle), 0],
            ]
        ]
    )
    measured = errors(theta, size=size)
    assert measured.angle_median_degrees == pytest.approx(3, abs=1e-4)
    assert measured.log_scale_median == pytest.approx(math.log(1.05), abs=1e-6)
    assert measured.shift_median_px == pytest.approx(4, abs=1e-4)  # 0.08 of the half frame of 50 pixels
    unit = (np.arange(9) + 0.5) / 4.5 - 1
    moved = [50 * np.linalg.norm(theta[0].double().numpy() @ [x, y, 1] - [x, y]) for y in unit for x in unit]
    assert measured.displacement_median_px == pytest.approx(np.median(moved), abs=1e-4)
    assert measured.displacement_p95_px == pytest.approx(np.percentile(moved, 95), abs=1e-4)


def test_errors_have_no_sign() -> None:
    turned = torch.tensor([[[1.0, 0.1, 0], [-0.1, 1, 0]], [[1.0, -0.1, 0], [0.1, 1, 0]]])
    assert errors(turned, size=10).angle_median_degrees == pytest.approx(math.degrees(math.atan(0.1)), abs=1e-4)


@pytest.fixture(scope="module")
def searched() -> FittedAlignment:
    shown, valid, _ = films(6)
    config = small_config(method="search", rounds=1, epochs=1, search_steps=40)
    atlas = thorax(64)[0, 0]
    return fit_alignment(shown, valid=valid, config=config, seed=0, checkpoint=None, progress=quiet, canonical=atlas)


def test_a_search_undoes_known_affines(searched: FittedAlignment) -> None:
    shown, mask = prepared(*films(6)[:2], size=64)
    measured = measured_by_known(searched, shown, mask, seed=2)
    assert measured.known is not None
    assert measured.consistency is not None
    assert measured.known.films == 6
    assert measured.known.after.displacement_median_px < 0.7 * measured.known.before.displacement_median_px
    assert measured.consistency.displacement_median_px < 0.7 * measured.known.before.displacement_median_px
    assert measured == measured_by_known(searched, shown, mask, seed=2)


def test_an_alignment_without_effect_leaves_the_known_affines(searched: FittedAlignment) -> None:
    still = replace(searched, config=small_config(method="search", search_steps=0))
    shown, mask = prepared(*films(6)[:2], size=64)
    measured = measured_by_known(still, shown, mask, seed=2)
    assert measured.known is not None
    assert measured.consistency is not None
    assert measured.known.after == measured.known.before
    drawn = measured.known.before.displacement_median_px
    assert measured.consistency.displacement_median_px == pytest.approx(drawn, rel=1e-5)


def test_nothing_is_measured_where_no_film_passes_the_checks(searched: FittedAlignment) -> None:
    shown, mask = prepared(*films(2)[:2], size=64)
    assert measured_by_known(searched, shown, torch.zeros_like(mask), seed=0) == KnownMeasures()


def test_an_alignment_by_landmarks_is_not_measured_by_known_affines() -> None:
    shown, valid, _ = films(2)
    points = [{"a": (10.0, 10.0), "b": (50.0, 12.0), "c": (30.0, 50.0)}] * 2
    config = small_config(method="landmarks")
    model = fit_landmarks(shown, valid=valid, points=points, config=config, seed=0)
    assert measured_by_known(model, *prepared(shown, valid, size=64), seed=0) == KnownMeasures()
