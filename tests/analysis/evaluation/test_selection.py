"""The AUROC of the selection procedure, where settings were chosen on tune."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.selection import selection_of
from analysis.models import Evaluation
from ml_engine.engine.reports import NestedAuroc, TuneReport
from portal.models import Part, Role, User
from tests.analysis.scored import scored_run
from tests.portal import factories

pytestmark = pytest.mark.django_db
NESTED = NestedAuroc(auroc=0.71, low=0.6, high=0.81, folds=5, method="within folds")
SENTENCE = (
    "Settings were chosen on these films, so their AUROC here is optimistic. AUROC of the selection procedure: 0.710 "
    "(0.600–0.810), averaged within 5 folds of patients, each scored by what the other folds select."
)


@pytest.fixture
def anna(data_dir: Any) -> User:
    return factories.user("anna", Role.ANALYST)


def evaluation(anna: User, **tune: Any) -> Evaluation:
    """The evaluation of a run whose detector reports this of its choice on tune."""
    scored = scored_run(factories.site(), author=anna, tune=TuneReport(films=12, abnormal=6, **tune))
    return evaluate(run=scored.run, author=anna)


def test_nothing_chosen_on_tune_has_no_estimate(anna: User) -> None:
    assert selection_of(evaluation(anna), Part.TUNE) is None


def test_the_estimate_is_quoted_for_tune_alone(anna: User) -> None:
    made = evaluation(anna, auroc=[0.9] * 101, nested=NESTED)
    estimate = selection_of(made, Part.TUNE)
    assert estimate is not None
    assert estimate.sentence == SENTENCE
    assert selection_of(made, Part.TEST) is None


def test_a_choice_that_cannot_be_estimated_is_marked_as_optimistic(anna: User) -> None:
    note = "Nested folds need two patients."
    estimate = selection_of(evaluation(anna, auroc=[0.9] * 101, nested_note=note), Part.TUNE)
    assert estimate is not None
    assert estimate.sentence.endswith("cannot be estimated. Nested folds need two patients.")


def test_page_and_api_quote_it(client: Client, anna: User) -> None:
    made = evaluation(anna, auroc=[0.9] * 101, nested=NESTED)
    client.force_login(anna)
    figures = reverse("analysis:figures", args=[made.uuid])
    on_tune = client.get(figures, {"part": "tune", "weight": "0.6"}).json()["summary"]
    on_test = client.get(figures, {"part": "test", "weight": "0.6"}).json()["summary"]
    assert SENTENCE in on_tune
    assert "selection procedure" not in on_test
    answer = client.get(reverse("api-evaluation", args=[made.uuid])).json()
    assert answer["selection"] == asdict(NESTED) | {"reason": "", "sentence": SENTENCE}


def test_the_estimate_of_an_earlier_release_is_named_as_such(anna: User) -> None:
    old = NestedAuroc(auroc=0.71, low=0.6, high=0.81, folds=5)
    estimate = selection_of(evaluation(anna, auroc=[0.9] * 101, nested=old), Part.TUNE)
    assert estimate is not None
    assert (
        "by release 0.2.0: 0.710 (0.600–0.810), the scores of 5 folds of patients ranked together" in estimate.sentence
    )
    assert "does not select again" in estimate.sentence
