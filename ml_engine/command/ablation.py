"""ablation: the paper's experiments on a split, or on phantoms."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_engine.command.console import Console, print_selection, report_outcome
from ml_engine.command.lay_folder import lay, provide_perceptual_weights, provide_weights
from ml_engine.command.options import add_settings, configured
from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine import manifest
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.stages.ablation import FIGURES, plan
from ml_engine.engine.stages.runner import run_folder

NORMAL_SHARE = 0.74  # of phantoms, as in the demo's set


def add(commands: Any, *, epilog: str) -> None:
    """Add the command to the parser's."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "ablation",
        help="run the paper's experiments: aligned or not, masked or not, size, baselines",
        epilog=epilog + " The table with intervals: python -m analysis.ablation OUT --csv FILE.",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder where the CSV's paths start")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="CSV with filename, label and split, as fit takes it")
    parser.add_argument("--phantoms", type=int, metavar="N", help="draw N phantom films and use those, in OUT/films")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder of the ablation, made new")
    parser.add_argument(
        "--figures",
        default="12,13,14,15",
        metavar="LIST",
        help=f"which of {', '.join(FIGURES)}, joined by commas (default: 12,13,14,15); alignment takes the longest",
    )
    add_settings(parser)
    parser.set_defaults(command=ablation_command)


def ablation_command(options: argparse.Namespace) -> int:
    config = configured(options)
    figures = tuple(name.strip() for name in options.figures.split(","))
    planned = plan(config, figures)
    console = Console()
    images, csv = _films(options, console)
    selection = manifest.for_cells(manifest.read_csv(csv), preset=config.preset, seed=config.seed)
    manifest.check_parts(selection.rows, config)
    rows = manifest.with_hashes(selection.rows, images)
    print_selection(selection, console)
    config = config.replace(weights=provide_weights(config.weights, config.backbone, console))
    provide_perceptual_weights(config, console)
    named = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    request = RunSpec("ablation", config, name="ablation", weights=named, figures=figures)
    lay(options.out, request, rows)
    console.say(planned.forecast(config) + ", one after the other")
    outcome = run_folder(options.out, images=images, listener=console.event)
    if outcome.has_results:
        for cell in files.read_json(options.out / "ablation.json")["cells"]:
            console.say(f"{cell['words']}: {cell['refused'] or 'scored'}")
        console.say(f"the table with intervals: python -m analysis.ablation {options.out} --csv {csv}")
    return report_outcome(outcome)


def _films(options: argparse.Namespace, console: Console) -> tuple[Path, Path]:
    """The folder of the films and their CSV; phantoms are drawn where they are asked for."""
    if options.phantoms is None:
        if options.images is None or options.csv is None:
            raise InvalidConfig("Give --images and --csv, or --phantoms N to draw films with known findings.")
        return options.images, options.csv
    if options.images is not None or options.csv is not None:
        raise InvalidConfig("--phantoms draws films of its own: leave out --images and --csv.")
    if options.phantoms < 60:
        raise InvalidConfig(f"--phantoms is {options.phantoms}: at least 60 films are needed to fill all parts.")
    folder = options.out / "films"
    planned = _plan(options.phantoms, options.seed or 0)
    if not (folder / "labels.csv").is_file():
        _draw(folder, planned, console)
    elif not planned.is_in(folder / "labels.csv"):
        raise InvalidConfig(
            f"{folder} holds other phantoms than the {options.phantoms} asked for, or not all of them: choose another "
            "--out, or delete it."
        )
    return folder, folder / "labels.csv"


@dataclass(frozen=True)
class _Phantoms:
    seed: int
    normals: int
    abnormals_per_finding: int

    def is_in(self, labels: Path) -> bool:
        """Whether a labels.csv holds these films, all of them."""
        from portal.imaging.phantom.demo_set import plan_demo_set

        plans = plan_demo_set(**asdict(self), size=1024)
        wanted = [(plan.filename, "abnormal" if plan.finding else "normal") for plan in plans]
        return [(row["filename"], row.get("label")) for row in manifest.read_csv(labels)] == wanted


def _plan(count: int, seed: int) -> _Phantoms:
    from portal.imaging.phantom.findings import FINDINGS

    normals = round(count * NORMAL_SHARE)
    return _Phantoms(seed, normals, max(1, (count - normals) // len(FINDINGS)))


def _draw(folder: Path, planned: _Phantoms, console: Console) -> None:
    from portal.imaging.phantom.demo_set import write_demo_set

    write_demo_set(
        folder,
        **asdict(planned),
        progress=lambda done, total: console.line(f"drawing phantoms: {done} of {total}"),
    )
