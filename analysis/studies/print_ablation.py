"""A finished ablation joined with the labels of its test part: tables with intervals and paired differences.

    python -m analysis.ablation FOLDER [--csv FILE]

prints them as Markdown. Without --csv the labels are those of the phantoms in FOLDER/films.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.statistics import Auroc, AurocDifference
from analysis.studies.ablation import AblationResult, CellResult, join
from analysis.studies.experiments import COLUMNS, read_experiment, read_summary, require_named, truth_of_csv
from analysis.studies.print_table import markdown_table, print_table, refusals
from ml_engine.engine import manifest
from ml_engine.engine.reports import StudyAlignment

DETECTORS = ("cell", "global", "region", "combined", "w", "combined: difference from the first (p after Holm)")
ALIGNMENTS = (
    "alignment",
    "NCC before",
    "after",
    "SSIM before",
    "after",
    "stack variance before",
    "after",
    "flagged",
    "known affines drawn (px)",
    "left (px)",
)
WEIGHTS_SHOWN = tuple(range(0, 101, 10))  # hundredths


def read_ablation(folder: Path, labels: Path) -> AblationResult:
    """The cells' results by the labels of a CSV. Raises EngineError for a folder without a finished ablation, and for
    films that the CSV does not name."""
    summary = read_summary(folder, "ablation")
    truth = truth_of_csv(manifest.read_csv(labels))
    scored = read_experiment(folder, summary["cells"][0], part="test", name="filename")
    require_named(scored.films, truth, source=labels.name, kind="ablation")
    return join(folder, summary, truth, name="filename")


# in words


def table(found: AblationResult) -> str:
    """The cells, the sweep of the first and the alignments, as Markdown."""
    alignments = {name: StudyAlignment.from_json(one) for name, one in found.summary["alignments"].items()}
    weights = ["w of the first cell", *(f"{k / 100:.1f}" for k in WEIGHTS_SHOWN)]
    lines = [_heading(found), ""]
    lines += [markdown_table(DETECTORS, [_row(cell) for cell in found.cells])]
    lines += refusals((cell.words, cell.refused) for cell in found.cells)
    lines += ["", markdown_table(weights, [["AUROC", *_swept(found.cells[0])]])]
    lines += ["", markdown_table(ALIGNMENTS, [_alignment(name, fitted) for name, fitted in alignments.items()])]
    lines += refusals((name, fitted.refused) for name, fitted in alignments.items())
    return "\n".join(lines)


def _heading(found: AblationResult) -> str:
    area, config = next(iter(found.cells[0].aurocs.values())), found.summary["config"]
    words = (
        f"{area.negatives} normal and {area.positives} abnormal test films; AUROC with 95 % intervals "
        f"({area.method}); preset {config['preset']}, seed {config['seed']}."
    )
    if found.summary["weights"]["name"] == "random":
        words += (
            " Random weights, not for evaluation: the figures show that the parts work, not how well the method does."
        )
    return words


def _swept(first: CellResult) -> list[str]:
    assert first.sweep is not None  # the first cell always has one
    areas = first.sweep.auroc
    return [f"{areas[k]:.3f}" if len(areas) else "none" for k in WEIGHTS_SHOWN]


def _row(cell: CellResult) -> list[str]:
    if cell.refused:
        return [cell.words, "refused"]
    cells = [interval_words(cell.aurocs[name]) for name in COLUMNS]
    weight = f"{cell.weight:g}"
    if cell.has_one_map:
        cells, weight = ["", "", cells[-1]], ""
    return [cell.words, *cells, weight, _difference(cell.differences.get("fused"), cell.adjusted.get("fused"))]


def interval_words(found: Auroc) -> str:
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


def _alignment(name: str, fitted: StudyAlignment) -> list[str]:
    measures = fitted.measures
    if measures is None:
        return [name, "refused"]
    cells = [_digits(measures.ncc_before, 3), _digits(measures.ncc_after, 3)]
    cells += [_digits(measures.ssim_before, 3), _digits(measures.ssim_after, 3)]
    cells += [_digits(measures.stack_variance_before, 4), _digits(measures.stack_variance_after, 4)]
    cells += [_digits(measures.share_flagged, 3)]
    known = measures.known
    drawn_and_left = (known.before, known.after) if known else (None, None)
    cells += [_digits(errors.displacement_median_px if errors else None, 2) for errors in drawn_and_left]
    return [name, *cells]


def _digits(number: float | None, digits: int) -> str:
    return "none" if number is None else f"{number:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.ablation", description="Tables of a finished ablation.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the ablation's --out")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the ablation's CSV, with the test films' labels")
    given = parser.parse_args(arguments)
    return print_table(
        "analysis.ablation",
        lambda: table(read_ablation(given.folder, given.csv or given.folder / "films" / "labels.csv")),
    )
