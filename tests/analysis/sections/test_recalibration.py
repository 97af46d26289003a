"""Risks of an evaluation: refused with a reason, and where they are given, page and API show the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from sklearn.linear_model import LogisticRegression

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from ml_engine.runs.paths import run_folder
from portal.models import User
from tests.analysis.scored import Scored, scored_run
from tests.portal import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def scored(data_dir: Path, analyst: User) -> Scored:
    return scored_run(factories.site(), author=analyst, seed=4)  # whose scores do not separate the classes


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    return evaluate(run=scored.run, author=analyst)


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 6 films of each class are taken as enough."""
    monkeypatch.setattr("analysis.sections.recalibration.LEAST_FILMS", 6)


def asked(client: Client, evaluation: Evaluation, **query: Any) -> tuple[Any, str]:
    api = client.get(reverse("api-recalibration", args=[evaluation.uuid]), query)
    page = client.get(reverse("analysis:recalibration", args=[evaluation.uuid]), query)
    assert page.status_code == 200
    return api, page.content.decode()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"part": "test"}, "Distances and conformal p-values are not risks"),
        ({"part": "test", "prevalence": "many"}, "give a share from 0.0001 to 0.5"),
        ({"part": "test", "prevalence": "nan"}, "give a share from 0.0001 to 0.5"),
        ({"part": "tune", "prevalence": "0.05"}, "The recalibration is fitted on tune"),
        ({"part": "test", "prevalence": "0.05"}, "6 abnormal films: at least 30 of each class are needed"),
    ],
)
def test_there_are_no_risks_without_a_reason_why(
    as_analyst: Client, evaluation: Evaluation, query: dict[str, str], sentence: str
) -> None:
    api, page = asked(as_analyst, evaluation, **query)
    assert api.status_code == 400
    assert sentence in api.json()["detail"]
    assert sentence in page
    assert "json_script" not in page


def test_page_and_api_show_risks_fitted_on_tune(
    as_analyst: Client, scored: Scored, evaluation: Evaluation, few_are_enough: None
) -> None:
    api, page = asked(as_analyst, evaluation, part="test", prevalence="0.05")
    answer = api.json()
    labels = np.repeat([0, 1], 6)
    plain = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(scored.sweep[:12, [60]], labels)  # of tune
    assert answer["fit"]["slope"] == pytest.approx(plain.coef_[0, 0], abs=1e-3)
    assert answer["weight"] == 0.6
    assert (answer["calibration"]["positives"], answer["calibration"]["prevalence"]) == (6, 0.05)
    assert len(answer["benefits"]) == 40
    for number in (answer["calibration"]["brier"], answer["benefits"][7]["value"]):
        assert f"{number:.4f}" in page
    assert f"{answer['calibration']['slope']['value']:.3f}" in page
    assert "Looks at this test part: 1" in page
    assert "random weights, not for evaluation" in page  # in both figures


def test_risks_need_a_run_that_scored_tune(as_analyst: Client, evaluation: Evaluation) -> None:
    del evaluation.metrics["parts"]["tune"]
    evaluation.save()
    api, _ = asked(as_analyst, evaluation, part="test", prevalence="0.05")
    assert "The run scored no film of tune" in api.json()["detail"]


def test_scores_that_point_the_wrong_way_give_no_risk(
    as_analyst: Client, scored: Scored, evaluation: Evaluation, few_are_enough: None
) -> None:
    path = run_folder(scored.run.uuid) / "sweep.npy"
    np.save(path, -np.load(path))
    api, _ = asked(as_analyst, evaluation, part="test", prevalence="0.05")
    assert "higher scores are not more often abnormal" in api.json()["detail"]
