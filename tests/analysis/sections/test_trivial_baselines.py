"""Trivial scores compared with the method: learned on tune, tested on test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from analysis.evaluation.evaluate import evaluate, scored_part
from analysis.evaluation.looks import CannotEvaluate
from analysis.models import Evaluation
from analysis.sections.trivial_baselines import Trivial, TrivialScore, trivial_of
from analysis.statistics import added_value, delong, delong_paired, matched_auroc, stratified_auroc
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.intake.film_files import pixel_path
from portal.models import User
from tests.analysis.scored import Scored, scored_run
from tests.ml_engine.scored_folders import change_array
from tests.portal import factories

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


def row_of(trivial: Trivial, name: str) -> TrivialScore:
    return next(row for row in trivial.scores if row.name == name)


def test_a_measure_is_shown_in_its_better_direction(scored: Scored, evaluation: Evaluation) -> None:
    """The area of the darkness is 0.39 or so, which is 0.61 the other way."""
    measures = np.array(ScoredFolder(run_folder(scored.run.uuid)).array("trivial"))
    measures[:, 0] = np.r_[LABELS, LABELS] * -1.0 + np.random.default_rng(1).normal(size=24)
    change_array(run_folder(scored.run.uuid), "trivial", measures)
    row = row_of(trivial_scores(evaluation), "Brightness")
    bright = delong(LABELS, measures[12:, 0]).auroc
    assert bright is not None and bright < 0.5
    assert row.auroc is not None and row.difference is not None
    assert row.auroc.auroc == pytest.approx(1 - bright)
    assert (row.direction, row.source) == ("darker films are abnormal", "learned on tune")
    wanted = delong_paired(LABELS, scored.sweep[12:, 60], -measures[12:, 0], np.arange(12))
    assert row.difference.difference == pytest.approx(wanted.difference)
    assert row.beats is (wanted.low is not None and wanted.low > 0)


def test_a_direction_that_tune_does_not_have_is_optimistic(evaluation: Evaluation) -> None:
    row = row_of(trivial_scores(evaluation), "Brightness")  # of the fixture: brighter on test, darker on tune
    assert row.direction == "brighter films are abnormal"
    assert row.source == "chosen on these films, so optimistic; on tune it is the other way"


def test_on_tune_and_without_abnormal_films_there_directions_are_optimistic(
    scored: Scored, evaluation: Evaluation, analyst: User
) -> None:
    row = row_of(trivial_scores(evaluation, "tune"), "Brightness")
    assert row.source == "chosen on these films, so optimistic"
    assert row.auroc is not None and row.auroc.auroc is not None and row.auroc.auroc > 0.9
    evaluation.metrics["parts"].pop("tune")  # as of a run that scored test alone
    assert row_of(trivial_scores(evaluation), "Gradient").source == "chosen on these films, so optimistic"


def test_without_tune_a_category_is_learned_in_folds(evaluation: Evaluation) -> None:
    evaluation.metrics["parts"].pop("tune")
    row = row_of(trivial_scores(evaluation), "Sex")
    assert row.source == "learned in folds of these films"
    assert row.auroc is not None and row.auroc.auroc is not None and row.auroc.auroc > 0.6


def test_records_are_trivial_scores(scored: Scored, evaluation: Evaluation) -> None:
    for n, film in enumerate(scored.films):  # abnormal films are of women: no size of a file separates as well
        film.patient.sex = "MF"[n % 12 >= 6]
        film.patient.save()
    arrival = row_of(trivial_scores(evaluation), "Order of import")  # normal films were imported first
    assert arrival.auroc is not None
    assert arrival.auroc.auroc == 1.0
    assert arrival.direction == "films imported later are abnormal"
    number = row_of(trivial_scores(evaluation), "Number in the file name")
    assert number.reason == "No file name is kept: only an import with a CSV keeps names."
    best, visible = trivial_scores(evaluation).best_of_records, trivial_scores(evaluation).best_in_film
    assert best is not None and best.name == "Order of import"
    assert visible is not None and visible.name == "Sex"


def test_what_is_added_is_that_of_the_statistic(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)
    rows = {row.over: row for row in trivial_scores(evaluation).added}
    assert rows["all trivial scores"].scores == (
        "Brightness", "Gradient", "Size in pixels", "Size of the stored file", "Order of import", "Sex",
    )  # fmt: skip
    row = rows["trivial scores visible in a film"]
    assert row.scores == ("Brightness", "Gradient", "Size in pixels", "Size of the stored file", "Sex")
    measures = ScoredFolder(run_folder(scored.run.uuid)).array("trivial")[12:]
    stored = [pixel_path(film.pixel_sha256).stat().st_size for film in scored.films[12:]]
    sex = [film.patient.sex for film in scored.films[12:]]
    wanted = added_value(LABELS, part.scores_at(0.6), np.column_stack([measures, stored]), [sex], np.arange(12))
    assert row.value.added is not None and wanted.added is not None
    assert row.value.added.difference == pytest.approx(wanted.added.difference)


def with_views(views: list[str], analyst: User) -> tuple[Scored, Evaluation, np.ndarray]:
    """A run whose films have these views, with the brightness of its test films."""
    scored = scored_run(factories.site(), author=analyst, facts=[{"view": view} for view in views])
    measures = np.random.default_rng(5).normal(size=(24, 3))
    change_array(run_folder(scored.run.uuid), "trivial", measures)
    return scored, evaluate(run=scored.run, author=analyst), measures[12:, 0]


@pytest.mark.usefixtures("data_dir")
def test_pairs_are_of_one_view(analyst: User) -> None:
    views = ["PA", "AP", "PA", "PA", "AP", ""] * 4
    scored, evaluation, bright = with_views(views, analyst)
    trivial = trivial_scores(evaluation)
    wanted = matched_auroc(LABELS, scored.sweep[12:, 60], bright, views[12:])
    assert trivial.pairs_by == ("view position", "brightness")
    assert trivial.pairs == wanted
    assert 0 < wanted.pairs < 6


@pytest.mark.usefixtures("data_dir")
def test_without_views_pairs_are_of_like_brightness(analyst: User) -> None:
    scored, evaluation, bright = with_views([""] * 24, analyst)
    trivial = trivial_scores(evaluation)
    assert trivial.pairs_by == ("brightness",)
    assert trivial.pairs == matched_auroc(LABELS, scored.sweep[12:, 60], bright, ["any"] * 12)
    assert trivial.pairs is not None and trivial.pairs.pairs > 0


def test_fifths_are_of_the_gradient(scored: Scored, evaluation: Evaluation) -> None:
    measures = np.array(ScoredFolder(run_folder(scored.run.uuid)).array("trivial"))
    measures[12:, 1] = [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
    change_array(run_folder(scored.run.uuid), "trivial", measures)
    fifths = trivial_scores(evaluation).fifths
    wanted = stratified_auroc(LABELS, scored.sweep[12:, 60], [0, 0, 1, 1, 2, 2] * 2)
    assert fifths == wanted
    assert fifths is not None and fifths.strata == 3


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


def test_a_run_whose_films_were_not_measured_gives_the_reason(scored: Scored, evaluation: Evaluation) -> None:
    (run_folder(scored.run.uuid) / "trivial.npy").unlink()
    trivial = trivial_scores(evaluation)
    for name in ("Brightness", "Gradient", "Size in pixels"):
        assert row_of(trivial, name).reason == "The run was scored before films were measured; score again."
    assert (trivial.pairs, trivial.fifths) == (None, None)
    assert [len(row.scores) for row in trivial.added] == [3, 2]


def test_missing_results_are_reported(scored: Scored, evaluation: Evaluation) -> None:
    part = scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)
    (run_folder(scored.run.uuid) / "score.json").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        trivial_of(evaluation, part, weight=0.6)


def test_the_page_shows_them(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:breakdown", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert "Brightness" in page
    for text in (
        "brighter films are abnormal; chosen on",
        "Films of the same sex",
        "all trivial scores",
        "With random weights another seed is another network",
    ):
        assert text in page


def test_the_api_returns_them(as_analyst: Client, evaluation: Evaluation) -> None:
    answer = as_analyst.get(reverse("api-breakdown", args=[evaluation.uuid]), {"part": "test"}).json()
    assert answer["trivial"]["scores"][0]["direction"] == "brighter films are abnormal"
    assert answer["trivial"]["added"][0]["value"]["folds"] == 5


def test_the_best_trivial_score_is_beside_the_auroc(as_analyst: Client, evaluation: Evaluation) -> None:
    page = as_analyst.get(reverse("analysis:evaluation", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    url = reverse("analysis:beside", args=[evaluation.uuid])
    assert f'hx-get="{url}?part=test"' in page
    lines = as_analyst.get(url, {"part": "test"}).content.decode()
    for text in ("order of import, films imported later are abnormal", "Added over all trivial scores", "1.000"):
        assert text in lines


def test_beside_an_auroc_too_few_films_have_their_reason(evaluation: Evaluation) -> None:
    trivial = trivial_scores(evaluation)
    few = replace(trivial.added[0], value=added_value(LABELS[4:8], np.arange(4.0), np.zeros((4, 1))))
    assert few.value.added is None
    lines = render_to_string("analysis/_beside.html", {"trivial": replace(trivial, added=(few,)), "weight": 0.6})
    assert f'title="{few.value.reason}">not defined' in lines


def test_beside_an_auroc_missing_results_are_reported(
    as_analyst: Client, scored: Scored, evaluation: Evaluation
) -> None:
    (run_folder(scored.run.uuid) / "score.json").unlink()
    lines = as_analyst.get(reverse("analysis:beside", args=[evaluation.uuid]), {"part": "test"}).content.decode()
    assert "are not in the data folder any more" in lines
