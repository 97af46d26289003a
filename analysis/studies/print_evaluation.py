"""A scored folder evaluated against a CSV of labels: tables on standard output, and one page of HTML.

python -m analysis evaluate SCORES_DIR --csv FILE [--html FILE]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from analysis.studies import evaluation_page
from analysis.studies.evaluate_folder import FolderEvaluation, evaluate_folder
from analysis.studies.evaluation_words import (
    NO_POINT,
    RATES,
    SCORES,
    heading,
    point_words,
    rate_row,
    reasons,
    score_rows,
)
from analysis.studies.print_table import markdown_table, print_table
from ml_engine.core import files
from ml_engine.core.errors import EngineError

PROGRAM = "python -m analysis evaluate"


def tables(evaluation: FolderEvaluation) -> str:
    """The evaluation as Markdown tables, readable in a terminal."""
    lines = [*heading(evaluation), ""]
    lines += [markdown_table(SCORES, score_rows(evaluation)), *reasons(evaluation)]
    for point in evaluation.points:
        lines += ["", point_words(point)]
        if not point.rates.reason:
            lines += ["", markdown_table(RATES, [rate_row(point)])]
    if not evaluation.points:
        lines += ["", NO_POINT]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis", description="The analysis without the portal.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    evaluate = commands.add_parser(
        "evaluate",
        help="AUROC and rates of scored films, from their labels",
        description="AUROC, average precision, sensitivity and specificity with 95 % intervals by patient.",
        epilog="Exit status: 0 done, 2 refused with a sentence.",
    )
    evaluate.add_argument("folder", type=Path, metavar="SCORES_DIR", help="the folder that score wrote")
    evaluate.add_argument(
        "--csv", type=Path, required=True, metavar="FILE", help="CSV with filename and label, and patient_id if known"
    )
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="also write one page of HTML, with the curves")
    options = parser.parse_args(arguments)
    return print_table(PROGRAM, lambda: _evaluate(options.folder, options.csv, options.html))


def _evaluate(folder: Path, labels: Path, page: Path | None) -> str:
    if page is not None and not page.parent.is_dir():
        raise EngineError(f"The page cannot be written: there is no folder {page.parent}. Make it first.")
    evaluation = evaluate_folder(folder, labels)
    if page is not None:
        try:
            files.write_bytes(page, evaluation_page.html_of(evaluation).encode())
        except OSError as problem:
            raise EngineError(f"{page} cannot be written: {os.strerror(problem.errno or 0)}. Check the path.") from None
    return tables(evaluation)
