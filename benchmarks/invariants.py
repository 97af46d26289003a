"""What has to be true after any fault: nothing that was acknowledged is lost, nothing is there twice, each run that
ended has the bytes of an undisturbed one. Each function yields a sentence for each departure. Django has to be set
up."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from django.db.models import Count
from django.utils import timezone

from benchmarks.mixed_load import SentLabel, SentRun, SentUpload, may_be_retried
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs import paths
from portal.intake.film_files import pixel_path
from portal.labels.events import labels_at
from portal.models import CurrentLabel, Image, LabelEvent, Upload
from portal.people import audit_chain

RESULTS = ("scores.csv", "maps.npy", "affines.npy", "sweep.npy", "p_values.npy", "trivial.npy", "score.json")
Reference = Mapping[tuple[str, ...], Mapping[str, bytes]]


def wrong_labels(sent: Sequence[SentLabel]) -> Iterator[str]:
    """A label that was not acknowledged may be there or not."""
    acknowledged = {label.act for label in sent if label.acknowledged}  # before the look: more are, meanwhile
    stored: dict[Any, list[tuple[str, str, str]]] = defaultdict(list)
    acts = [label.act for label in sent]
    events = LabelEvent.objects.filter(batch__in=acts)
    for act, film, value, author in events.values_list("batch", "image__uuid", "value", "author__username"):
        stored[act].append((str(film), value, author))
    for label in sent:
        there = stored[label.act]
        if label.act in acknowledged and not there:
            yield f"label {label.act} of {label.by} was acknowledged and is lost"
        if len(there) > 1:
            yield f"label {label.act} of {label.by} is there {len(there)} times"
        if there and there[0] != (label.film, label.value, label.by):
            yield f"label {label.act} is {there[0]}, and {(label.film, label.value, label.by)} was sent"


def wrong_uploads(sent: Sequence[SentUpload]) -> Iterator[str]:
    acknowledged = [upload.acknowledged for upload in sent]  # before the look
    states = {str(address): state for address, state in Upload.objects.values_list("uuid", "state")}
    for upload, address in zip(sent, acknowledged, strict=True):
        if address and address not in states:
            yield f"upload {upload.number} was acknowledged and is lost"
            continue
        is_done = states.get(address) == Upload.State.DONE
        for name, pixels in upload.films.items():
            yield from _wrong_film(name, pixels, is_done=is_done)


def _wrong_film(name: str, pixels: np.ndarray, *, is_done: bool) -> Iterator[str]:
    films = list(Image.objects.filter(original_name=name).annotate(imported=Count("label_events")))
    if len(films) > 1 or (is_done and not films):
        yield f"the film {name} of an {'ended' if is_done else 'unfinished'} import is there {len(films)} times"
    for film in films:
        if film.imported > 1 or (is_done and film.imported != 1):
            yield f"the film {name} has {film.imported} imported labels"
        stored = gzip.decompress(pixel_path(film.pixel_sha256).read_bytes())
        if not np.array_equal(np.frombuffer(stored, "<u2").reshape(film.rows, film.columns), pixels):
            yield f"the film {name} has other pixels than were sent"


def wrong_runs(sent: Sequence[SentRun], reference: Reference) -> Iterator[str]:
    acknowledged = [(one.name, one.acknowledged) for one in sent]  # before the look
    scored = Run.objects.filter(kind=RunKind.SCORE, name__startswith="Scores ")
    runs = {str(run.uuid): run for run in scored.annotate(stored=Count("scores"))}
    for name, times in _counted(run.name for run in runs.values()).items():
        if times > 1:
            yield f"{name} is there {times} times"
    for name, address in acknowledged:
        if address and address not in runs:
            yield f"{name} was acknowledged and is lost"
    for run in runs.values():
        expected, count = reference[tuple(run.parts)], run.stored
        if run.state != RunState.DONE:
            if count:
                yield f"{run.name} is {run.state} and has {count} scores"
            if run.state == RunState.CANCELLED or (run.state == RunState.FAILED and not may_be_retried(run.message)):
                yield f"{run.name} is {run.state}: {run.message} {run.detail[-1500:]}"
            continue
        films = expected["scores.csv"].count(b"\n") - 1
        if count != films:
            yield f"{run.name} is done and has {count} scores of {films}"
        for name, content in expected.items():
            if (paths.run_folder(run.uuid) / name).read_bytes() != content:
                yield f"{run.name} is done, and its {name} has other bytes than that of an undisturbed run"


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return counts


def result_bytes(run: Run) -> dict[str, bytes]:
    folder = paths.run_folder(run.uuid)
    return {name: (folder / name).read_bytes() for name in RESULTS}


def wrong_current_labels() -> Iterator[str]:
    """The label kept for each film follows from its events."""
    now = timezone.now() + timedelta(days=1)  # clocks jumped
    kept = dict(CurrentLabel.objects.values_list("image_id", "value"))
    derived = labels_at(list(Image.objects.values_list("pk", flat=True)), now)
    for image_id in kept.keys() | derived.keys():
        value = derived[image_id].value if image_id in derived else None
        if kept.get(image_id) != value:
            yield f"film {image_id} is kept as {kept.get(image_id)}, and its events make it {value}"


def misdated_labels() -> Iterator[str]:
    """Events are dated in the order in which they were stored, whatever clocks did: a reader's newest label counts."""
    before: dict[int, Any] = {}
    for image_id, created_at in LabelEvent.objects.order_by("pk").values_list("image_id", "created_at"):
        if image_id in before and created_at <= before[image_id]:
            yield f"a label of film {image_id} is dated {created_at}, before the one that it replaces"
        before[image_id] = created_at


def broken_chains() -> Iterator[str]:
    audit_chain.seal_all()
    for site in audit_chain.chains():
        verdict = audit_chain.verify(site)
        if verdict.fault:
            yield f"the audit of {site}: {verdict.fault}"


def unfinished() -> list[str]:
    """Imports and runs that have still to end."""
    waiting = [Upload.State.RECEIVED, Upload.State.IMPORTING]
    imports = [f"import {one.uuid}: {one.state}" for one in Upload.objects.filter(state__in=waiting)]
    runs = Run.with_children.filter(state__in=[RunState.QUEUED, RunState.RUNNING])
    return imports + [f"run {one.name or one.uuid}: {one.state}, {one.stage}" for one in runs]
