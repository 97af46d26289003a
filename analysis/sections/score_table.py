"""Every evaluated film with its label and scores, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.evaluation.blinding import hidden_films, sentence
from analysis.evaluation.evaluate import parts_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.models import Evaluation
from portal.models import User

COLUMNS = ("image", "part", "label", "patient", "global", "region", "fused", "fusion_weight", "notice")


def score_table(evaluation: Evaluation, *, viewer: User) -> str:
    """CSV with `COLUMNS`. Scores have nine significant digits, enough for any float32; patients are numbered.

    Films whose scores the person may not see yet are left out; a line without an image gives their number.
    Raises CannotEvaluate when the run's folder is gone.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for part in parts_of(evaluation):
        writer.writerows(_rows(evaluation, part, viewer))
    return text.getvalue()


def _rows(evaluation: Evaluation, part: str, viewer: User) -> Iterator[list[Any]]:
    weight = float(evaluation.metrics["weight"])
    notice = ". ".join([*([RANDOM_WEIGHTS] if evaluation.run.random_weights else []), NOTICE])
    scored = evaluated_part(evaluation, part)
    hidden = hidden_films(viewer, evaluation.run, part=part).intersection(scored.images)
    if hidden:
        yield ["", part, *[""] * 5, weight, f"{sentence(len(hidden), part)} {notice}"]
    codes = {patient: code for code, patient in enumerate(np.unique(scored.patients))}
    for row, image in enumerate(scored.images):
        if image not in hidden:
            label = "abnormal" if scored.labels[row] else "normal"
            scores = [f"{scored.scores_at(at)[row]:.9g}" for at in (0.0, 1.0, weight)]
            yield [image, part, label, codes[scored.patients[row]], *scores, weight, notice]
