"""A finished ablation joined with the labels of its test part: tables with intervals and paired differences.

    python -m analysis.ablation FOLDER [--csv FILE]

prints them as Markdown. Without --csv the labels are those of the phantoms in FOLDER/films.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Auroc, AurocDifference, auroc_interval, delong_paired, holm
from ml_engine import manifest
from ml_engine.core.errors import EngineError

COLUMNS = ("global", "region", "fused")
WEIGHTS_SHOWN = tuple(range(0, 101, 10))  # hundredths


@dataclass(frozen=True)
class Labels:
    """The films of a scores.csv in its order: ``abnormal`` (N,) int64 of 0 and 1, ``patients`` (N,), and ``known`` (N,)
    bool, whether a film is labelled normal or abnormal at all."""

    abnormal: NDArray[np.int64]
    patients: NDArray[np.str_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class CellResult:
    """A cell's AUROC by column of scores.csv, each fused one's difference from the first cell's on the same films, and
    the AUROC at each of `WEIGHTS_SHOWN`; ``has_one_map`` where global and region are the same; ``refused`` holds the
    reason where there are none."""

    words: str
    weight: float
    aurocs: dict[str, Auroc]
    difference: AurocDifference | None
    sweep: tuple[Auroc, ...]
    has_one_map: bool = False
    refused: str = ""


def read_ablation(folder: Path, labels: Path) -> tuple[dict[str, Any], list[CellResult]]:
    """The summary and the cells' results. Raises EngineError for a folder without a finished ablation, and for films
    that the CSV does not name."""
    if not (folder / "ablation.json").is_file():
        raise EngineError(
            f"{folder} holds no finished ablation: run python -m ml_engine ablation --out {folder} first."
        )
    summary = json.loads((folder / "ablation.json").read_text(encoding="utf-8"))
    by_name = {row["filename"]: row for row in manifest.read_csv(labels)}
    results: list[CellResult] = []
    first: dict[str, NDArray[np.float64]] | None = None
    for cell in summary["cells"]:
        if cell["refused"]:
            results.append(CellResult(cell["words"], float("nan"), {}, None, (), refused=cell["refused"]))
            continue
        names, scores = _read_scores(folder / cell["scores"] / "scores.csv")
        known = _labels_of(names, by_name, labels)
        sweep = np.load(folder / cell["scores"] / "sweep.npy", allow_pickle=False)
        results.append(_result(cell, known, scores, sweep, first))
        first = first or scores
    return summary, results


def _read_scores(path: Path) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["filename"] for row in rows], {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}


def _labels_of(names: list[str], by_name: dict[str, dict[str, str]], source: Path) -> Labels:
    missing = [name for name in names if name not in by_name]
    if missing:
        raise EngineError(f"{source.name} does not name {missing[0]}, which was scored: give the CSV of the ablation.")
    rows = [by_name[name] for name in names]
    words = [row.get("label", "").lower() for row in rows]
    patients = [row.get("patient_id", "") or name for name, row in zip(names, rows, strict=True)]
    return Labels(
        np.array([word == "abnormal" for word in words], dtype=np.int64),
        np.array(patients),
        np.array([word in ("normal", "abnormal") for word in words]),
    )


def _result(
    cell: dict[str, Any],
    labels: Labels,
    scores: dict[str, NDArray[np.float64]],
    sweep: NDArray[np.float32],
    first: dict[str, NDArray[np.float64]] | None,
) -> CellResult:
    at = labels.known
    truth, patients = labels.abnormal[at], labels.patients[at]
    return CellResult(
        words=cell["words"],
        weight=cell["fusion_weight"],
        aurocs={name: auroc_interval(truth, scores[name][at], patients) for name in COLUMNS},
        difference=delong_paired(truth, scores["fused"][at], first["fused"][at], patients) if first else None,
        sweep=tuple(auroc_interval(truth, sweep[at, k], patients) for k in WEIGHTS_SHOWN),
        has_one_map=np.array_equal(scores["global"][at], scores["region"][at], equal_nan=True),
    )


# in words


def table(summary: dict[str, Any], results: list[CellResult]) -> str:
    """The cells, the sweep of the first and the alignments, as Markdown."""
    lines = [_heading(summary, results), ""]
    lines += [
        "| cell | global | region | combined | w | combined: difference from the first (p after Holm) |",
        "|---|---|---|---|---|---|",
    ]
    adjusted = _adjusted(results)
    lines += [_row(result, p_value) for result, p_value in zip(results, adjusted, strict=True)]
    lines += ["", "| w of the first cell | " + " | ".join(f"{k / 100:.1f}" for k in WEIGHTS_SHOWN) + " |"]
    lines += [
        "|---" * (len(WEIGHTS_SHOWN) + 1) + "|",
        "| AUROC | " + " | ".join(map(_short, results[0].sweep)) + " |",
        "",
    ]
    names = "NCC before | after | SSIM before | after | stack variance before | after | flagged"
    lines += [f"| alignment | {names} | known affines drawn (px) | left (px) |", "|---" * 10 + "|"]
    lines += [_alignment(name, facts) for name, facts in summary["alignments"].items()]
    return "\n".join(lines)


def _heading(summary: dict[str, Any], results: list[CellResult]) -> str:
    found = next(iter(results[0].aurocs.values()))
    words = (
        f"{found.negatives} normal and {found.positives} abnormal test films; AUROC with 95 % intervals "
        f"({found.method}); preset {summary['config']['preset']}, seed {summary['config']['seed']}."
    )
    if summary["weights"]["name"] == "random":
        words += (
            " Random weights, not for evaluation: the figures show that the parts work, not how well the method does."
        )
    return words


def _adjusted(results: list[CellResult]) -> list[float | None]:
    """The p-value of each cell's difference, adjusted for their number; None where a cell has none."""
    raw = [result.difference.p_value if result.difference else None for result in results]
    found = iter(holm([p for p in raw if p is not None]))
    return [None if p is None else float(next(found)) for p in raw]


def _row(result: CellResult, p_value: float | None) -> str:
    if result.refused:
        return f"| {result.words} | refused: {result.refused} | | | | |"
    cells = [_interval(result.aurocs[name]) for name in COLUMNS]
    weight = f"{result.weight:g}"
    if result.has_one_map:
        cells, weight = ["", "", cells[-1]], ""
    return f"| {result.words} | {' | '.join(cells)} | {weight} | {_difference(result.difference, p_value)} |"


def _interval(found: Auroc) -> str:
    if found.auroc is None or found.low is None or found.high is None:
        return f"{_short(found)} ({found.reason})"
    return f"{found.auroc:.3f} ({found.low:.3f}–{found.high:.3f})"


def _short(found: Auroc) -> str:
    return "none" if found.auroc is None else f"{found.auroc:.3f}"


def _difference(found: AurocDifference | None, p_value: float | None) -> str:
    if found is None:
        return "–"
    if found.difference is None or found.low is None or found.high is None or p_value is None:
        return found.reason
    shown = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f}; {shown})"


def _alignment(name: str, facts: dict[str, Any]) -> str:
    if facts["refused"]:
        return f"| {name} | refused: {facts['refused']} | | | | | | | | |"
    report = facts["report"]
    cells = [_digits(report[f"{what}_{when}"], 3) for what in ("ncc", "ssim") for when in ("before", "after")]
    cells += [_digits(report[f"stack_variance_{when}"], 4) for when in ("before", "after")]
    cells += [_digits(report["share_flagged"], 3)]
    known = report.get("known") or {"before": {}, "after": {}}
    cells += [_digits(known[when].get("displacement_median_px"), 2) for when in ("before", "after")]
    return f"| {name} | {' | '.join(cells)} |"


def _digits(number: float | None, digits: int) -> str:
    return "none" if number is None else f"{number:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.ablation", description="Tables of a finished ablation.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the ablation's --out")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the ablation's CSV, with the test films' labels")
    given = parser.parse_args(arguments)
    try:
        text = table(*read_ablation(given.folder, given.csv or given.folder / "films" / "labels.csv"))
    except EngineError as refusal:
        sys.stderr.write(f"analysis.ablation: {refusal}\n")
        return 2
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
