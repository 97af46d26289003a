"""The AUROC at each fusion weight is that of the weight alone, and the weight is chosen by rule."""

import dataclasses
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.statistics import auroc_interval, choose_weight, fusion_sweep


def make_films(*, seed, films=90, shift=1.0, films_a_patient=1):
    """Labels, scores and patients; with a patient effect where patients repeat."""
    generator = np.random.default_rng(seed)
    patients = np.arange(films) // films_a_patient
    labels = (generator.random(films) < 0.4).astype(int)
    effect = generator.normal(size=patients.max() + 1) if films_a_patient > 1 else np.zeros(films)
    return labels, generator.normal(size=films) + shift * labels + effect[patients], patients


@pytest.mark.parametrize("films", [80, 240])  # the logit scale, the linear one
@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_each_weight_of_a_sweep_is_its_own_interval(films_a_patient, films):
    labels, first, patients = make_films(seed=18, films=films, films_a_patient=films_a_patient)
    other = make_films(seed=19, films=films)[1]
    weights = np.linspace(0, 1, 11)
    columns = (weights * first[:, None] + (1 - weights) * other[:, None]).astype(np.float32)
    sweep = fusion_sweep(labels, columns, patients)
    for k in range(11):
        alone = auroc_interval(labels, columns[:, k], patients)
        assert (sweep.auroc[k], sweep.low[k], sweep.high[k]) == pytest.approx((alone.auroc, alone.low, alone.high))


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_a_sweep_and_a_single_weight_tell_one_interval(films_a_patient):
    """One weight is above 0.95, so all of the sweep is on the logit scale; most weights alone would not be."""
    labels, first, patients = make_films(seed=21, films=300, shift=4, films_a_patient=films_a_patient)
    other = make_films(seed=22, films=300)[1]
    weights = np.linspace(0, 1, 101)
    columns = weights * first[:, None] + (1 - weights) * other[:, None]
    sweep = fusion_sweep(labels, columns, patients)
    assert sweep.logit and sweep.auroc.max() > 0.95
    alone = [auroc_interval(labels, columns[:, k], patients) for k in range(101)]
    assert max(abs(one.low - low) for one, low in zip(alone, sweep.low, strict=True)) > 0.001
    for k in range(101):
        told = auroc_interval(labels, columns[:, k], patients, logit=sweep.logit)
        expected = (sweep.auroc[k], sweep.low[k], sweep.high[k])
        assert (told.auroc, told.low, told.high) == pytest.approx(expected, abs=1e-12)
        assert told.method.endswith("on the logit scale")


def test_sweep_leaves_out_a_film_that_lacks_one_weight():
    labels, scores, _ = make_films(seed=20)
    columns = np.repeat(scores[:, None], 3, axis=1)
    columns[4, 1] = np.nan
    sweep = fusion_sweep(labels, columns)
    assert sweep.left_out == 1
    assert sweep.auroc[0] == pytest.approx(roc_auc_score(np.delete(labels, 4), np.delete(scores, 4)))


def test_sweep_without_an_abnormal_film_keeps_the_papers_weight():
    sweep = fusion_sweep(np.zeros(5), np.zeros((5, 101)))
    assert "No abnormal film" in sweep.reason
    assert len(sweep.auroc) == len(sweep.low) == 0
    assert choose_weight(sweep) == 0.6


def test_sweep_with_one_abnormal_patient_has_areas_and_no_interval():
    sweep = fusion_sweep([0, 0, 1], np.arange(6.0).reshape(3, 2))
    assert list(sweep.auroc) == [1.0, 1.0]
    assert len(sweep.low) == 0
    assert "only one abnormal" in sweep.reason


def test_sweep_of_ten_thousand_films_is_quick():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 10_000)
    columns = generator.normal(size=(10_000, 101)).astype(np.float32)
    began = time.process_time()
    fusion_sweep(labels, columns, np.arange(10_000) // 2)
    assert time.process_time() - began < 3  # 0.2 s when measured; the square of the films would take minutes


def make_sweep(areas):
    empty = fusion_sweep(np.zeros(2), np.zeros((2, len(areas))))
    return dataclasses.replace(empty, auroc=np.array(areas), reason="")


def test_weight_is_the_best_and_a_tie_goes_to_the_nearest_of_the_paper():
    areas = np.full(101, 0.7)
    areas[[10, 90]] = 0.8
    assert choose_weight(make_sweep(areas)) == 0.9
    areas[[55, 65]] = 0.8
    assert choose_weight(make_sweep(areas)) == 0.55  # as near as 0.65: the smaller
    areas[3] = 0.81
    assert choose_weight(make_sweep(areas)) == 0.03


def test_sweep_needs_columns():
    with pytest.raises(ValueError, match="films, weights"):
        fusion_sweep([0, 1], [0.1, 0.2])
