"""Worklists, readers and readings by plain functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from analysis.models import Reading, Worklist, WorklistItem
from analysis.reading import verdicts
from analysis.reading.reader_studies import tasks_of
from analysis.reading.verdicts import NewReading
from analysis.reading.worklists import WorklistRequest, begin, make_worklist
from ml_engine.models import Run, Score
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


def study(scored: Scored, author: User, **changes: Any) -> Worklist:
    """A reader study of all flagged films and as many others."""
    fields = {"name": "Study", "design": "sequential", "unflagged_share": 0.5, "repeat_share": 0.1, **changes}
    return worklist(scored, author, **fields)


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


def read_stage(item: WorklistItem, by: User, stage: str, verdict: str = "normal", **changes: Any) -> Reading:
    """A reading of a reader study; score and heatmap are revealed before that with the model."""
    begin(worklist=item.worklist, reader=by)
    fields: dict[str, Any] = {"stage": stage, "rating": 90 if verdict == "abnormal" else 10}
    if stage == "aided":
        verdicts.reveal(item=item, reader=by)
        fields["agreement"] = "agree"
    return verdicts.record(item=item, reader=by, new=new_reading(verdict, **fields | changes))


def read_study(of: Worklist, by: User, verdict_of: Callable[[WorklistItem, str], str]) -> None:
    """Everything that the reader reads in the current session, in their order; `verdict_of` gets showing and stage."""
    for task in tasks_of(begin(worklist=of, reader=by)):
        item = of.items.select_related("image__dataset", "worklist__run__site").get(pk=task.item.pk)
        for stage in task.stages:
            read_stage(item, by, stage, verdict_of(item, stage))


def items(of: Worklist, *, flagged: bool | None = None) -> list[WorklistItem]:
    rows = of.items.select_related("image__dataset", "worklist__run__site")
    return list(rows if flagged is None else rows.filter(flagged=flagged))


def widened(scored: Scored) -> Scored:
    """The scored run with six more films, in no part: three normal, one abnormal, two unlabelled. They score 9, 8 … 4,
    above every other film except the last."""
    dataset = scored.films[0].dataset
    films = [factories.film(dataset, label) for label in ("normal", "normal", "normal", "abnormal", "", "")]
    for k, film in enumerate(films):
        Score.objects.create(run=scored.run, image=film, row=100 + k, fused_score=9 - k)
    return replace(scored, films=[*scored.films, *films])
