"""Every evaluated film with its label and scores, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.evaluation.blinding import hidden_films, refuse_file_of, sentence
from analysis.evaluation.evaluate import ScoredPart, parts_at, parts_of
from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.evaluation.film_rank import p_values
from analysis.evaluation.score_kinds import beside_of
from analysis.evaluation.scored_parts import evaluated_part
from analysis.evaluation.thresholds import calibration_reference
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.models import Evaluation
from analysis.report.csv_tables import escape_formula
from ml_engine.engine.scored_folder import SEMI_SUPERVISED
from portal.labels.events import CHUNK, labels_at
from portal.models import Image, User

COLUMNS = (
    *("image", "original_name", "part", "label", "findings", "patient", "global", "region", "fused", "p_value"),
    *("calibration_patients", "mean_z", "top_z", "fusion_weight", "notice"),
)


def score_table(evaluation: Evaluation, *, viewer: User) -> str:
    """CSV with `COLUMNS`, and the scores of a semi-supervised head if the run has one. `mean_z` and `top_z` are blank
    from an engine before 0.3.0. `original_name` is the name of the film's file in the table that it was imported with,
    blank without one, and `findings` those of its label at the cut-off, with | between. `p_value` is the conformal
    p-value of the fused score among `calibration_patients` patients, blank where none can be given. Scores have nine
    significant digits, enough for any float32; patients are numbered.

    Films whose scores the person may not see before labelling them are left out; a line without an image gives their
    number. Raises CannotEvaluate when the run's folder is gone, and PermissionDenied while the person has yet to read a
    film blinded.
    """
    for part in parts_of(evaluation):
        refuse_file_of(viewer, evaluated_part(evaluation, part).images)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *(SEMI_SUPERVISED if evaluation.run.head else ())])
    for part in parts_of(evaluation):
        rows = list(_rows(evaluation, part, viewer))
        writer.writerows(rows)
        record_shown(viewer, (row[0] for row in rows if row[0]), [LABEL, SCORE], runs=[evaluation.run.uuid])
    return text.getvalue()


def _rows(evaluation: Evaluation, part: str, viewer: User) -> Iterator[list[Any]]:
    weight = float(evaluation.metrics["weight"])
    notice = ". ".join([*([RANDOM_WEIGHTS] if evaluation.run.random_weights else []), NOTICE])
    scored = evaluated_part(evaluation, part)
    hidden = hidden_films(viewer, evaluation.run, part=part).intersection(scored.images)
    if hidden:
        left_out = {"part": part, "fusion_weight": weight, "notice": f"{sentence(len(hidden), part)} {notice}"}
        yield list((dict.fromkeys(COLUMNS, "") | left_out).values())
    reference = calibration_reference(evaluation.run)
    of_patients, ranks = reference.patients_count, p_values(reference, scored.scores_at(weight))
    known = _facts(scored, evaluation)
    parts = parts_at(evaluation.run, scored.rows, weight=weight)
    beside = beside_of(evaluation.run, scored.rows) if evaluation.run.head else None
    codes = {patient: code for code, patient in enumerate(np.unique(scored.patients))}
    for row, image in enumerate(scored.images):
        if image not in hidden:
            label = "abnormal" if scored.labels[row] else "normal"
            scores = [f"{scored.scores_at(at)[row]:.9g}" for at in (0.0, 1.0, weight)]
            scores += ["", ""] if parts is None else [f"{value:.9g}" for value in parts[row]]
            more = [] if beside is None else [f"{value:.9g}" for value in beside[row].tolist()]
            rank = ["" if np.isnan(ranks[row]) else f"{ranks[row]:.9g}", of_patients]
            name, findings = known[image]
            yield [
                *(image, name, part, label, findings, codes[scored.patients[row]], *scores[:3], *rank, *scores[3:]),
                *(weight, notice, *more),
            ]


def _facts(scored: ScoredPart, evaluation: Evaluation) -> dict[str, tuple[str, str]]:
    """By film: the name of its file, and its findings at the cut-off, as text that no spreadsheet runs."""
    facts: dict[str, tuple[str, str]] = {}
    for start in range(0, len(scored.images), CHUNK):
        rows = Image.objects.filter(uuid__in=scored.images[start : start + CHUNK])
        films = list(rows.values_list("pk", "uuid", "original_name"))
        labels = labels_at([pk for pk, _, _ in films], evaluation.label_cutoff)
        for pk, uuid, name in films:
            findings = "|".join(labels[pk].findings) if pk in labels else ""
            facts[str(uuid)] = (escape_formula(name), escape_formula(findings))
    return facts
