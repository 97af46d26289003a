"""The forecast of a run that begins, and the clock of its seconds left."""

from __future__ import annotations

from contextlib import suppress

from ml_engine.core.bank.memory_bank import Banks
from ml_engine.core.errors import UnreadableImage, UnsupportedImage
from ml_engine.core.film.preprocess import prepare
from ml_engine.engine import decode_films, forecast, measure_costs, unit_costs
from ml_engine.engine.forecast import Clock, Forecast, RunSize
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.unit_costs import Stopwatch

FORECAST_FROM = 5  # films of a run that takes longer than its forecast
MEASURED_FROM = 100  # films of a run that is worth the seconds of measuring, if nothing is kept for its settings
SAMPLED = 3  # films that are read to know how long one takes


def forecast_of(context: RunContext) -> Forecast | None:
    """The forecast; None for a kind of run that has none, and for a small run on a machine that was not measured."""
    kind, config = context.spec.kind, context.config
    if kind not in forecast.KINDS or len(context.rows) < FORECAST_FROM:
        return None
    config = config.replace(device=context.device.type)
    costs = unit_costs.stored(config)
    if costs is None:
        if len(context.rows) < MEASURED_FROM:
            return None
        context.folder.log("Measuring what this machine takes for single steps.")
        costs = measure_costs.of(config)
    return forecast.forecast(kind, config, size_of(context), costs)


def size_of(context: RunContext) -> RunSize:
    vectors = 0
    if context.spec.kind == "score" and isinstance(context.detector.model, Banks):
        vectors = len(context.detector.model.whole.vectors)
    parts = [row.part for row in context.rows]
    return RunSize.counted(parts, read_seconds=_read_seconds(context), bank_vectors=vectors)


def _read_seconds(context: RunContext) -> float | None:
    """The average time of a few films spread over the run; None where none of them can be read."""
    size = context.config.alignment.size if context.spec.kind == "fit_alignment" else context.config.size
    seconds = []
    for row in context.rows[:: max(1, len(context.rows) // SAMPLED)][:SAMPLED]:
        watch = Stopwatch()
        with suppress(UnreadableImage, UnsupportedImage):
            prepare(
                decode_films.decode_film(context.images / row.filename, sha256=row.sha256), context.config, size=size
            )
            seconds.append(watch.seconds)
    return sum(seconds) / len(seconds) if seconds else None


def clock_of(made: Forecast | None, stages: list[str]) -> Clock | None:
    """The clock of a run with these stages; None without a forecast, or for a run with other stages than forecast."""
    if made is None or not set(stages) <= set(made.stages):
        return None
    return Clock([made.stages[name] for name in stages])
