"""What a reader study reveals of a film."""

from __future__ import annotations

import pytest

from analysis.evaluation.looks import CannotEvaluate
from analysis.reading.revealing import ModelResult, model_result
from ml_engine.models import Score
from ml_engine.runs.paths import run_folder
from portal.models import User
from tests.analysis.scored import Scored
from tests.analysis.worklists import calibrated, items, study

pytestmark = [pytest.mark.django_db]


def test_the_score_stands_among_the_calibration_normals(scored: Scored, analyst: User) -> None:
    item = items(study(scored, analyst))[0]
    score = Score.objects.get(run=scored.run, image=item.image).fused_score
    calibrated(scored.run, [score - 3, score - 2, score - 1, score, score + 1])
    result = model_result(item)
    assert (result.score, result.percentile, result.normals, result.flagged) == (score, 60, 5, item.flagged)
    assert "higher than 60 % of 5 calibration normals: " in result.words


def test_words_for_what_is_missing() -> None:
    assert ModelResult(1.2345, False, None, 0).words == "Score 1.23: not flagged."
    assert ModelResult(None, False, None, 5).words == "The model could not read this film."


def test_a_run_whose_files_are_gone_reveals_nothing(scored: Scored, analyst: User) -> None:
    item = items(study(scored, analyst))[0]
    (run_folder(scored.run.uuid) / "score.json").unlink()
    with pytest.raises(CannotEvaluate, match="are not in the data folder any more"):
        model_result(item)
