"""A run in ranges: its division into children, the folder of a child, and what a retry does again.

The run plans its children, waits in the queue until they are done (`lifecycle.claim` lets nobody take it before), and
merges (`ranges`). A child is a run without page and without results in the database, whose folder lies in its parent's.
A scoring run is divided by its films, a study by its cells (`ml_engine.engine.stages.study_cells`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction

from ml_engine.core.version import code_version
from ml_engine.engine import manifest, shards
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import INPUTS, RunSpec, write_run_folder
from ml_engine.engine.shards import KEY, shard_of
from ml_engine.engine.stages import study_cells
from ml_engine.models import Run, RunKind
from ml_engine.runs import lifecycle, run_bucket, write_folder
from ml_engine.runs.lifecycle import EXECUTE, Lease, RunRefused
from ml_engine.runs.ranges import words_of
from portal.project.condition import queues_served


def ranges_of(run: Run, folder: Path) -> list[tuple[int, int]]:
    """The ranges that the run is to be divided into; none for a run that is executed as a whole."""
    if not run.most_a_child or run.grown_with.exists():
        return []  # a bank that grows needs the features of films of several ranges
    if run.kind == RunKind.SCORE:
        films = len(manifest.read(folder / "images.csv"))
        return shards.ranges(films, run.most_a_child) if films > run.most_a_child else []
    divided = study_cells.ranges(study_cells.cells_of(_spec(folder)), run.most_a_child)
    return divided if len(divided) > 1 and workers_of_runs() > 1 else []


def workers_of_runs() -> int:
    """How many workers take runs, of those that answer. Cells cost a process each, which is lost with one worker."""
    return queues_served()[settings.CELERY_TASK_ROUTES[EXECUTE]["queue"]]


def has_shared_stages(run: Run, folder: Path) -> bool:
    """Whether there is something that all children start from and that is not done yet."""
    if not run.facts.is_study:
        return False
    stages = study_cells.shared_stages(_spec(folder))
    return not all((folder / "stages" / f"{stage}.json").is_file() for stage in stages)


def _spec(folder: Path) -> RunSpec:
    return RunSpec.from_json(json.loads((folder / "run.json").read_bytes()))


def divide(run: Run, lease: Lease, ranges: Sequence[tuple[int, int]], leaders: Mapping[int, int] | None = None) -> None:
    """Store and publish the children, and let the run wait for them, all in one transaction. ``leaders`` are the places
    of ranges that wait for another, and those of the others. Raises LostLease."""
    with transaction.atomic():
        if not lifecycle.wait_for_children(lease=lease, count=len(ranges), total=ranges[-1][1]):
            return
        children: list[Run] = []
        for place, (first, end) in enumerate(ranges):
            leader = (leaders or {}).get(place)
            child = Run.with_children.create(
                site=run.site,
                name=f"{run.name[:70]}: {words_of(run.kind, first, end)}",
                kind=run.kind,
                parent=run,
                first_row=first,
                end_row=end,
                after=None if leader is None else children[leader],
                split=run.split,
                detector=run.detector,
                head=run.head,
                config=run.config,
                seed=run.seed,
                random_weights=run.random_weights,
            )
            children.append(child)
            if leader is None:
                lifecycle.publish_on_commit(child)


def leaders_of(run: Run, folder: Path, ranges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """`study_cells.leaders` of a study; of a scoring run no range waits for another."""
    return study_cells.leaders(study_cells.cells_of(_spec(folder)), ranges) if run.facts.is_study else {}


def write_child_folder(child: Run, *, tick: Callable[[], None]) -> Path:
    """Write the folder of a child and return it; its films are read from the parent's. Raises RunRefused."""
    assert child.parent is not None  # constraint run_child_has_rows
    whole = run_bucket.here(child.parent, beat=tick)
    try:
        request = json.loads((whole / "run.json").read_bytes())
        rows = manifest.read(whole / "images.csv")
    except (OSError, ValueError, manifest.InvalidManifest):
        raise RunRefused("The folder of the run is gone: retry the run, which begins anew.") from None
    tick()
    leader = None if child.after is None else run_bucket.here(child.after, beat=tick)
    place = _place_of_cells if child.facts.is_study else _place_of_films
    folder, shard, films = place(child, whole, rows, leader)
    write_folder.place_films(whole, [film.image for film in films], tick=tick)
    inputs = {name: whole / INPUTS[name] for name in request["inputs"] if not (folder / INPUTS[name]).exists()}
    request |= {"code_version": code_version(), KEY: shard.to_json()}  # the merge refuses ranges of another version
    try:
        write_run_folder(folder, request, None if (folder / "images.csv").exists() else films, inputs=inputs)
    except FileNotFoundError:
        raise RunRefused("A model of the run is gone from its folder: clone the run with a fitted model.") from None
    return folder


_Place = tuple[Path, shards.Shard, Sequence[ManifestRow]]  # the folder of a child, its range, and its films


def _place_of_films(child: Run, whole: Path, rows: Sequence[ManifestRow], leader: Path | None) -> _Place:
    shard = shard_of(rows, *_range_of(child))
    return shard.folder_in(whole), shard, rows[shard.first : shard.end]


def _place_of_cells(child: Run, whole: Path, rows: Sequence[ManifestRow], leader: Path | None) -> _Place:
    """Every cell reads all films of the study."""
    spec = _spec(whole)
    shard = study_cells.shard_of(spec, *_range_of(child))
    folder = shard.folder_in(whole)
    study_cells.start_range(whole, folder, study_cells.cells_of(spec)[shard.first], leader=leader)
    return folder, shard, rows


def _range_of(child: Run) -> tuple[int, int]:
    assert child.first_row is not None and child.end_row is not None  # constraint run_child_has_rows
    return child.first_row, child.end_row
