"""A finished bank study joined with the labels of its test part: AUROC and false alarms for each bank.

    python -m analysis.studies.bank FOLDER --csv FILE

prints them as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import (
    Auroc,
    AurocDifference,
    Rate,
    auroc_interval,
    clustered_rate,
    delong_paired,
    threshold_at_specificity,
)
from analysis.studies.print_table import markdown_table, print_table
from ml_engine.core.errors import EngineError
from ml_engine.core.score.conformal import PromisedRate, highest_by_patient, promised_rate, rank
from ml_engine.engine import manifest

MAPS = ("global", "region", "fused")


@dataclass(frozen=True)
class BankScores:
    """The files of the engine. By bank, film and map: ``scores`` (B, N, 3) of the test films ``images`` (N), and
    ``calibration`` (B, n, 3) of the calibration normals, each standardised by the others. ``summary`` is
    bank_study.json."""

    summary: dict[str, Any]
    images: list[str]
    scores: NDArray[np.float64]
    calibration: NDArray[np.float64]


@dataclass(frozen=True)
class StudiedBank:
    """Results with one bank. ``aurocs`` by map; ``difference``: its fused AUROC minus that of the whole clean bank on
    the same films, None for that bank itself; ``threshold`` of the fused score with its ``false_alarms`` and
    ``sensitivity``, None, with a ``reason``, where there are too few calibration films."""

    name: str
    share: float
    contamination: float
    repeat: int
    normal_films: int
    normal_patients: int
    abnormal_films: int
    aurocs: dict[str, Auroc]
    difference: AurocDifference | None
    threshold: float | None
    false_alarms: Rate | None
    sensitivity: Rate | None
    reason: str = ""


@dataclass(frozen=True)
class Point:
    """The repeats of one size or one contamination. ``mean``, ``lowest``, ``highest`` and the standard deviation
    ``deviation`` (None for one repeat) of the repeats: the spread over draws of the bank's films. ``low`` and ``high``
    are the means of the limits of the repeats' 95 % intervals: the uncertainty due to the test films."""

    films: float
    contamination: float
    repeats: int
    mean: float | None
    lowest: float | None
    highest: float | None
    deviation: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class BankResults:
    """``by_size`` and ``by_contamination``: measure -> points. A measure is the name of a map, for its AUROC, or "false
    alarms" or "sensitivity" of the fused score."""

    banks: tuple[StudiedBank, ...]
    by_size: dict[str, tuple[Point, ...]]
    by_contamination: dict[str, tuple[Point, ...]]
    normal: int
    abnormal: int
    patients: int
    left_out: dict[str, int]
    calibration_films: int
    calibration_patients: int
    promised: PromisedRate | None
    false_alarm_rate: float
    fusion_weight: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"cells" if name == "banks" else name: value for name, value in asdict(self).items()}


def read_bank_study(folder: Path) -> BankScores:
    """Raises EngineError for a folder without a finished study."""
    try:
        summary = json.loads((folder / "bank_study.json").read_bytes())
        scores = np.load(folder / "scores.npy", allow_pickle=False)
        calibration = np.load(folder / "calibration.npy", allow_pickle=False)
    except (OSError, ValueError):
        raise EngineError(
            f"{folder} holds no finished bank study: run python -m ml_engine bank-study --out {folder} first."
        ) from None
    return BankScores(summary, list(summary["test"]), scores, calibration)


def bank_results(
    study: BankScores, abnormal: NDArray[np.int64], patients: NDArray[Any], left_out: dict[str, int]
) -> BankResults:
    """From ``abnormal`` (N,), 1, 0 or, for a film left out, -1, and ``patients`` (N,); ``left_out`` counts the films
    left out by reason."""
    readable = np.isfinite(study.scores).all(axis=(0, 2))
    known = (abnormal >= 0) & readable
    counts = dict(left_out)
    if unreadable := int(((abnormal >= 0) & ~readable).sum()):
        counts["unreadable"] = unreadable
    truth, people = abnormal[known], patients[known]
    whole = study.scores[0, known, 2]
    rate = float(study.summary["false_alarm_rate"])
    groups = study.summary.get("calibration_patients")
    calibration_patients = len(highest_by_patient(study.calibration[0, :, 2], groups))
    reason = _why_too_few(calibration_patients, rate)
    banks = tuple(
        _studied_bank(
            facts,
            truth=truth,
            patients=people,
            scores=study.scores[k, known],
            normals=study.calibration[k, :, 2],
            normals_patients=groups,
            whole=whole if k else None,
            reason=reason,
            rate=rate,
        )
        for k, facts in enumerate(study.summary["cells"])
    )
    clean = [bank for bank in banks if bank.contamination == 0]
    dirty = [bank for bank in banks if bank.share == 1]
    return BankResults(
        banks=banks,
        by_size=_points(clean, key=lambda bank: bank.share),
        by_contamination=_points(dirty, key=lambda bank: bank.contamination),
        normal=int((truth == 0).sum()),
        abnormal=int((truth == 1).sum()),
        patients=len(np.unique(people)),
        left_out=counts,
        calibration_films=study.calibration.shape[1],
        calibration_patients=calibration_patients,
        promised=None if groups is None else promised_rate(rate, calibration_patients),
        false_alarm_rate=rate,
        fusion_weight=float(study.summary["fusion_weight"]),
        reason=reason,
    )


def _why_too_few(patients: int, rate: float) -> str:
    """A sentence where there are too few patients to fix a threshold at this rate, otherwise blank."""
    if rank(1 - rate, patients) is not None:
        return ""
    return (
        f"A false-alarm rate of {rate:g} needs normal films of more patients than the {patients} of calibrate; ask for "
        f"{1 / (patients + 1):.3f} or more, or calibrate on more."
    )


def _studied_bank(
    facts: dict[str, Any],
    *,
    truth: NDArray[np.int64],
    patients: NDArray[Any],
    scores: NDArray[np.float64],
    normals: NDArray[np.float64],
    normals_patients: Sequence[int] | None,
    whole: NDArray[np.float64] | None,
    reason: str,
    rate: float,
) -> StudiedBank:
    fused = scores[:, 2]
    threshold = None if reason else threshold_at_specificity(normals, specificity=1 - rate, patients=normals_patients)
    false_alarms = sensitivity = None
    if threshold is not None:
        called = fused >= threshold
        false_alarms = clustered_rate(called[truth == 0], patients[truth == 0])
        sensitivity = clustered_rate(called[truth == 1], patients[truth == 1])
    return StudiedBank(
        name=facts["name"],
        share=facts["share"],
        contamination=facts["contamination"],
        repeat=facts["repeat"],
        normal_films=facts["normal_films"],
        normal_patients=facts["normal_patients"],
        abnormal_films=facts["abnormal_films"],
        aurocs={name: auroc_interval(truth, scores[:, k], patients) for k, name in enumerate(MAPS)},
        difference=None if whole is None else delong_paired(truth, fused, whole, patients),
        threshold=threshold,
        false_alarms=false_alarms,
        sensitivity=sensitivity,
        reason=reason,
    )


Limits = tuple[float | None, float | None, float | None, str]  # value, low, high, reason
_MEASURES: dict[str, Callable[[StudiedBank], Limits]] = {
    **{
        name: (lambda bank, name=name: _of_auroc(bank.aurocs[name]))  # type: ignore[misc]
        for name in MAPS
    },
    "false alarms": lambda bank: _of_rate(bank.false_alarms, bank.reason),
    "sensitivity": lambda bank: _of_rate(bank.sensitivity, bank.reason),
}


def _of_auroc(area: Auroc) -> Limits:
    return area.auroc, area.low, area.high, area.reason


def _of_rate(rate: Rate | None, reason: str) -> Limits:
    return (None, None, None, reason) if rate is None else (rate.value, rate.low, rate.high, rate.reason)


def _points(banks: Sequence[StudiedBank], *, key: Callable[[StudiedBank], float]) -> dict[str, tuple[Point, ...]]:
    groups = [[bank for bank in banks if key(bank) == value] for value in sorted({key(bank) for bank in banks})]
    return {
        name: tuple(_point(group, [measure(bank) for bank in group]) for group in groups)
        for name, measure in _MEASURES.items()
    }


def _point(banks: Sequence[StudiedBank], measured: Sequence[Limits]) -> Point:
    values = [value for value, *_ in measured if value is not None]
    lows = [low for _, low, _, _ in measured if low is not None]
    highs = [high for _, _, high, _ in measured if high is not None]
    whole = len(values) == len(measured)
    return Point(
        films=float(np.mean([bank.normal_films for bank in banks])),
        contamination=float(
            np.mean([bank.abnormal_films / (bank.normal_films + bank.abnormal_films) for bank in banks])
        ),
        repeats=len(banks),
        mean=float(np.mean(values)) if whole else None,
        lowest=min(values) if whole else None,
        highest=max(values) if whole else None,
        deviation=float(np.std(values, ddof=1)) if whole and len(values) > 1 else None,
        low=float(np.mean(lows)) if len(lows) == len(measured) else None,
        high=float(np.mean(highs)) if len(highs) == len(measured) else None,
        reason=next((reason for *_, reason in measured if reason), ""),
    )


# tables


COLUMNS = (
    "bank", "share of fit", "contamination asked", "repeat", "normal films", "normal patients", "abnormal films",
    *(f"AUROC {name}{limit}" for name in MAPS for limit in ("", " low", " high")),
    "difference from whole", "difference low", "difference high", "threshold",
    *(f"{name}{limit}" for name in ("false-alarm rate", "sensitivity") for limit in ("", " low", " high")),
    "test normal", "test abnormal",
)  # fmt: skip


def rows(results: BankResults) -> list[list[Any]]:
    """A row for each bank, by `COLUMNS`, with full precision; None where there is no number."""
    lines = []
    for bank in results.banks:
        line: list[Any] = [bank.name, bank.share, bank.contamination, bank.repeat, bank.normal_films]
        line += [bank.normal_patients, bank.abnormal_films]
        for name in MAPS:
            auroc = bank.aurocs[name]
            line += [auroc.auroc, auroc.low, auroc.high]
        change = bank.difference
        line += [change.difference, change.low, change.high] if change else [None, None, None]
        line += [bank.threshold]
        for rate in (bank.false_alarms, bank.sensitivity):
            line += [rate.value, rate.low, rate.high] if rate else [None, None, None]
        lines.append([*line, results.normal, results.abnormal])
    return lines


def table(study: BankScores, results: BankResults) -> str:
    """The banks as Markdown."""
    heading = (
        f"{results.normal} normal and {results.abnormal} abnormal test films of {results.patients} patients; "
        f"95 % intervals; fusion weight {results.fusion_weight:g}; thresholds for a false-alarm rate of "
        f"{results.false_alarm_rate:g} fixed on {results.calibration_films} calibration films."
    )
    if promised := results.promised:
        heading += (
            f" For films drawn like these, {promised.patients} patients promise a rate of {promised.expected:.3f} on "
            f"average, from {promised.low:.3f} to {promised.high:.3f} in 95 % of draws."
        )
    lines = [heading]
    if study.summary["weights"]["name"] == "random":
        lines.append("Random weights, not for evaluation: the figures show that the parts work, not how well.")
    headings = ("bank", "normal films", "abnormal films", "global", "region", "fused", "false alarms", "sensitivity")
    rows = []
    for bank in results.banks:
        texts = [_shown(*_of_auroc(bank.aurocs[name])) for name in MAPS]
        texts += [_shown(*_of_rate(rate, bank.reason)) for rate in (bank.false_alarms, bank.sensitivity)]
        rows.append([bank.name, str(bank.normal_films), str(bank.abnormal_films), *texts])
    return "\n".join([*lines, "", markdown_table(headings, rows)])


def _shown(value: float | None, low: float | None, high: float | None, reason: str) -> str:
    if value is None:
        return f"none: {reason}"
    return f"{value:.3f} (no interval)" if low is None or high is None else f"{value:.3f} ({low:.3f}–{high:.3f})"


def labels_of(study: BankScores, labels: Path) -> tuple[NDArray[np.int64], NDArray[np.str_], dict[str, int]]:
    """Labels and patients of a study's test films, from a user's CSV, and the films left out, by reason. Raises
    EngineError for a film that is not in it."""
    by_name = {row["filename"]: row for row in manifest.read_csv(labels)}
    missing = [name for name in study.images if name not in by_name]
    if missing:
        raise EngineError(f"{labels.name} does not name {missing[0]}, which was scored: give the CSV of the study.")
    words = [by_name[name].get("label", "").lower() for name in study.images]
    values = {"normal": 0, "abnormal": 1}
    abnormal = np.array([values.get(word, -1) for word in words], dtype=np.int64)
    patients = np.array([by_name[name].get("patient_id", "") or name for name in study.images])
    odd = sorted({word for word in words if word not in values})
    return abnormal, patients, {word or "unlabelled": words.count(word) for word in odd}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.studies.bank", description="Table of a bank study.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's --out")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="its CSV, with the test films' labels")
    options = parser.parse_args(arguments)

    def text() -> str:
        study = read_bank_study(options.folder)
        return table(study, bank_results(study, *labels_of(study, options.csv)))

    return print_table("analysis.studies.bank", text)


if __name__ == "__main__":
    sys.exit(main())
