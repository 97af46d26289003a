"""explain: list the normal patches that a patch of a film is compared with."""

from __future__ import annotations

import argparse
import json

from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.explain import explain
from ml_engine.engine.outcome import ExitStatus


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
