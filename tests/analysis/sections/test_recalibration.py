"""Risks of an evaluation: refused with a reason, and where they are given, page and API show the same."""

from __future__ import annotations

import csv
import io
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
from portal.models import Role, User
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


# The figures as CSV --------------------------------------------------------------------------------------


def csv_of(client: Client, evaluation: Evaluation, name: str, door: str, **query: Any) -> Any:
    return client.get(reverse(door, args=[evaluation.uuid, name]), {"part": "test", **query})


@pytest.mark.parametrize("name", ["calibration", "decision"])
def test_the_figures_as_csv_are_the_numbers_of_the_api(
    as_analyst: Client, evaluation: Evaluation, few_are_enough: None, name: str
) -> None:
    answer = asked(as_analyst, evaluation, part="test", prevalence="0.05")[0].json()
    page, api = (
        csv_of(as_analyst, evaluation, name, door, prevalence="0.05")
        for door in ("analysis:figure-csv", "api-figure-csv")
    )
    assert (page.status_code, page.content) == (200, api.content)
    rows = list(csv.DictReader(io.StringIO(page.text)))
    calibration = answer["calibration"]
    if name == "calibration":
        assert [float(row["observed_risk [share]"]) for row in rows] == [
            group["observed"] for group in calibration["groups"]
        ]
        assert sum(int(row["films [films]"]) for row in rows) == 12
        assert {float(row["calibration_slope_low"]) for row in rows} == {calibration["slope"]["low"]}
    else:
        numbers = ("threshold", "value", "low", "high", "all_called")
        columns = [column for column in rows[0] if "[share]" in column or "a film]" in column][:5]
        assert [[float(row[column]) for column in columns] for row in rows] == [
            [benefit[number] for number in numbers] for benefit in answer["benefits"]
        ]
    for row in rows:
        assert (row["abnormal of test [films]"], row["normal of test [films]"], row["confidence"]) == ("6", "6", "0.95")
        assert (row["prevalence [share]"], row["fusion_weight"]) == ("0.05", "0.6")
        assert "random weights" in row["notice"].lower() and "ook" in row["notice"]
    shown = as_analyst.get(
        reverse("analysis:recalibration", args=[evaluation.uuid]), {"part": "test", "prevalence": "0.05"}
    )
    address = reverse("analysis:figure-csv", args=[evaluation.uuid, name])
    assert f"{address}?part=test&amp;prevalence=0.05" in shown.text


@pytest.mark.parametrize("door", ["analysis:figure-csv", "api-figure-csv"])
def test_without_risks_there_is_no_csv(as_analyst: Client, evaluation: Evaluation, door: str) -> None:
    for query, sentence in (
        ({}, "State the prevalence of abnormal films"),
        ({"prevalence": "0.05"}, "at least 30 of each class are needed"),
        ({"prevalence": "0.05", "part": "tune"}, "The recalibration is fitted on tune"),
        ({"prevalence": "0.05", "part": "tune", "weight": "0.1"}, "is drawn at the run"),
    ):
        refused = csv_of(as_analyst, evaluation, "calibration", door, **query)
        assert (refused.status_code, sentence in refused.text) == (400, True)


def test_who_may_not_see_scores_gets_no_csv(client: Client, evaluation: Evaluation) -> None:
    client.force_login(factories.user("colleague", Role.CURATOR))
    assert csv_of(client, evaluation, "decision", "api-figure-csv", prevalence="0.05").status_code == 403
