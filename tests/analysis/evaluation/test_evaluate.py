"""A scored run and a label cut-off -> an Evaluation; looks at test are counted."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.utils import timezone
from sklearn.metrics import roc_auc_score

from analysis.evaluation.evaluate import (
    ScoredPart,
    aurocs,
    chosen_on_tune,
    evaluate,
    is_stored,
    look_at_weight,
    parts_of,
    scored_part,
    sweep_of,
    why_none_chosen,
)
from analysis.evaluation.looks import CannotEvaluate, looks_at_test
from analysis.models import Evaluation, TestLook
from ml_engine.models import RunState, Score
from ml_engine.runs.paths import run_folder
from portal.models import Role, SplitImage, User
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both]

LABELS = np.array([0] * 6 + [1] * 6)  # in tune and in test


def test_the_areas_are_those_of_another_implementation(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    for part, rows in (("tune", slice(0, 12)), ("test", slice(12, 24))):
        areas = evaluation.metrics["parts"][part]["auroc"]
        for kind, at in (("global", 0), ("region", 100), ("fused", 60)):
            assert areas[kind]["auroc"] == pytest.approx(roc_auc_score(LABELS, scored.sweep[rows, at]), abs=1e-12)


def test_the_weight_is_chosen_on_tune(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    areas = np.array([roc_auc_score(LABELS, scored.sweep[:12, at]) for at in range(101)])
    best = np.flatnonzero(areas >= areas.max() - 1e-12)
    nearest = best[np.argmin(np.abs(best - 60))] / 100
    assert chosen_on_tune(evaluation) == pytest.approx(nearest)


def test_test_chooses_nothing(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    assert "chosen_weight" not in evaluation.metrics["parts"]["test"]


def test_evaluating_twice_makes_one_evaluation_and_one_look(scored: Scored, analyst: User) -> None:
    first = evaluate(run=scored.run, author=analyst)
    assert evaluate(run=scored.run, author=analyst) == first
    assert looks_at_test(scored.split) == 1


def test_a_later_cutoff_is_another_evaluation_and_another_look(scored: Scored, analyst: User) -> None:
    first = evaluate(run=scored.run, author=analyst)
    corrected = scored.films[0]
    factories.event(corrected, "abnormal", author=factories.curator())
    later = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    assert later != first
    assert later.metrics["parts"]["tune"]["abnormal"] == 7
    assert first.metrics["parts"]["tune"]["abnormal"] == 6
    assert looks_at_test(scored.split) == 2


def test_a_moved_weight_on_test_is_a_look(scored: Scored, analyst: User) -> None:
    evaluation = evaluate(run=scored.run, author=analyst)
    look_at_weight(evaluation=evaluation, author=analyst, weight=0.3)
    assert list(TestLook.objects.order_by("pk").values_list("fusion_weight", flat=True)) == [0.6, 0.3]


def test_a_look_is_never_taken_back(scored: Scored, analyst: User) -> None:
    evaluate(run=scored.run, author=analyst)
    for act in (lambda: TestLook.objects.all().delete(), lambda: TestLook.objects.update(fusion_weight=0.6)):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            act()


def test_films_without_a_figure_are_counted_by_reason(scored: Scored, analyst: User) -> None:
    author = factories.curator()
    factories.event(scored.films[0], "unsure", author=author)
    factories.event(scored.films[1], "exclude", author=author)
    Score.objects.filter(run=scored.run, image=scored.films[2]).update(
        error="unreadable", fused_score=None, global_score=None, region_score=None
    )
    Score.objects.filter(run=scored.run, image=scored.films[3]).delete()
    part = scored_part(scored.run, part="tune", cutoff=timezone.now())
    assert part.left_out == {"unsure": 1, "exclude": 1, "unreadable": 1, "not scored by this run": 1}
    assert len(part.images) == 8


def test_scores_stay_with_their_films_whatever_the_row(scored: Scored) -> None:
    part = scored_part(scored.run, part="test", cutoff=timezone.now())
    expected = {str(film.uuid): scored.sweep[row, 60] for row, film in enumerate(scored.films)}
    assert {image: part.scores_at(0.6)[k] for k, image in enumerate(part.images)} == {
        image: expected[image] for image in part.images
    }


def test_table_and_sweep_show_the_same_interval_at_every_weight() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    first, second = generator.normal(size=(2, 120)) + np.array([[2.6], [1.8]]) * labels
    sweep = np.stack([w * first + (1 - w) * second for w in np.arange(101) / 100], axis=1).astype(np.float32)
    part = ScoredPart(
        "tune", [str(n) for n in range(120)], labels.astype(np.int8), np.arange(120), sweep, {}, np.arange(120)
    )
    band = sweep_of(part)
    assert band.logit and band.auroc.min() < 0.95
    for at in range(101):
        areas = aurocs(part, band, weight=at / 100)
        assert (areas["fused"].low, areas["fused"].high) == pytest.approx((band.low[at], band.high[at]), abs=1e-12)
        assert (areas["global"].low, areas["region"].high) == pytest.approx((band.low[0], band.high[100]), abs=1e-12)


def test_a_part_that_the_run_did_not_score_is_no_part(scored: Scored, analyst: User) -> None:
    Score.objects.filter(run=scored.run, image__in=scored.films[12:]).delete()
    evaluation = evaluate(run=scored.run, author=analyst)
    assert parts_of(evaluation) == ["tune"]
    assert looks_at_test(scored.split) == 0


def test_a_run_that_scored_neither_tune_nor_test_is_not_evaluated(scored: Scored, analyst: User) -> None:
    Score.objects.filter(run=scored.run).delete()
    with pytest.raises(CannotEvaluate, match="scored no film of tune or test of the split 'Split 0'; score these"):
        evaluate(run=scored.run, author=analyst)
    assert not Evaluation.objects.exists()
    assert looks_at_test(scored.split) == 0


def test_where_no_weight_is_chosen_the_true_reason_is_shown(scored: Scored, analyst: User) -> None:
    abnormal = [film.pk for film in scored.films[6:12]]
    Score.objects.filter(run=scored.run, image__in=abnormal[1:]).delete()
    one_patient = evaluate(run=scored.run, author=analyst)
    assert chosen_on_tune(one_patient) is None
    assert "Films of only one abnormal patient" in why_none_chosen(one_patient)
    Score.objects.filter(run=scored.run, image__in=abnormal).delete()
    no_patient = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    assert "No abnormal film has a score" in why_none_chosen(no_patient)
    Score.objects.filter(run=scored.run, image__in=scored.films[:12]).delete()
    only_test = evaluate(run=scored.run, author=analyst, label_cutoff=timezone.now())
    assert parts_of(only_test) == ["test"]
    assert why_none_chosen(only_test) == "This run did not score tune, so no best weight can be chosen there."


def test_a_weight_between_the_stored_ones_is_not_evaluated(scored: Scored, analyst: User) -> None:
    change_summary(run_folder(scored.run.uuid), fusion_weight=0.333)
    with pytest.raises(
        CannotEvaluate, match=r"has the fusion weight 0\.333, and its scores are kept at hundredths only"
    ):
        evaluate(run=scored.run, author=analyst)


def test_every_hundredth_is_stored_and_nothing_between() -> None:
    assert all(is_stored(at / 100) for at in range(101))
    assert not any(is_stored(at / 100 + 0.001) for at in range(101))


def test_a_run_that_is_not_done_cannot_be_evaluated(scored: Scored, analyst: User) -> None:
    scored.run.state = RunState.FAILED
    with pytest.raises(CannotEvaluate, match="has no scores; choose a scoring run that is done"):
        evaluate(run=scored.run, author=analyst)


def test_missing_results_are_reported(scored: Scored, analyst: User) -> None:
    (run_folder(scored.run.uuid) / "sweep.npy").unlink()
    with pytest.raises(CannotEvaluate, match="not in the data folder any more; score the films again"):
        evaluate(run=scored.run, author=analyst)
    assert not Evaluation.objects.exists()


def test_a_curator_evaluates_nothing(scored: Scored) -> None:
    with pytest.raises(PermissionDenied, match="roles: analyst, manager"):
        evaluate(run=scored.run, author=factories.user("c", Role.CURATOR))


def test_films_that_trained_the_runs_head_are_left_out_and_counted(scored: Scored, analyst: User) -> None:
    trained = scored.films[6:8]  # abnormal films of tune
    sibling = factories.film(trained[0].dataset, "normal", person="tune abnormal 0")
    SplitImage.under(SplitImage.objects.get(image=trained[0]).member, sibling).save()
    Score.objects.create(run=scored.run, image=sibling, row=0 + len(scored.films), fused_score=1.0)
    with_head(scored, trained)

    part = scored_part(scored.run, part="tune", cutoff=scored.split.label_cutoff)

    assert not {str(film.uuid) for film in [*trained, sibling]} & set(part.images)
    assert len(part.images) == 10
    assert part.left_out["of patients whose films trained the semi-supervised head"] == 3
    metrics = evaluate(run=scored.run, author=analyst).metrics["parts"]["tune"]
    assert (metrics["normal"], metrics["abnormal"]) == (6, 4)


def test_films_of_whoever_shares_a_film_with_a_trained_patient_are_left_out_too(scored: Scored, analyst: User) -> None:
    trained, other = scored.films[6], scored.films[12]  # of tune and test
    factories.pair(*sorted((trained, other), key=lambda film: film.pk))
    with_head(scored, [trained])
    part = scored_part(scored.run, part="test", cutoff=scored.split.label_cutoff)
    assert str(other.uuid) not in part.images
    assert part.left_out["of patients whose films trained the semi-supervised head"] == 1
