"""ablation: the experiments of Kim & Chun 2024, Figs. 12 to 15, on a split or on phantoms."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import prepare_folder, provide_backbone
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine import csv_copies, manifest
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.ablation import plan
from ml_engine.engine.stages.runner import run_folder

NORMAL_SHARE = 0.74  # of the phantoms, as in the demo set


def ablation_command(options: argparse.Namespace) -> int:
    config = config_from_options(options)
    figures = tuple(name.strip() for name in options.figures.split(","))
    planned = plan(config, figures)
    console = Console()
    images, csv = _films(options, console)
    table, left_out = csv_copies.keep_one(manifest.read_csv(csv), images)
    selection = manifest.for_fit_and_score(table, preset=config.preset, seed=config.seed)
    selection = csv_copies.with_reasons(selection, left_out)
    manifest.check_parts(selection.rows, config)
    config = provide_backbone(config, console, fits_alignment=True)
    rows = manifest.with_hashes(selection.rows, images)
    print_selection(selection, console)
    identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    spec = RunSpec("ablation", config, name="ablation", weights=identity, figures=figures)
    prepare_folder(options.out, spec, rows)
    console.say(planned.forecast(config) + ", one after the other")
    outcome = run_folder(options.out, images=images, listener=console.event)
    if outcome.has_results:
        for experiment in files.read_json(options.out / "ablation.json")["cells"]:
            console.say(f"{experiment['words']}: {experiment['refused'] or 'scored'}")
        console.say(f"the table with intervals: python -m analysis.ablation {options.out} --csv {csv}")
    return report_outcome(outcome)


def _films(options: argparse.Namespace, console: Console) -> tuple[Path, Path]:
    """The folder of the films and their CSV. With --phantoms they are drawn first."""
    if options.phantoms is None:
        if options.images is None or options.csv is None:
            raise InvalidConfig("Give --images and --csv, or --phantoms N to draw films with known findings.")
        return options.images, options.csv
    if options.images is not None or options.csv is not None:
        raise InvalidConfig("--phantoms draws films of its own: leave out --images and --csv.")
    if options.phantoms < 60:
        raise InvalidConfig(f"--phantoms is {options.phantoms}: at least 60 films are needed to fill all parts.")
    folder = options.out / "films"
    phantoms = _plan_phantoms(options.phantoms, options.seed or 0)
    if not (folder / "labels.csv").is_file():
        _draw_phantoms(folder, phantoms, console)
    elif not phantoms.are_in(folder / "labels.csv"):
        raise InvalidConfig(
            f"{folder} does not hold exactly the {options.phantoms} phantoms of this command: choose another --out, or "
            "delete the folder."
        )
    return folder, folder / "labels.csv"


@dataclass(frozen=True)
class _Phantoms:
    seed: int
    normals: int
    abnormals_per_finding: int

    def are_in(self, labels: Path) -> bool:
        """Whether labels.csv lists exactly these films."""
        from portal.imaging.phantom.demo_set import plan_demo_set

        plans = plan_demo_set(**asdict(self), size=1024)
        expected = [(plan.filename, "abnormal" if plan.finding else "normal") for plan in plans]
        return [(row["filename"], row.get("label")) for row in manifest.read_csv(labels)] == expected


def _plan_phantoms(count: int, seed: int) -> _Phantoms:
    from portal.imaging.phantom.findings import FINDINGS

    normals = round(count * NORMAL_SHARE)
    return _Phantoms(seed, normals, max(1, (count - normals) // len(FINDINGS)))


def _draw_phantoms(folder: Path, phantoms: _Phantoms, console: Console) -> None:
    from portal.imaging.phantom.demo_set import write_demo_set

    write_demo_set(
        folder,
        **asdict(phantoms),
        progress=lambda done, total: console.line(f"drawing phantoms: {done} of {total}"),
    )
