"""What an evaluation stands on is kept, found again, and worked out anew where it does not fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analysis.evaluation import evaluate as evaluations
from analysis.evaluation import scored_parts
from analysis.evaluation.evaluate import ScoredPart, band_of, evaluate, scored_part, sweep_of
from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import Evaluation
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from portal.models import User
from tests.analysis.scored import Scored

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluation(scored: Scored, analyst: User) -> Evaluation:
    scored_parts.forget()
    evaluations.forget()
    return evaluate(run=scored.run, author=analyst)


@pytest.fixture
def kept(evaluation: Evaluation, data_dir: Path) -> Path:
    evaluated_part(evaluation, "test")
    scored_parts.forget()
    evaluations.forget()
    return data_dir / "evaluations" / str(evaluation.uuid) / "test.npz"


def assert_alike(found: ScoredPart, wanted: ScoredPart) -> None:
    assert (found.images, found.left_out, found.part) == (wanted.images, wanted.left_out, wanted.part)
    for name in ("labels", "patients", "rows", "sweep"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def fresh(evaluation: Evaluation) -> ScoredPart:
    return scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)


def test_it_is_found_again_without_the_database(evaluation: Evaluation, kept: Path) -> None:
    with CaptureQueriesContext(connection) as queries:
        found = evaluated_part(evaluation, "test")
    assert len(queries) == 0
    assert_alike(found, fresh(evaluation))


def test_its_statistics_come_with_it(evaluation: Evaluation, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluated_part(evaluation, "test")
    with monkeypatch.context() as patch:
        patch.setattr(evaluations.statistics, "fusion_sweep", None)  # would fail if it were worked out
        patch.setattr(evaluations.statistics, "roc_band", None)
        sweep, band = sweep_of(found), band_of(found, weight=0.6)
    evaluations.forget()
    for ours, theirs in ((sweep, sweep_of(found)), (band, band_of(found, weight=0.6))):
        for name, value in asdict(theirs).items():
            np.testing.assert_array_equal(getattr(ours, name), value)


def test_a_damaged_file_is_worked_out_anew(evaluation: Evaluation, kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:200])
    assert_alike(evaluated_part(evaluation, "test"), fresh(evaluation))
    assert kept.stat().st_size > 1000


def test_another_release_works_it_out_anew(evaluation: Evaluation, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored_parts, "FORMAT", scored_parts.FORMAT + 1)
    before = kept.read_bytes()
    assert_alike(evaluated_part(evaluation, "test"), fresh(evaluation))
    assert kept.read_bytes() != before


def test_other_scores_in_the_folder_are_not_mixed_with_kept_statistics(
    scored: Scored, evaluation: Evaluation, kept: Path
) -> None:
    folder = ScoredFolder(run_folder(scored.run.uuid))
    folder.write_array("sweep", np.array(folder.array("sweep"))[:, ::-1])
    found = evaluated_part(evaluation, "test")
    assert_alike(found, fresh(evaluation))
    np.testing.assert_array_equal(sweep_of(found).auroc, evaluations.statistics.fusion_sweep(
        found.labels, found.sweep, found.patients
    ).auroc)  # fmt: skip


def test_a_lost_folder_is_lost_though_the_part_is_kept(scored: Scored, evaluation: Evaluation, kept: Path) -> None:
    evaluated_part(evaluation, "test")
    (run_folder(scored.run.uuid) / "sweep.npy").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        evaluated_part(evaluation, "test")
