"""A finished sweep joined with the labels of its tune and test parts: a table with intervals.

    python -m analysis.sweep FOLDER --csv FILE [--tune-only]

prints it as Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.studies.experiments import read_experiment, read_summary, require_named, truth_of_csv
from analysis.studies.print_ablation import interval_words
from analysis.studies.print_table import markdown_table, print_table, refusals
from analysis.studies.sweep import TEST, TUNE, Setting, SweepResult, SweepRow, join
from ml_engine.engine import manifest
from ml_engine.engine.stages.sweep import AXES, WEIGHT


def read_sweep(folder: Path, labels: Path, *, parts: Sequence[str] = (TUNE, TEST)) -> SweepResult:
    """The results of a sweep with the labels of a CSV. Raises EngineError for a folder without a finished sweep, and
    for films that are not in the CSV."""
    summary = read_summary(folder, "sweep")
    truth = truth_of_csv(manifest.read_csv(labels))
    first = next(experiment for experiment in summary["cells"] if not experiment["refused"])
    for part in parts:
        scored = read_experiment(folder, first, part=part, name="filename")
        require_named(scored.films, truth, source=labels.name, kind="sweep")
    return join(folder, summary, truth, parts=parts, name="filename")


def table(results: SweepResult) -> str:
    """The rows, and the spread over seeds where there are several, as Markdown tables."""
    parts = list(results.films)
    names = [AXES[name] for name in results.axes]
    names += [] if WEIGHT in results.axes else [AXES[WEIGHT]]
    best = results.settings[results.best].rows if results.best is not None else ()
    rows = [_row(row, parts, is_best=k in best) for k, row in enumerate(results.rows)]
    lines = [_heading(results), "", markdown_table([*names, *(f"AUROC on {part}" for part in parts), ""], rows)]
    lines += refusals((", ".join(row.values.values()), row.refused) for row in results.rows)
    if any(len(setting.rows) > 1 for setting in results.settings):
        lines += ["", "Over seeds: mean, standard deviation (lowest to highest). The intervals above are of the films."]
        varied = [AXES[name] for name in results.settings[0].values]
        rows = [_spread(setting, parts) for setting in results.settings]
        lines += ["", markdown_table([*varied, "seeds", *parts], rows)]
    return "\n".join(lines)


def _heading(results: SweepResult) -> str:
    films = [
        f"{counts.normal} normal and {counts.abnormal} abnormal films of {part}"
        for part, counts in results.films.items()
    ]
    config = results.summary["config"]
    words = f"{'; '.join(films)}; AUROC with 95 % intervals; preset {config['preset']}."
    if results.summary["weights"]["name"] == "random":
        words += " Random weights, not for evaluation."
    return words


def _row(row: SweepRow, parts: Sequence[str], *, is_best: bool) -> list[str]:
    values = (
        row.values
        if WEIGHT in row.values
        else row.values | {WEIGHT: f"{row.weight:g}" if row.weight is not None else ""}
    )
    if row.refused:
        return [*values.values(), "refused"]
    return [*values.values(), *(interval_words(row.aurocs[part]) for part in parts), "best on tune" if is_best else ""]


def _spread(setting: Setting, parts: Sequence[str]) -> list[str]:
    texts = [*setting.values.values(), str(len(setting.rows))]
    for part in parts:
        spread = setting.spreads.get(part)
        if spread is None:
            texts.append("none")
            continue
        deviation = "one seed" if spread.deviation is None else f"{spread.deviation:.3f}"
        texts.append(f"{spread.mean:.3f}, {deviation} ({spread.low:.3f} to {spread.high:.3f})")
    return texts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.sweep", description="Table of a finished sweep.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the sweep's --out")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the sweep's CSV, with labels")
    parser.add_argument("--tune-only", action="store_true", help="leave the test part alone, while choosing")
    options = parser.parse_args(arguments)
    parts = (TUNE,) if options.tune_only else (TUNE, TEST)
    return print_table("analysis.sweep", lambda: table(read_sweep(options.folder, options.csv, parts=parts)))
