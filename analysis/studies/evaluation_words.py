"""The evaluation of a scored folder in words: its heading, the rows of its tables, and what is missing."""

from __future__ import annotations

from analysis.statistics import Auprc, Auroc, Rate
from analysis.studies.evaluate_folder import FolderEvaluation, StoredPoint

SCORES = ("score", "AUROC", "average precision")
RATES = ("score", "threshold", "sensitivity", "specificity")
NO_POINT = "The detector has no calibration films, so it stored no operating point."


def heading(evaluation: FolderEvaluation) -> list[str]:
    films = f"{evaluation.normal} normal and {evaluation.abnormal} abnormal films of {evaluation.patients} patients"
    area = next(score.auroc for score in evaluation.scores if score.kind == "fused")
    lines = [f"{films}; AUROC with {area.confidence:.0%} intervals by patient ({area.method})."]
    if evaluation.own_patients:
        lines.append(f"{evaluation.own_patients} films without patient_id: each counts as its own patient.")
    lines += [f"{count} films left out: {reason}." for reason, count in sorted(evaluation.left_out.items())]
    if evaluation.random_weights:
        lines.append("Random weights, not for evaluation: the figures show that the parts work, not how well.")
    return lines


def score_rows(evaluation: FolderEvaluation) -> list[list[str]]:
    return [
        [score.words, interval_words(score.auroc.auroc, score.auroc), interval_words(score.auprc.auprc, score.auprc)]
        for score in evaluation.scores
    ]


def reasons(evaluation: FolderEvaluation) -> list[str]:
    """Why values or intervals are missing, each reason once."""
    both = [reason for score in evaluation.scores for reason in (score.auroc.reason, score.auprc.reason)]
    return list(dict.fromkeys(reason for reason in both if reason))


def interval_words(value: float | None, estimate: Auroc | Auprc | Rate) -> str:
    if value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


def point_words(point: StoredPoint) -> str:
    """What the operating point is and what it promises, or why there is none."""
    rates = point.rates
    normals = f"{rates.reference_films} normal films of {rates.reference_patients} patients ({point.source})"
    if rates.reason:
        return f"Operating point of {point.words}: {rates.reason}"
    words = (
        f"Operating point of {point.words}, stored with the detector: the threshold that {normals} fix for a "
        f"false-alarm rate of {1 - rates.target:.1%}."
    )
    if point.promised is None:
        return f"{words} No rate is promised for new films."
    promised = point.promised
    return (
        f"{words} Promised for films drawn like these normals: {promised.expected:.1%} of new normal films, "
        f"{promised.low:.1%} to {promised.high:.1%} in 95 % of draws of the calibration patients."
    )


def rate_row(point: StoredPoint) -> list[str]:
    rates = point.rates
    return [
        point.words,
        f"{rates.threshold:.6g}",
        *(_rate_words(rate) for rate in (rates.sensitivity, rates.specificity)),
    ]


def _rate_words(rate: Rate | None) -> str:
    if rate is None or rate.value is None:
        return "none" if rate is None else f"none: {rate.reason}"
    return f"{interval_words(rate.value, rate)}, {rate.successes} of {rate.total}"
