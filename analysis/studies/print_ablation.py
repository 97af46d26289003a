"""A finished ablation joined with the labels of its test part: tables with intervals and paired differences.

    python -m analysis.ablation FOLDER [--csv FILE]

prints them as Markdown. Without --csv the labels are those of the phantoms in FOLDER/films.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.statistics import Auroc, AurocDifference
from analysis.studies.ablation import AblationResult, ExperimentResult, join
from analysis.studies.experiments import COLUMNS, read_experiment, read_summary, require_named, truth_of_csv
from analysis.studies.print_table import markdown_table, print_table, refusals
from ml_engine.engine import manifest
from ml_engine.engine.reports import StudyAlignment

DETECTORS = ("experiment", "global", "region", "combined", "w", "combined: difference from the first (p after Holm)")
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
    """The results of an ablation with the labels of a CSV. Raises EngineError for a folder without a finished ablation,
    and for films that are not in the CSV."""
    summary = read_summary(folder, "ablation")
    truth = truth_of_csv(manifest.read_csv(labels))
    scored = read_experiment(folder, summary["cells"][0], part="test", name="filename")
    require_named(scored.films, truth, source=labels.name, kind="ablation")
    return join(folder, summary, truth, name="filename")


# in words


def table(results: AblationResult) -> str:
    """The experiments, the sweep of the first one and the alignments, as Markdown tables."""
    alignments = {name: StudyAlignment.from_json(report) for name, report in results.summary["alignments"].items()}
    weights = ["w of the first experiment", *(f"{k / 100:.1f}" for k in WEIGHTS_SHOWN)]
    lines = [_heading(results), ""]
    lines += [markdown_table(DETECTORS, [_row(experiment) for experiment in results.experiments])]
    lines += refusals((experiment.words, experiment.refused) for experiment in results.experiments)
    lines += ["", markdown_table(weights, [["AUROC", *_swept(results.experiments[0])]])]
    lines += ["", markdown_table(ALIGNMENTS, [_alignment(name, fitted) for name, fitted in alignments.items()])]
    lines += refusals((name, fitted.refused) for name, fitted in alignments.items())
    return "\n".join(lines)


def _heading(results: AblationResult) -> str:
    area, config = next(iter(results.experiments[0].aurocs.values())), results.summary["config"]
    words = (
        f"{area.negatives} normal and {area.positives} abnormal test films; AUROC with 95 % intervals "
        f"({area.method}); preset {config['preset']}, seed {config['seed']}."
    )
    if results.summary["weights"]["name"] == "random":
        words += (
            " Random weights, not for evaluation: the figures show that the parts work, not how well the method does."
        )
    return words


def _swept(first: ExperimentResult) -> list[str]:
    assert first.sweep is not None  # the first experiment always has one
    areas = first.sweep.auroc
    return [f"{areas[k]:.3f}" if len(areas) else "none" for k in WEIGHTS_SHOWN]


def _row(experiment: ExperimentResult) -> list[str]:
    if experiment.refused:
        return [experiment.words, "refused"]
    texts = [interval_words(experiment.aurocs[name]) for name in COLUMNS]
    weight = f"{experiment.weight:g}"
    if experiment.has_one_map:
        texts, weight = ["", "", texts[-1]], ""
    return [
        experiment.words,
        *texts,
        weight,
        _difference(experiment.differences.get("fused"), experiment.adjusted.get("fused")),
    ]


def interval_words(area: Auroc) -> str:
    if area.auroc is None or area.low is None or area.high is None:
        return f"{_short(area)} ({area.reason})"
    return f"{area.auroc:.3f} ({area.low:.3f}–{area.high:.3f})"


def _short(area: Auroc) -> str:
    return "none" if area.auroc is None else f"{area.auroc:.3f}"


def _difference(difference: AurocDifference | None, p_value: float | None) -> str:
    if difference is None:
        return "–"
    if difference.difference is None or difference.low is None or difference.high is None or p_value is None:
        return difference.reason
    p_words = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"{difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}; {p_words})"


def _alignment(name: str, fitted: StudyAlignment) -> list[str]:
    measures = fitted.measures
    if measures is None:
        return [name, "refused"]
    texts = [_digits(measures.ncc_before, 3), _digits(measures.ncc_after, 3)]
    texts += [_digits(measures.ssim_before, 3), _digits(measures.ssim_after, 3)]
    texts += [_digits(measures.stack_variance_before, 4), _digits(measures.stack_variance_after, 4)]
    texts += [_digits(measures.share_flagged, 3)]
    known = measures.known
    drawn_and_left = (known.before, known.after) if known else (None, None)
    texts += [_digits(errors.displacement_median_px if errors else None, 2) for errors in drawn_and_left]
    return [name, *texts]


def _digits(number: float | None, digits: int) -> str:
    return "none" if number is None else f"{number:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.ablation", description="Tables of a finished ablation.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the ablation's --out")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the ablation's CSV, with the test films' labels")
    options = parser.parse_args(arguments)
    return print_table(
        "analysis.ablation",
        lambda: table(read_ablation(options.folder, options.csv or options.folder / "films" / "labels.csv")),
    )
