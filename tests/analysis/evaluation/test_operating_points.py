"""Operating points: a threshold from tune or calibrate, on test; by page and API alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from scipy.stats import beta

from analysis.evaluation.evaluate import evaluate, scored_part
from analysis.evaluation.operating_point import InvalidOperatingPoint, RequestedPoint
from analysis.evaluation.operating_points import apply_operating_point
from analysis.models import Evaluation
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_summary
from tests.pages import one_line
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


def arrays(scored: Scored, weight: float = 0.6) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Part -> its fused scores and labels, from the arrays that the run was made from: 6 normal, 6 abnormal each."""
    fused = scored.sweep[:, round(weight * 100)].astype(np.float64)
    labels = np.array([0] * 6 + [1] * 6)
    return {"tune": (fused[:12], labels), "test": (fused[12:], labels)}


@pytest.mark.parametrize("target", [0.5, 0.7, 0.85])
def test_a_specificity_is_fixed_on_the_normals_of_tune(scored: Scored, evaluation: Evaluation, target: float) -> None:
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=target))
    tune, labels = arrays(scored)["tune"]
    normals = np.sort(tune[labels == 0])
    test, truth = arrays(scored)["test"]
    called = test > normals[math.ceil(target * 7) - 1]  # the conformal rank among 6
    assert result.source == "tune"
    assert result.reference_films == 6
    assert (result.true_positives, result.false_negatives) == (
        int((called & (truth == 1)).sum()),
        int((~called & (truth == 1)).sum()),
    )
    assert (result.false_positives, result.true_negatives) == (
        int((called & (truth == 0)).sum()),
        int((~called & (truth == 0)).sum()),
    )


def test_a_sensitivity_is_fixed_on_the_abnormal_films_of_tune(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(rule="sensitivity", target=0.8))
    tune, labels = arrays(scored)["tune"]
    threshold = np.sort(tune[labels == 1])[0]  # the 6th highest of 6, ceil(0.8 * 7)
    assert result.threshold == pytest.approx(float(threshold), rel=1e-7)
    test, truth = arrays(scored)["test"]
    assert result.true_positives == int((test[truth == 1] >= threshold).sum())
    assert result.false_positives == int((test[truth == 0] >= threshold).sum())


def test_the_calibration_normals_come_first_at_the_run_s_weight(scored: Scored, evaluation: Evaluation) -> None:
    normals = np.linspace(2, 4, 19)
    change_summary(run_folder(scored.run.uuid), calibration_scores=normals.tolist())
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=0.9))
    assert (result.source, result.reference_films) == ("calibrate", 19)
    assert result.threshold == pytest.approx(normals[17])  # 18 of 19 are not above it
    test, truth = arrays(scored)["test"]
    assert result.false_positives == int((test[truth == 0] > normals[17]).sum())
    tune = scored_part(scored.run, part="tune", cutoff=evaluation.label_cutoff)
    assert apply_operating_point(evaluation, tune, weight=0.6, point=RequestedPoint(target=0.9)).source == "calibrate"
    assert apply_operating_point(evaluation, tune, weight=0.5, point=RequestedPoint(target=0.9)).source is None


def test_too_few_normals_fix_no_high_specificity(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=0.9))
    assert result.threshold is None
    assert result.reason == (
        "A specificity of 0.9 needs normal films of more patients than the 6 of tune; choose 0.857 or less, or take "
        "more."
    )
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint("sensitivity", target=0.9))
    assert result.reason.startswith("A sensitivity of 0.9 needs abnormal films of more patients than the 6 of tune;")


def test_films_of_a_calibration_patient_count_once(scored: Scored, evaluation: Evaluation) -> None:
    normals = np.linspace(2, 4, 20)
    change_summary(
        run_folder(scored.run.uuid), calibration_scores=normals.tolist(), calibration_patients=[0, *range(19)]
    )
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=0.9))
    assert (result.reference_films, result.reference_patients) == (20, 19)
    assert result.threshold == pytest.approx(normals[18])  # ceil(0.9 * 20) = 18th of 19 patients, the first's second


def test_a_calibrate_part_promises_the_beta_interval_on_page_and_api(
    as_analyst: Client, scored: Scored, evaluation: Evaluation
) -> None:
    change_summary(
        run_folder(scored.run.uuid), calibration_scores=np.linspace(2, 4, 39).tolist(),
        calibration_patients=list(range(39)),
    )  # fmt: skip
    answer = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "test"}).json()
    page = one_line(as_analyst.get(reverse("analysis:operating", args=[evaluation.uuid]), {"part": "test"}))
    promised, rate = answer["promised"], beta(4, 36)  # the 36th of 39
    assert (promised["expected"], promised["patients"]) == (pytest.approx(0.1), 39)
    assert (promised["low"], promised["high"]) == pytest.approx((rate.ppf(0.025), rate.ppf(0.975)))
    words = "10.0 % of new normal films are called abnormal on average over draws of the 39 calibration patients"
    assert f"{words}, and between 2.9 and 20.9 % in 95 % of such draws." in page
    assert answer["promise"] in page


@pytest.mark.parametrize(
    ("changes", "source", "sentence"),
    [
        (
            {"calibration_source": "fit, 10 folds of patients"},
            "fit",
            "folds of the fit part were scored by models of fewer films",
        ),
        ({"note": "approximate: the banks were extended"}, "calibrate", "the detector was changed without"),
    ],
)
def test_other_calibration_scores_promise_nothing(
    scored: Scored, evaluation: Evaluation, changes: dict[str, Any], source: str, sentence: str
) -> None:
    scores = {"calibration_scores": np.linspace(2, 4, 39).tolist(), "calibration_patients": list(range(39))}
    change_summary(run_folder(scored.run.uuid), **scores, **changes)
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint())
    assert (result.source, result.promised) == (source, None)
    assert result.promise.startswith("No rate is promised for new films: ")
    assert sentence in result.promise


def test_tune_promises_nothing(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=0.8))
    assert (result.source, result.promised) == ("tune", None)
    assert result.promise == "No rate is promised for new films: settings may have been chosen on tune."


def test_predictive_values_are_those_of_bayes(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(scored.run, part="test", cutoff=evaluation.label_cutoff)
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(target=0.7, prevalence=0.1))
    assert result.sensitivity and result.specificity and result.predictive
    se, sp = result.sensitivity.value or 0.0, result.specificity.value or 0.0
    assert result.predictive.positive_predictive_value.value == pytest.approx(se * 0.1 / (se * 0.1 + (1 - sp) * 0.9))
    assert result.predictive.misses_per_1000.value == pytest.approx(1000 * 0.1 * (1 - se))


def test_tune_fixes_no_threshold_for_itself(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(scored.run, part="tune", cutoff=evaluation.label_cutoff)
    assert (
        "A threshold for tune is never fixed on tune itself"
        in apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint()).reason
    )
    result = apply_operating_point(evaluation, part, weight=0.6, point=RequestedPoint(rule="sensitivity"))
    assert result.threshold is None
    assert "is not applied to tune itself" in result.reason


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"rule": "youden"}, "The rule 'youden' is unknown"),
        ({"target": 0.2}, "The target is 0.2; it must lie from 0.5 to 0.999"),
        ({"target": float("nan")}, "The target is nan; it must lie"),
        ({"prevalence": 0.9}, "The prevalence is 0.9; it must lie from 0.0001 to 0.5"),
    ],
)
def test_invalid_operating_points_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOperatingPoint, match=sentence):
        RequestedPoint(**values)


def test_page_and_api_show_the_same(as_analyst: Client, evaluation: Evaluation) -> None:
    query = {"part": "test", "rule": "sensitivity", "target": "0.8", "prevalence": "0.02"}
    answer = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), query).json()
    page = one_line(as_analyst.get(reverse("analysis:operating", args=[evaluation.uuid]), query))
    assert f">{answer['true_positives']}</td> <td" in page
    assert f'data-threshold="{answer["threshold"]}"' in page
    assert f"{answer['sensitivity']['value']:.3f}" in page
    assert "prevalence of 0.02" in page
    assert answer["random_weights"] is True


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"part": "test", "weight": "0.3"}, "On test the weight is the run's, 0.6: leave out the weight."),
        ({"part": "tune", "weight": "0.123"}, "The weight '0.123' is not one of 0, 0.01"),
        ({"target": "high"}, "The target 'high' is not a number; write a share such as 0.9."),
        ({"prevalence": "2"}, "The prevalence is 2; it must lie"),
    ],
)
def test_bad_questions_get_a_sentence(
    as_analyst: Client, evaluation: Evaluation, query: dict[str, str], sentence: str
) -> None:
    answer = as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), query)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]
    page = as_analyst.get(reverse("analysis:operating", args=[evaluation.uuid]), query)
    assert sentence.replace("'", "&#x27;") in page.content.decode()


def test_another_part_is_not_found(as_analyst: Client, evaluation: Evaluation) -> None:
    assert as_analyst.get(reverse("api-operating", args=[evaluation.uuid]), {"part": "fit"}).status_code == 404


def test_a_curator_and_a_stranger_see_no_operating_point(client: Client, evaluation: Evaluation) -> None:
    address = reverse("analysis:operating", args=[evaluation.uuid])
    client.force_login(factories.user("cu", Role.CURATOR))
    assert client.get(address).status_code == 403
    client.force_login(factories.user("stranger", Role.ANALYST, at=factories.site("Busan")))
    assert client.get(address).status_code == 404
