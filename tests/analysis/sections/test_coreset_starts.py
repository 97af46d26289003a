"""The spread over evaluations that differ in the first pick of their coresets."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from analysis.evaluation.evaluate import evaluate
from analysis.models import Evaluation
from analysis.sections.coreset_starts import coreset_starts_of
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind, RunState
from portal.models import User
from tests.analysis.scored import Scored

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    """With the seed 3 and the first patch as start, and an AUROC on test of 0.7."""
    evaluation = evaluate(run=scored.run, author=analyst)
    assert scored.run.detector is not None
    Run.objects.filter(pk=scored.run.detector.run_id).update(config={"rate": 0.1, "seed": 3})
    Run.objects.filter(pk=scored.run.pk).update(random_weights=False)
    set_area(evaluation, 0.7)
    return Evaluation.objects.get(pk=evaluation.pk)


def set_area(evaluation: Evaluation, area: float) -> None:
    evaluation.metrics["parts"]["test"]["auroc"]["fused"]["auroc"] = area
    evaluation.save()


def another(
    evaluation: Evaluation, area: float, *, alignment_model: AlignmentModel | None = None, **config: Any
) -> Evaluation:
    """A detector of the same split with this config, scored and evaluated."""
    first = evaluation.run.detector
    assert first is not None
    site, split = first.site, first.split
    fit = Run.objects.create(
        site=site, name=f"{config}", kind=RunKind.FIT_DETECTOR, split=split, state=RunState.DONE, config=config
    )
    detector = DetectorModel.objects.create(
        site=site, run=fit, split=split, sha256="1" * 64, config={}, fusion_weight=0.6, alignment=alignment_model
    )
    scoring = Run.objects.create(
        site=site, name=f"{config}", kind=RunKind.SCORE, split=split, state=RunState.DONE, detector=detector
    )
    other = Evaluation.objects.create(
        run=scoring, split=evaluation.split, label_cutoff=evaluation.label_cutoff,
        metrics=deepcopy(evaluation.metrics), created_by=evaluation.created_by,
    )  # fmt: skip
    set_area(other, area)
    return other


def test_with_random_weights_another_seed_is_no_other_start(evaluation: Evaluation) -> None:
    Run.objects.filter(pk=evaluation.run_id).update(random_weights=True)
    starts = coreset_starts_of(Evaluation.objects.get(pk=evaluation.pk), part="test")
    assert (starts.starts, starts.spread) == (0, None)
    assert starts.reason == "With random weights another seed is another network, not another start."


def test_one_start_has_no_spread_and_says_how_to_get_one(evaluation: Evaluation) -> None:
    starts = coreset_starts_of(evaluation, part="test")
    assert (starts.starts, starts.spread) == (1, None)
    assert starts.reason.startswith("1 of 5 starts. Fit four more detectors with the same settings")


def test_five_starts_have_a_spread(evaluation: Evaluation) -> None:
    for seed, area in enumerate((0.71, 0.72, 0.75, 0.68)):
        another(evaluation, area, rate=0.1, seed=seed, coreset_start="seeded")
    starts = coreset_starts_of(evaluation, part="test")
    assert (starts.starts, starts.reason) == (5, "")
    assert starts.spread is not None
    assert (starts.spread.low, starts.spread.high) == (0.68, 0.75)
    assert starts.spread.mean == pytest.approx(sum((0.7, 0.71, 0.72, 0.75, 0.68)) / 5)


@pytest.mark.parametrize(
    "config",
    [
        {"rate": 0.2, "seed": 1, "coreset_start": "seeded"},  # another rate
        {"rate": 0.1, "seed": 9},  # the first patch again: the seed changes nothing
        {"rate": 0.1, "seed": 9, "coreset_start": "first"},
    ],
)
def test_other_settings_are_no_start(evaluation: Evaluation, config: dict[str, Any]) -> None:
    another(evaluation, 0.9, **config)
    assert coreset_starts_of(evaluation, part="test").starts == 1


def test_another_alignment_or_other_films_in_the_bank_are_no_start(evaluation: Evaluation) -> None:
    config = {"rate": 0.1, "seed": 1, "coreset_start": "seeded"}
    grown = another(evaluation, 0.9, **config)
    Run.objects.filter(pk=grown.run.pk).update(rescores=evaluation.run)
    site, split = evaluation.run.site, evaluation.split
    run = Run.objects.create(site=site, name="A", kind=RunKind.FIT_ALIGNMENT, split=split)
    model = AlignmentModel.objects.create(site=site, run=run, split=split, sha256="2" * 64, config={})
    another(evaluation, 0.9, alignment_model=model, **config | {"seed": 2})
    assert coreset_starts_of(evaluation, part="test").starts == 1


def test_a_detector_without_a_coreset_has_no_starts(evaluation: Evaluation) -> None:
    assert evaluation.run.detector is not None
    evaluation.run.detector.run.config = {"detector": "padim"}
    assert coreset_starts_of(evaluation, part="test").reason == "This detector has no coreset."
