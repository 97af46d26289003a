"""The combined score of a run with a semi-supervised head: its calibration normals, and tune by nested heads."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.score_kinds import calibration_of, nested_tune_scores, require_head
from analysis.models import ScoreKind
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.runs.paths import run_folder
from tests.analysis.headed import with_head
from tests.analysis.scored import Scored

pytestmark = [pytest.mark.django_db]


def test_a_run_without_a_head_has_no_combined_score(scored: Scored) -> None:
    require_head(scored.run, ScoreKind.ONE_CLASS)
    with pytest.raises(CannotEvaluate, match="has no semi-supervised head, so its films have no combined score"):
        require_head(scored.run, ScoreKind.COMBINED)
    with pytest.raises(CannotEvaluate, match="There is no score 'loudest'"):
        require_head(scored.run, "loudest")


def test_the_calibration_normals_are_those_of_the_head(scored: Scored) -> None:
    with_head(scored)
    beside = ScoredFolder(run_folder(scored.run.uuid)).semi_supervised.summary
    reference = calibration_of(scored.run, ScoreKind.COMBINED)
    assert reference.scores.tolist() == list(beside.calibration_combined)
    assert reference.patients_count == 20 and reference.is_split_conformal
    assert reference.part == "calibrate"


def test_tune_is_scored_by_heads_without_the_films_patient(scored: Scored) -> None:
    head = with_head(scored, trained=scored.films[6:9])
    scores = nested_tune_scores(scored.run)
    assert set(scores) == {film.pk for film in scored.films[:12]}
    film = scored.films[6]
    combined, patient = scores[film.pk]
    assert (combined, patient) == (head.tune[str(film.uuid)][2], film.patient_id)
    assert combined != pytest.approx(film.scores.get(run=scored.run).combined_score)
    assert np.isfinite([value for value, _ in scores.values()]).all()
