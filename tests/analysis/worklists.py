"""Worklists, readers and readings by plain functions."""

from __future__ import annotations

import uuid
from typing import Any

from analysis.models import Reading, Worklist, WorklistItem
from analysis.reading import verdicts
from analysis.reading.verdicts import NewReading
from analysis.reading.worklists import WorklistRequest, begin, make_worklist
from ml_engine.models import Run
from ml_engine.runs.paths import run_folder
from portal.models import Role, User
from tests.analysis.scored import Scored
from tests.ml_engine.scored_folders import change_summary
from tests.portal import factories


def calibrated(run: Run, scores: list[float], patients: list[int] | None = None) -> None:
    """Give the run these scores of calibration normals, in ascending order."""
    change_summary(run_folder(run.uuid), calibration_scores=sorted(scores), calibration_patients=patients)


def worklist(scored: Scored, author: User, **changes: Any) -> Worklist:
    """At a sensitivity on tune, unless `changes` name another operating point."""
    fields = {"name": "First", "point": "tune sensitivity", "value": 0.85, **changes}
    return make_worklist(WorklistRequest(run=scored.run, author=author, **fields))


def reader(name: str = "reader") -> User:
    return factories.user(name, Role.READER)


def new_reading(verdict: str = "normal", **changes: Any) -> NewReading:
    reason = "true finding" if verdict == "abnormal" else ""
    return NewReading(
        **{"uuid": uuid.uuid4(), "verdict": verdict, "reason": reason, "active_seconds": 8, "total_seconds": 10}
        | changes
    )


def read(item: WorklistItem, by: User, verdict: str = "normal", **changes: Any) -> Reading:
    begin(worklist=item.worklist, reader=by)
    return verdicts.record(item=item, reader=by, new=new_reading(verdict, **changes))


def items(of: Worklist, *, flagged: bool | None = None) -> list[WorklistItem]:
    rows = of.items.select_related("image__dataset", "worklist__run__site")
    return list(rows if flagged is None else rows.filter(flagged=flagged))
