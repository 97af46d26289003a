"""The films and statistics of an evaluation are cached in files, and computed again where a file does not fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analysis import statistics
from analysis.evaluation import scored_parts
from analysis.evaluation.evaluate import ScoredPart, band_of, clear_memory, evaluate, scored_part, sweep_of
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
    scored_parts.clear_memory()
    clear_memory()
    return evaluate(run=scored.run, author=analyst)


@pytest.fixture
def cached_file(evaluation: Evaluation, data_dir: Path) -> Path:
    evaluated_part(evaluation, "test")
    scored_parts.clear_memory()
    clear_memory()
    return data_dir / "evaluations" / str(evaluation.uuid) / "test.npz"


def assert_alike(part: ScoredPart, expected: ScoredPart) -> None:
    assert (part.images, part.left_out, part.part) == (expected.images, expected.left_out, expected.part)
    for name in ("labels", "patients", "rows", "sweep"):
        ours, theirs = getattr(part, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def fresh(evaluation: Evaluation) -> ScoredPart:
    return scored_part(evaluation.run, part="test", cutoff=evaluation.label_cutoff)


def test_it_is_loaded_without_the_database(evaluation: Evaluation, cached_file: Path) -> None:
    with CaptureQueriesContext(connection) as queries:
        part = evaluated_part(evaluation, "test")
    assert len(queries) == 0
    assert_alike(part, fresh(evaluation))


def test_its_statistics_come_with_it(
    evaluation: Evaluation, cached_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = evaluated_part(evaluation, "test")
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "fusion_sweep", None)  # would fail if it were computed
        patch.setattr(statistics, "roc_band", None)
        sweep, band = sweep_of(part), band_of(part, weight=0.6)
    clear_memory()
    for ours, theirs in ((sweep, sweep_of(part)), (band, band_of(part, weight=0.6))):
        for name, value in asdict(theirs).items():
            np.testing.assert_array_equal(getattr(ours, name), value)


def test_a_damaged_file_is_computed_again(evaluation: Evaluation, cached_file: Path) -> None:
    cached_file.write_bytes(cached_file.read_bytes()[:200])
    assert_alike(evaluated_part(evaluation, "test"), fresh(evaluation))
    assert cached_file.stat().st_size > 1000


def test_another_release_computes_it_again(
    evaluation: Evaluation, cached_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored_parts, "FORMAT", scored_parts.FORMAT + 1)
    before = cached_file.read_bytes()
    assert_alike(evaluated_part(evaluation, "test"), fresh(evaluation))
    assert cached_file.read_bytes() != before


def test_other_scores_in_the_folder_are_not_mixed_with_cached_statistics(
    scored: Scored, evaluation: Evaluation, cached_file: Path
) -> None:
    folder = ScoredFolder(run_folder(scored.run.uuid))
    folder.write_array("sweep", np.array(folder.array("sweep"))[:, ::-1])
    part = evaluated_part(evaluation, "test")
    assert_alike(part, fresh(evaluation))
    np.testing.assert_array_equal(sweep_of(part).auroc, statistics.fusion_sweep(
        part.labels, part.sweep, part.patients
    ).auroc)  # fmt: skip


def test_a_missing_folder_is_reported_though_the_part_is_cached(
    scored: Scored, evaluation: Evaluation, cached_file: Path
) -> None:
    evaluated_part(evaluation, "test")
    (run_folder(scored.run.uuid) / "sweep.npy").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        evaluated_part(evaluation, "test")
