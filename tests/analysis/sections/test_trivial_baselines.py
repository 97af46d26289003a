"""Trivial scores compared with the method: learned on tune, tested on test."""

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


def trivial_scores(evaluation: Evaluation, part: str = "test") -> Trivial:
    scored = scored_part(evaluation.run, part=part, cutoff=evaluation.label_cutoff)
    return trivial_of(evaluation, scored, weight=0.6)


def test_the_direction_of_a_measure_is_learned_on_tune(scored: Scored, evaluation: Evaluation) -> None:
    brightness = trivial_scores(evaluation).scores[0]
    dark = -ScoredFolder(run_folder(scored.run.uuid)).array("trivial")[12:, 0]
    assert brightness.name == "Brightness"
    assert brightness.auroc is not None and brightness.difference is not None
    assert brightness.auroc.auroc == pytest.approx(delong(LABELS, dark).auroc)
    wanted = delong_paired(LABELS, scored.sweep[12:, 60], dark, np.arange(12))
    assert brightness.difference.difference == pytest.approx(wanted.difference)
    assert brightness.beats is (wanted.low is not None and wanted.low > 0)


def test_a_category_scores_as_its_share_in_tune(evaluation: Evaluation) -> None:
    sex = next(row for row in trivial_scores(evaluation).scores if row.name == "Sex")
    female = np.isin(np.arange(12), (5, 6, 7, 8, 9, 10))  # 5 of 6 abnormal in tune, and the rest 1 of 6
    assert sex.auroc is not None
    assert sex.auroc.auroc == pytest.approx(delong(LABELS, np.where(female, 5 / 6, 1 / 6)).auroc)


def test_the_method_is_evaluated_among_films_alike(scored: Scored, evaluation: Evaluation) -> None:
    trivial = trivial_scores(evaluation)
    assert trivial.matched_by == ("sex",)
    assert trivial.matched is not None
    # females: one normal film only; males: one abnormal film only
    assert trivial.matched.reason == "No stratum has normal and abnormal films of two patients each."


def test_tune_itself_is_not_evaluated(evaluation: Evaluation) -> None:
    assert all("choose test" in row.reason and row.auroc is None for row in trivial_scores(evaluation, "tune").scores)


def test_a_run_whose_films_were_not_measured_gives_the_reason(scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "trivial.npy").unlink()
    reasons = [row.reason for row in trivial_scores(evaluation).scores if row.auroc is None]
    assert reasons == ["The run was scored before films were measured; score again."] * 3


def test_missing_results_are_reported(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)
    (run_folder(scored.run.uuid) / "score.json").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        trivial_of(evaluation, part, weight=0.6)


def test_the_page_shows_them(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:breakdown", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert "Brightness" in page
    assert "The method among films matched by sex" in page
