"""explain: list the normal patches that a patch of a film is compared with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ml_engine.command.options import add_model
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.explain import explain
from ml_engine.engine.outcome import ExitStatus


def add(commands: Any, *, epilog: str) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        help="list the normal patches that a patch of a film is compared with",
        epilog=epilog + " Prints one JSON object.",
    )
    add_model(parser)
    parser.add_argument("--film", type=Path, required=True, metavar="FILE", help="the film")
    parser.add_argument("--patch", metavar="ROW,COLUMN", help="the patch (default: the highest of the fused map)")
    parser.add_argument("--neighbours", type=int, default=5, metavar="K", help="nearest vectors per bank (default: 5)")
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the model's films, to add each neighbour's alignment"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="device to run on")
    parser.set_defaults(command=explain_command)


def explain_command(options: argparse.Namespace) -> int:
    if options.neighbours < 1:
        raise InvalidConfig(f"--neighbours is {options.neighbours}: it must be at least 1.")
    explanation = explain(
        options.model,
        options.film,
        patch=_parse_patch(options.patch) if options.patch else None,
        neighbours=options.neighbours,
        images=options.images,
        device=options.device,
    )
    print(json.dumps(explanation.to_json(), indent=1))  # noqa: T201
    return ExitStatus.DONE


def _parse_patch(text: str) -> tuple[int, int]:
    row, comma, column = text.partition(",")
    if not comma or not row.strip().isdecimal() or not column.strip().isdecimal():
        raise InvalidConfig(f"--patch is {text!r}: write ROW,COLUMN, such as 12,7.")
    return int(row), int(column)
