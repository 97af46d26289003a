"""Trivial scores beside the method's: learned on tune, tested on test."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate, scored_part
from analysis.evaluation.looks import CannotEvaluate
from analysis.models import Evaluation
from analysis.sections.trivial_baselines import Trivial, trivial_of
from analysis.statistics import delong, delong_paired
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.models import User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_array

pytestmark = pytest.mark.django_db
LABELS = np.array([0] * 6 + [1] * 6)


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    generator = np.random.default_rng(5)
    measures = generator.normal(size=(24, 3))
    measures[:12, 0] -= 3 * LABELS  # abnormal films of tune are darker
    measures[12:, 0] -= 1 * LABELS
    change_array(run_folder(scored.run.uuid), "trivial", measures)
    for n, film in enumerate(scored.films):
        film.patient.sex = "MF"[(n % 12) in (5, 6, 7, 8, 9, 10)]
        film.patient.save()
    return evaluate(run=scored.run, author=analyst)


def told(evaluation: Evaluation, part: str = "test") -> Trivial:
    scored = scored_part(evaluation.run, part=part, cutoff=evaluation.label_cutoff)
    return trivial_of(evaluation, scored, weight=0.6)


def test_a_measure_goes_the_way_that_tune_says(scored: Scored, evaluation: Evaluation) -> None:
    brightness = told(evaluation).scores[0]
    dark = -ScoredFolder(run_folder(scored.run.uuid)).array("trivial")[12:, 0]
    assert brightness.name == "Brightness"
    assert brightness.auroc is not None and brightness.difference is not None
    assert brightness.auroc.auroc == pytest.approx(delong(LABELS, dark).auroc)
    wanted = delong_paired(LABELS, scored.sweep[12:, 60], dark, np.arange(12))
    assert brightness.difference.difference == pytest.approx(wanted.difference)
    assert brightness.beats is (wanted.low is not None and wanted.low > 0)


def test_a_category_scores_as_its_share_in_tune(evaluation: Evaluation) -> None:
    sex = next(row for row in told(evaluation).scores if row.name == "Sex")
    female = np.isin(np.arange(12), (5, 6, 7, 8, 9, 10))  # 5 of 6 abnormal in tune, and the rest 1 of 6
    assert sex.auroc is not None
    assert sex.auroc.auroc == pytest.approx(delong(LABELS, np.where(female, 5 / 6, 1 / 6)).auroc)


def test_the_method_is_told_among_films_alike(scored: Scored, evaluation: Evaluation) -> None:
    found = told(evaluation)
    assert found.matched_by == ("sex",)
    assert found.matched is not None
    # females: one normal film only; males: one abnormal film only
    assert found.matched.reason == "No stratum has normal and abnormal films of two patients each."


def test_nothing_is_told_of_tune_itself(evaluation: Evaluation) -> None:
    assert all("look at test" in row.reason and row.auroc is None for row in told(evaluation, "tune").scores)


def test_a_run_whose_films_were_not_measured_says_so(scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "trivial.npy").unlink()
    reasons = [row.reason for row in told(evaluation).scores if row.auroc is None]
    assert reasons == ["The run was scored before films were measured; score again."] * 3


def test_lost_results_are_said_to_be_lost(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)
    (run_folder(scored.run.uuid) / "score.json").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        trivial_of(evaluation, part, weight=0.6)


def test_the_page_tells_them(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:breakdown", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert "Brightness" in page
    assert "The method among films alike in sex" in page
