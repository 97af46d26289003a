"""forecast: the memory, disk and time of a fit or a scoring run on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ml_engine.command.options import config_from_options
from ml_engine.command.prepare_run import open_detector
from ml_engine.command.score import config_for_model
from ml_engine.core import determinism
from ml_engine.core.backbone import networks
from ml_engine.core.bank.memory_bank import Banks
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import UnreadableImage, UnsupportedImage
from ml_engine.core.film.preprocess import prepare
from ml_engine.engine import decode_films, forecast, manifest, measure_costs
from ml_engine.engine.forecast import Forecast, RunSize
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.unit_costs import Stopwatch

SAMPLED = 5  # films that are read


def forecast_command(options: argparse.Namespace) -> int:
    """Prints the forecast. Raises CannotFit where the run does not fit, after printing it."""
    table = manifest.read_csv(options.csv)
    if options.model:
        detector = open_detector(options.model)
        config = config_for_model(options, detector.config)
        vectors = len(detector.model.whole.vectors) if isinstance(detector.model, Banks) else 0
        rows = manifest.for_score(table).rows
        kinds = [(RunKind.SCORE, [""] * len(rows))]
    else:
        config, vectors = config_from_options(options), 0
        rows = manifest.for_fit(table, preset=config.preset, seed=config.seed).rows
        kinds = [(RunKind.FIT_DETECTOR, [row.part for row in rows if row.part != "align"])]
        if config.align == "network":
            kinds.insert(0, (RunKind.FIT_ALIGNMENT, [row.part for row in manifest.alignment_rows(rows)]))
    manifest.require_some_film(rows, options.images)
    networks.require(config)
    config = config.replace(device=determinism.device_for(config.device).type)
    costs = measure_costs.of(config)
    seconds = _read_seconds(config, [options.images / row.filename for row in rows])
    made = [
        forecast.forecast(kind, config, RunSize.counted(parts, read_seconds=seconds, bank_vectors=vectors), costs)
        for kind, parts in kinds
    ]
    whole = forecast.one_after_the_other(made)
    _print(whole, kinds, as_json=options.json)
    forecast.require_room(whole, config, folder=options.out)
    return ExitStatus.DONE


def _read_seconds(config: PipelineConfig, paths: list[Path]) -> float | None:
    """The average time of a few films; None where none of them can be read."""
    seconds = []
    for path in paths[:: max(1, len(paths) // SAMPLED)][:SAMPLED]:
        watch = Stopwatch()
        with suppress(UnreadableImage, UnsupportedImage):
            prepare(decode_films.decode_film(path), config)
            seconds.append(watch.seconds)
    return sum(seconds) / len(seconds) if seconds else None


def _print(whole: Forecast, kinds: list[tuple[RunKind, list[str]]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(whole.to_json() | {"stages": whole.stages}) + "\n")
        return
    parts = whole.parts or (whole,)
    for (kind, films), one in zip(kinds, parts, strict=True):
        count = ", ".join(f"{number} {part or 'films'}" for part, number in Counter(films).items())
        sys.stdout.write(f"{kind.replace('_', ' ')}, {count}: {forecast.in_words(one.seconds)}\n")
        for name, seconds in one.stages.items():
            if seconds >= 1:
                sys.stdout.write(f"  {name}: {forecast.in_words(seconds)}\n")
    sys.stdout.write(f"{forecast.sentence(whole)}\n")
