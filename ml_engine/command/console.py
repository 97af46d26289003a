"""The messages of the command line for a person, on standard error."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ml_engine.core.backbone import weights
from ml_engine.engine import manifest
from ml_engine.engine.forecast import in_words
from ml_engine.engine.manifest import Selection
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.reports import DetectorReport, MapThreshold


class Console:
    """Progress on standard error: one changing line on a terminal, otherwise one line per stage."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.stage, self.open_line, self.began = "", False, time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        if "stage" not in event:
            return
        seconds_left, of_run = event["seconds_left"], event.get("run_seconds_left")
        text = f"stage {event['stage_index'] + 1} of {event['stage_count']}, {event['stage']}"
        text += f": {event['done']} of {event['total']}" if event["total"] else ""
        if of_run is not None:
            text += f", about {in_words(of_run)} left"
        elif seconds_left:
            text += f", about {in_words(seconds_left)} left in this stage"
        if self.live:
            self.line(text)
        elif event["stage"] != self.stage:
            self.say(f"stage {event['stage_index'] + 1} of {event['stage_count']}, {event['stage']}")
        self.stage = event["stage"]

    def line(self, text: str) -> None:
        if self.live:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
            self.open_line = True

    def say(self, text: str) -> None:
        if self.open_line:
            sys.stderr.write("\r\033[K")
            self.open_line = False
        sys.stderr.write(text + "\n")


def print_selection(selection: Selection, console: Console) -> None:
    parts = [f"{sum(row.part == part for row in selection.rows)} {part}" for part in manifest.PARTS]
    nonempty = [text for text in parts if not text.startswith("0 ")]
    console.say(f"{len(selection.rows)} films" + (f": {', '.join(nonempty)}" if nonempty else ""))
    for reason, count in sorted(selection.left_out.items()):
        console.say(f"{count} rows left out: {reason}")
    if selection.without_patient:
        console.say(f"{selection.without_patient} rows without patient_id: each counts as its own patient")


def print_detector(report: DetectorReport, out: Path, console: Console) -> None:
    console.say(f"{_model_words(report)}; mask keeps {report.mask.share_kept:.0%}")
    why = f"from tune, {report.tune.films} films" if report.fusion_source == "tune" else "as configured"
    console.say(f"fusion weight {report.fusion_weight:g}, {why}")
    if report.threshold:
        console.say(_threshold_words(report.threshold))
    if report.weights["name"] == weights.RANDOM:
        console.say(weights.RANDOM_NOTICE)
    console.say(f"model: {out}")


def _model_words(report: DetectorReport) -> str:
    if report.bank:
        return f"bank: {report.bank.whole} vectors, regions {report.bank.patches}"
    return ": ".join(filter(None, (report.detector_words, report.sizes_in_words)))


def _threshold_words(threshold: MapThreshold) -> str:
    if threshold.value is None:
        return f"no threshold: {threshold.note}"
    if threshold.kind == "percentile":
        return f"threshold of the map {threshold.value:.4g}, a percentile of normal patches"
    if threshold.low is None or threshold.high is None:
        return (
            f"threshold of the map {threshold.value:.4g} for a false-alarm rate of {threshold.rate:.1%}, without a "
            "guarantee: for one, fit with a calibrate part"
        )
    return (
        f"threshold of the map {threshold.value:.4g}: it marks {threshold.expected:.1%} of normal films "
        f"({threshold.low:.1%} to {threshold.high:.1%})"
    )


def report_outcome(outcome: Outcome) -> int:
    if outcome.sentence:
        print(f"ml_engine: {outcome.sentence}", file=sys.stderr)  # noqa: T201
    elif outcome.status == ExitStatus.UNREADABLE:
        print(f"ml_engine: {outcome.unreadable} films could not be read.", file=sys.stderr)  # noqa: T201
    return (
        outcome.status
        if outcome.status in (ExitStatus.DONE, ExitStatus.REFUSED, ExitStatus.UNREADABLE)
        else ExitStatus.BUG
    )
