"""A scoring run in ranges: its division into children, the folder of a child, and what a retry does again.

The run plans its children, waits in the queue until they are done (`lifecycle.claim` lets nobody take it before), and
merges (`ranges`). A child is a run without page and without scores in the database, whose folder lies in its parent's.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from django.db import transaction

from ml_engine.core.version import code_version
from ml_engine.engine import manifest, shards
from ml_engine.engine.run_folder import INPUTS, write_run_folder
from ml_engine.engine.shards import KEY, shard_of
from ml_engine.models import Run, RunKind
from ml_engine.runs import lifecycle, paths
from ml_engine.runs.lifecycle import Lease, RunRefused


def ranges_of(run: Run, folder: Path) -> list[tuple[int, int]]:
    """The ranges that the run is to be divided into; none for a run that is executed as a whole."""
    if run.kind != RunKind.SCORE or not run.films_a_child or run.grown_with.exists():
        return []  # a bank that grows needs the features of films of several ranges
    films = len(manifest.read(folder / "images.csv"))
    return shards.ranges(films, run.films_a_child) if films > run.films_a_child else []


def divide(run: Run, lease: Lease, ranges: Sequence[tuple[int, int]]) -> None:
    """Store and publish the children, and let the run wait for them, all in one transaction. Raises LostLease."""
    with transaction.atomic():
        if not lifecycle.wait_for_children(lease=lease, count=len(ranges), films=ranges[-1][1]):
            return
        for first, end in ranges:
            child = Run.with_children.create(
                site=run.site,
                name=f"{run.name[:70]}: films {first + 1} to {end}",
                kind=run.kind,
                parent=run,
                first_row=first,
                end_row=end,
                split=run.split,
                detector=run.detector,
                head=run.head,
                config=run.config,
                seed=run.seed,
                random_weights=run.random_weights,
            )
            lifecycle.publish_on_commit(child)


def write_child_folder(child: Run, *, tick: Callable[[], None]) -> Path:
    """Write the folder of a child and return it; its films are read from the parent's. Raises RunRefused."""
    assert child.parent is not None and child.first_row is not None and child.end_row is not None  # constraint
    whole = paths.run_folder(child.parent.uuid)
    try:
        request = json.loads((whole / "run.json").read_bytes())
        rows = manifest.read(whole / "images.csv")
    except (OSError, ValueError, manifest.InvalidManifest):
        raise RunRefused("The folder of the run is gone: retry the run, which begins anew.") from None
    tick()
    shard = shard_of(rows, child.first_row, child.end_row)
    folder = shard.folder_in(whole)
    inputs = {name: whole / INPUTS[name] for name in request["inputs"] if not (folder / INPUTS[name]).exists()}
    films = None if (folder / "images.csv").exists() else rows[shard.first : shard.end]
    request |= {"code_version": code_version(), KEY: shard.to_json()}  # the merge refuses ranges of another version
    try:
        write_run_folder(folder, request, films, inputs=inputs)
    except FileNotFoundError:
        raise RunRefused("A model of the run is gone from its folder: clone the run with a fitted model.") from None
    return folder
