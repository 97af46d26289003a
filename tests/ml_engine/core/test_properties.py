"""Properties that hold for every film, detector and random draw, including extreme cases."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from ml_engine.core import Detector, PipelineConfig, k_center, stored_rows
from ml_engine.core.backbone import features
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import EngineError, UnsupportedImage
from ml_engine.core.film.preprocess import FilmArray, prepare
from ml_engine.core.geometry import apply
from ml_engine.core.score import calibration, film_scores, fusion

SEEDS = range(5)

# --- a film to its square input -----------------------------------------------------------------

PRESETS = {name: PipelineConfig.from_preset(name).replace(size=64) for name in ("paper", "default")}
SIZES = [(1, 1), (1, 7), (7, 1), (3, 2), (9, 200), (63, 65), (101, 37), (200, 199)]


def film(values: np.ndarray, *, bits: int = 12, padding: np.ndarray | None = None) -> FilmArray:
    hidden = np.zeros(values.shape, dtype=bool) if padding is None else padding
    return FilmArray(values.astype(np.float32), bits, (0.0, 2.0**bits - 1), None, hidden)


def noise(height: int, width: int, *, bits: int = 12) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 2**bits, (height, width))


def check_prepared(image_film: FilmArray, config: PipelineConfig) -> None:
    prepared = prepare(image_film, config)
    height, width = image_film.values.shape
    top, left, bottom, right = prepared.box

    assert prepared.image.shape == (config.size, config.size)
    assert prepared.image.dtype == torch.float32
    assert torch.isfinite(prepared.image).all()
    assert prepared.image.min() >= 0
    assert prepared.image.max() <= 1
    assert 0 <= top < bottom <= config.size
    assert 0 <= left < right <= config.size
    black = prepared.image.clone()
    black[top:bottom, left:right] = 0
    assert (black == 0).all()
    corners = torch.tensor([[left, top], [right, top], [left, bottom], [right, bottom]], dtype=torch.float64)
    expected = [[0, 0], [width, 0], [0, height], [width, height]]
    np.testing.assert_allclose(apply(prepared.original_from_input, corners).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_any_film_becomes_a_square_with_its_box_and_affine(preset: str, size: tuple[int, int], bits: int) -> None:
    check_prepared(film(noise(*size, bits=bits), bits=bits), PRESETS[preset])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_a_film_with_equalised_contrast_becomes_a_square_too(preset: str, size: tuple[int, int]) -> None:
    check_prepared(film(noise(*size)), PRESETS[preset].replace(clahe=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_constant_film_and_one_of_padding_only_become_black_squares(preset: str) -> None:
    everywhere = np.ones((9, 14), dtype=bool)
    for image_film in (film(np.full((9, 14), 700)), film(np.zeros((9, 14))), film(noise(9, 14), padding=everywhere)):
        check_prepared(image_film, PRESETS[preset])
        assert (prepare(image_film, PRESETS[preset]).image == 0).all()


def test_a_film_of_36_million_pixels_becomes_a_square_too() -> None:
    values = np.tile(np.arange(6000, dtype=np.uint16) * 10, (6000, 1))

    check_prepared(film(values, bits=16), PRESETS["default"])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_film_with_a_value_that_is_not_finite_is_refused(preset: str, wrong: float) -> None:
    values = noise(20, 30).astype(np.float32)
    values[4, 5] = wrong

    with pytest.raises(UnsupportedImage, match="1 of the film's 600 pixels is not a finite number"):
        prepare(film(values), PRESETS[preset])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_such_a_value_in_the_windowed_film_is_refused_too(wrong: float) -> None:
    display = np.full((20, 30), 0.5, dtype=np.float32)
    display[4, 5] = wrong
    image_film = FilmArray(noise(20, 30).astype(np.float32), 12, (0.0, 4095.0), display, np.zeros((20, 30), dtype=bool))

    with pytest.raises(UnsupportedImage, match="1 of the film's 600 pixels is not a finite number"):
        prepare(image_film, PRESETS["default"])
    check_prepared(image_film, PRESETS["paper"])  # which ignores the window


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_such_a_value_in_the_padding_is_ignored(preset: str, wrong: float) -> None:
    values, padding = noise(20, 30).astype(np.float32), np.zeros((20, 30), dtype=bool)
    padding[:, :6] = True
    plain = prepare(film(values, padding=padding), PRESETS[preset])
    values[:, :6] = wrong

    check_prepared(film(values, padding=padding), PRESETS[preset])
    assert torch.equal(prepare(film(values, padding=padding), PRESETS[preset]).image, plain.image)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_a_film_rotated_by_180_degrees_gives_the_rotated_input(preset: str, size: tuple[int, int]) -> None:
    values = noise(*size)
    upright, turned = (prepare(film(v), PRESETS[preset]) for v in (values, values[::-1, ::-1]))

    top, left, bottom, right = upright.box
    assert turned.box == upright.box
    one, other = (prepared.image[top:bottom, left:right] for prepared in (upright, turned))
    torch.testing.assert_close(other, one.flip(0, 1), rtol=0, atol=1.01 / stored_rows.LEVELS)


# --- a detector of films in memory --------------------------------------------------------------


_random_state = cache(features.random_state)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Random weights are drawn once. A single thread, because two are ten times slower on a busy machine."""
    monkeypatch.setattr(features, "random_state", _random_state)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


CONFIG = PipelineConfig.from_preset("default").replace(
    size=64, backbone="resnet18", weights="random", align="none", mask=False, grid=2, rate=0.1, device="cpu"
)
RAW = {"standardise": False, "fusion_choice": "config", "image_score": "top"}


def films(count: int, *, seed: int = 0) -> Tensor:
    return torch.rand(count, 64, 64, generator=torch.Generator().manual_seed(seed))


@cache
def fitted() -> Detector:
    return Detector.fit(films(4), CONFIG)


def check_scores(detector: Detector, image_film: Tensor) -> None:
    maps, keep = detector.maps(image_film), detector.mask.keep
    scores = detector.scores(maps)

    assert maps.shape == (len(image_film), 2, 8, 8)
    np.testing.assert_array_equal(np.isnan(maps), np.broadcast_to(~keep, maps.shape))
    assert (maps[:, :, keep] >= 0).all()
    for column in (scores.whole, scores.region, scores.fused, scores.sweep):
        assert np.isfinite(column).all()


def test_one_film_is_too_few_to_standardise_by_and_enough_without() -> None:
    with pytest.raises(EngineError, match="Standardising the maps needs at least 2"):
        Detector.fit(films(1), CONFIG)

    detector = Detector.fit(films(1), CONFIG.replace(**RAW))

    check_scores(detector, films(3, seed=1))
    assert len(detector.calibration.maps) == 0
    assert pipeline.threshold(detector)["value"] is None


def test_two_films_are_enough() -> None:
    check_scores(Detector.fit(films(2), CONFIG), films(3, seed=1))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_films_of_one_value_all_score_the_same(value: float) -> None:
    plain = torch.full((3, 64, 64), value)
    detector = Detector.fit(plain, CONFIG)

    check_scores(detector, films(2, seed=1))
    scores = detector.scores(detector.maps(plain))
    assert (scores.fused == scores.fused[0]).all()
    assert (detector.scores(detector.maps(films(2, seed=1))).fused > scores.fused[0]).all()


@pytest.mark.parametrize(
    ("preset", "value", "words"),
    [
        ("paper", 0.0, "The hard mask keeps no patch: the mean film is nowhere above 10"),
        ("default", 0.0, "The hard mask keeps 100% of the patches"),
        ("default", 0.5, "The hard mask keeps 100% of the patches"),
    ],
)
def test_a_mask_cannot_be_found_in_films_of_one_value(preset: str, value: float, words: str) -> None:
    config = PRESETS[preset].replace(backbone="resnet18", weights="random", align="none", device="cpu")

    with pytest.raises(EngineError, match=words):
        Detector.fit(torch.full((2, 64, 64), value), config)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_a_detector_is_not_fitted_on_a_value_that_is_not_finite(mask: bool, wrong: float) -> None:
    normals = films(3)
    normals[1, 30, 30] = wrong

    with pytest.raises(EngineError, match="have values that are not finite numbers"):
        Detector.fit(normals, CONFIG.replace(mask=mask))


def test_a_detector_is_not_calibrated_on_such_a_value() -> None:
    normals = films(3, seed=1)
    normals[1, 30, 30] = np.nan

    with pytest.raises(EngineError, match="1 of the 3 calibration films has no score at a patch where others have"):
        Detector.fit(films(2), CONFIG, calibrate=normals)


def test_a_new_film_with_such_a_value_has_no_score_and_does_not_change_the_others() -> None:
    new = films(3, seed=1)
    plain = fitted().scores(fitted().maps(new))
    new[1, 30, 30] = np.nan

    scores = fitted().scores(fitted().maps(new))

    assert np.isnan(scores.fused).tolist() == [False, True, False]
    np.testing.assert_array_equal(scores.fused[[0, 2]], plain.fused[[0, 2]])


def bright(rows: slice, columns: slice) -> Tensor:
    """Three films that are dark except for these patches of the 8 x 8 grid."""
    grids = torch.zeros(3, 8, 8, 8, 8)  # film, patch row, row, patch column, column
    grids[:, rows, :, columns] = 0.5 + films(3).view(3, 8, 8, 8, 8)[:, rows, :, columns] / 2
    return grids.view(3, 64, 64)


def masked(**changes: object) -> PipelineConfig:
    plain = {"mask": True, "mask_keep": None, "mask_least": 0.0, "mask_most": 1.0}
    return CONFIG.replace(**(plain | changes))


def test_a_mask_may_keep_one_patch() -> None:
    detector = Detector.fit(bright(slice(3, 4), slice(5, 6)), masked())

    assert np.argwhere(detector.mask.keep).tolist() == [[3, 5]]
    assert sum(bank is not None for bank in detector.banks.cells) == 1
    check_scores(detector, films(3, seed=1))


def test_a_cell_may_be_wholly_masked() -> None:
    detector = Detector.fit(bright(slice(0, 8), slice(0, 4)), masked())

    assert [bank is None for bank in detector.banks.cells] == [False, True, False, True]
    check_scores(detector, films(3, seed=1))


@pytest.mark.parametrize(("grid", "halo"), [(1, 0), (3, 0), (5, 1), (8, 0), (8, 7)])
def test_any_grid_gives_each_patch_a_bank(grid: int, halo: int) -> None:
    detector = Detector.fit(films(2), CONFIG.replace(grid=grid, halo=halo, **RAW))

    assert sum(bank is not None for bank in detector.banks.cells) == grid**2
    check_scores(detector, films(2, seed=1))
    if grid == 1:  # the only cell is the whole film
        maps = detector.maps(films(2, seed=1))
        np.testing.assert_array_equal(maps[:, 0], maps[:, 1])


@pytest.mark.parametrize("distance", ["l2", "squared"])
def test_films_whose_patches_are_all_in_the_banks_score_zero(distance: str) -> None:
    normals = films(3)
    detector = Detector.fit(normals, CONFIG.replace(rate=1.0, distance=distance, **RAW))

    assert (detector.maps(normals) == 0).all()
    assert (detector.maps(films(2, seed=1)) > 0).all()


def test_a_bank_smaller_than_k_is_used_whole() -> None:
    config = CONFIG.replace(neighbours=1000, **RAW)
    detector, new = Detector.fit(films(2), config), films(1, seed=1)

    check_scores(detector, new)
    extractor = FeatureExtractor(config, _random_state("resnet18", config.seed), torch.device("cpu"))
    queries = extractor.patches(new[:, None], places_of(detector.mask.keep))[0].double().numpy()
    expected = cdist(queries, detector.banks.whole.vectors.double().numpy()).mean(axis=1)
    np.testing.assert_allclose(detector.maps(new)[0, 0].ravel(), expected, rtol=1e-5)


def test_scores_do_not_depend_on_other_films_or_their_order() -> None:
    new, order = films(11, seed=1), [3, 10, 0, 7, 1, 9, 2, 8, 4, 6, 5]
    together = fitted().maps(new)

    for k in (0, 7, 8, 10):
        np.testing.assert_array_equal(fitted().maps(new[k : k + 1])[0], together[k])
    np.testing.assert_array_equal(fitted().maps(new[order]), together[order])
    one, other = fitted().scores(together), fitted().scores(together[order])
    np.testing.assert_array_equal(other.fused, one.fused[order])
    np.testing.assert_array_equal(other.sweep, one.sweep[order])


def test_a_loaded_detector_gives_the_same_maps_scores_and_threshold(tmp_path: Path) -> None:
    fitted().save(tmp_path / "detector.safetensors")
    again, new = Detector.load(tmp_path / "detector.safetensors"), films(3, seed=1)

    np.testing.assert_array_equal(again.maps(new), fitted().maps(new))
    one, other = (d.scores(fitted().maps(new)) for d in (fitted(), again))
    np.testing.assert_array_equal(one.sweep, other.sweep)
    np.testing.assert_array_equal(one.fused, other.fused)
    assert pipeline.threshold(again) == pipeline.threshold(fitted())


# --- the coreset --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [2e8, 0.0])
def test_a_single_point_is_its_own_coreset(limit: float) -> None:
    coreset = k_center(torch.randn(1, 5, generator=torch.Generator().manual_seed(0)), 1, exact_limit=limit)

    assert coreset.indices.tolist() == [0]
    assert coreset.radius.tolist() == [0.0]


@pytest.mark.parametrize("limit", [2e8, 0.0])
@pytest.mark.parametrize("value", [0.0, 3.7])
def test_among_equal_points_the_first_are_picked(value: float, limit: float) -> None:
    coreset = k_center(torch.full((9, 5), value), 6, start=2, exact_limit=limit)

    assert coreset.indices.tolist() == [2, 0, 1, 3, 4, 5]
    assert (coreset.radius[[0, 2, 5]] == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limit", [2e8, 0.0])
def test_as_many_picks_as_points_select_every_point(seed: int, limit: float) -> None:
    points = torch.randn(40, 6, generator=torch.Generator().manual_seed(seed))
    coreset = k_center(points, 40, start=seed, seed=seed, exact_limit=limit)

    assert sorted(coreset.indices.tolist()) == list(range(40))
    assert coreset.indices[0] == seed
    assert coreset.radius[-1] == 0
    assert (np.diff(coreset.radius[[0, 19, 39]]) <= 0).all()


# --- scores, p-values and thresholds ------------------------------------------------------------


def scores_of(seed: int, count: int) -> np.ndarray:
    """Scores with ties."""
    return np.random.default_rng(seed).integers(-20, 20, count) / 8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rising", [np.exp, np.cbrt, lambda x: 3 * x - 7], ids=["exp", "cbrt", "line"])
def test_p_values_depend_only_on_the_order_of_scores(seed: int, rising: Callable[[np.ndarray], np.ndarray]) -> None:
    new, normals = scores_of(seed, 30), scores_of(seed + 100, 17)

    p_values = calibration.p_values(rising(new), rising(normals))

    np.testing.assert_array_equal(p_values, calibration.p_values(new, normals))
    np.testing.assert_array_equal(p_values, [(1 + sum(normals >= score)) / 18 for score in new])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25, 0.5])
def test_a_film_is_marked_where_its_p_value_is_at_most_the_rate(seed: int, rate: float) -> None:
    new, normals = scores_of(seed, 200), scores_of(seed + 100, 19 + seed)
    threshold = calibration.film_threshold(normals, rate)

    assert threshold is not None
    np.testing.assert_array_equal(new > threshold.value, calibration.p_values(new, normals) <= rate + 1e-12)
    assert threshold.expected <= rate + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_a_normal_film_without_a_score_is_ignored(seed: int) -> None:
    new, normals = scores_of(seed, 30), scores_of(seed + 100, 25)
    more = np.insert(normals, [0, 7, 25], np.nan)

    np.testing.assert_array_equal(calibration.p_values(new, more), calibration.p_values(new, normals))
    assert calibration.film_threshold(more, 0.1) == calibration.film_threshold(normals, 0.1)
    assert calibration.film_threshold(np.full(25, np.nan), 0.1) is None


def maps_of(seed: int, count: int) -> fusion.Maps:
    """Raw maps in steps of 2^-12, so that adding a whole number is exact; the first row masked."""
    values = np.random.default_rng(seed).gamma(4, 1, (count, 2, 8, 8))
    values[:, :, 0] = np.nan
    return (np.round(values * 4096) / 4096).astype(np.float32)


def detector_on(maps: fusion.Maps) -> Detector:
    return Detector(
        CONFIG, fitted().mask, fitted().model, pipeline.calibrate(maps, source="calibrate", config=CONFIG),
        fitted().choice, fitted().weights, None, "1",
    )  # fmt: skip


def numbers_of(detector: Detector, new: fusion.Maps) -> list[np.ndarray]:
    """Every number that is reported for new films, and the threshold of the map."""
    scores, normals = detector.scores(new), pipeline.normal_scores(detector)
    threshold = np.array([pipeline.threshold(detector)["value"]])
    return [scores.fused, scores.sweep, np.sort(normals), calibration.p_values(scores.fused, normals), threshold]


@pytest.mark.parametrize("seed", SEEDS)
def test_standardised_scores_do_not_change_with_an_offset_of_all_maps(seed: int) -> None:
    normals, new, offset = maps_of(seed, 12), maps_of(seed + 100, 5), np.float32([[[3.0]], [[5.0]]])

    for one, other in zip(
        numbers_of(detector_on(normals), new), numbers_of(detector_on(normals + offset), new + offset), strict=True
    ):
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_standardised_scores_do_not_change_with_the_unit_of_each_channel(seed: int) -> None:
    normals, new, unit = maps_of(seed, 12), maps_of(seed + 100, 5), np.float32([[[0.25]], [[1024.0]]])

    for one, other in zip(
        numbers_of(detector_on(normals), new), numbers_of(detector_on(normals * unit), new * unit), strict=True
    ):
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_standardised_scores_do_not_change_with_the_order_of_the_calibration_films(seed: int) -> None:
    normals, new = maps_of(seed, 12), maps_of(seed + 100, 5)
    order = np.random.default_rng(seed).permutation(12)

    for one, other in zip(
        numbers_of(detector_on(normals), new), numbers_of(detector_on(normals[order]), new), strict=True
    ):
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["max", "top", "mean"])
def test_a_fused_score_lies_within_those_of_its_maps_patch_by_patch(seed: int, how: str) -> None:
    maps = maps_of(seed, 6).astype(np.float64)
    least = film_scores.image_scores(maps.min(axis=1), how=how, top_share=0.1)
    most = film_scores.image_scores(maps.max(axis=1), how=how, top_share=0.1)

    for weight in (0.0, 0.3, 0.6, 1.0):
        scores = film_scores.image_scores(fusion.fuse(maps, weight), how=how, top_share=0.1)
        assert (scores >= least - 1e-12).all()
        assert (scores <= most + 1e-12).all()
    np.testing.assert_array_equal(fusion.fuse(maps, 0.0), maps[:, 0])
    np.testing.assert_array_equal(fusion.fuse(maps, 1.0), maps[:, 1])


# --- folds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("folds", [2, 3, 5, 60])
def test_folds_divide_the_patients_evenly(seed: int, folds: int) -> None:
    draw = np.random.default_rng(seed)
    counts = {f"p{k}": int(count) for k, count in enumerate(draw.geometric(0.3, 4 + 3 * seed))}
    patients = [name for name, count in counts.items() for _ in range(count)]
    draw.shuffle(patients)

    fold_of = calibration.patient_folds(patients, folds=folds, seed=seed)

    members = [
        {name for name, at in zip(patients, fold_of, strict=True) if at == fold} for fold in range(fold_of.max() + 1)
    ]
    assert len(members) == min(folds, len(counts))
    assert sorted(name for fold in members for name in fold) == sorted(counts)  # each patient in one fold
    sizes = [sum(counts[name] for name in fold) for fold in members]
    for fold, size in zip(members, sizes, strict=True):  # no patient could be moved to make it more even
        assert size - min(counts[name] for name in fold) <= min(sizes)
    order = draw.permutation(len(patients))
    again = calibration.patient_folds([patients[k] for k in order], folds=folds, seed=seed)
    np.testing.assert_array_equal(again, fold_of[order])


def test_a_single_patient_is_a_single_fold() -> None:
    assert calibration.patient_folds(["p"] * 4, folds=5, seed=0).tolist() == [0, 0, 0, 0]
