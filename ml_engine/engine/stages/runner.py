"""Takes a run folder through its stages; a finished stage is never run again."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from ml_engine.core import determinism
from ml_engine.core.backbone import feature_store, networks, weights
from ml_engine.core.bank.nearest_search import require_search
from ml_engine.core.errors import EngineError
from ml_engine.core.files import disk_problem
from ml_engine.engine.failures import known_failure
from ml_engine.engine.forecast import require_room
from ml_engine.engine.model_cache import ModelCache
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.prepared_films import PreparedFilms
from ml_engine.engine.run_folder import (
    FolderBusy,
    MemoryBudget,
    RunFolder,
    RunSpec,
    StageProgress,
    open_run_folder,
    reset_peak_memory,
)
from ml_engine.engine.run_kinds import KINDS, STUDIES, RunKind
from ml_engine.engine.shards import LAST
from ml_engine.engine.stages import (
    controls,
    embedding,
    experiments,
    fit_alignment,
    fit_detector,
    forecast_run,
    measure_alignment,
    needed_weights,
    read_and_align,
    score,
)
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.stages.study_cells import PLANS, is_divided, shared_stages, stages_of_range

Stage = Callable[[RunContext, StageProgress], dict[str, Any]]

STAGES: dict[str, tuple[tuple[str, Stage], ...]] = {
    "fit_alignment": (
        ("films", read_and_align.read_films),
        ("network", fit_alignment.fit_network),
        ("align", fit_alignment.place_films),
        ("measure", measure_alignment.measure),
        ("results", fit_alignment.write_results),
    ),
    "fit_detector": (
        ("films", read_and_align.read_films),
        ("align", read_and_align.align),
        ("mask", fit_detector.find_mask),
        ("features", fit_detector.extract),
        ("banks", fit_detector.select),
        ("calibrate", fit_detector.calibrate),
        ("tune", fit_detector.tune),
        ("crossfit", fit_detector.cross_fit),
        ("controls", controls.score_controls),
        ("results", fit_detector.write_results),
    ),
    "score": (
        ("films", read_and_align.read_films),
        ("align", read_and_align.align),
        ("maps", score.make_maps),
        ("results", score.write_results),
    ),
    "embedding": (
        ("films", read_and_align.read_films),
        ("align", read_and_align.align),
        ("pool", embedding.pool),
        ("neighbours", embedding.find_neighbours),
        ("layout", embedding.lay_out),
        ("results", embedding.write_results),
    ),
}
BULKY = ("inputs.npy", "features.npy")  # deleted once the results are written


def run_folder(
    path: Path,
    *,
    images: Path | None = None,
    attempt: int | None = None,
    device: str | None = None,
    stdout: TextIO | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
    features: Path | None = None,
    models: ModelCache | None = None,
    films: PreparedFilms | None = None,
    only_shared: bool = False,
) -> Outcome:
    """Run the stages of the folder that are not finished yet.

    ``images`` is the folder of the manifest's files, by default the run folder itself. ``device`` replaces the
    config's. ``listener`` receives every event. ``features`` is the folder of the films' features, by default
    ``features`` in the run folder if that exists. ``models`` keeps loaded models for further runs, and ``films`` what
    a fit of the alignment has prepared for the run after it. ``only_shared`` leaves out the cells of a study and what
    comes after them. Never raises: the outcome, the events and the log report a refusal (EngineError) or a bug.
    """
    try:
        with open_run_folder(path, attempt=attempt, stdout=stdout, listener=listener) as folder:
            own = path / feature_store.FOLDER
            kept = features or (own if own.is_dir() else None)
            cache = ModelCache() if models is None else models
            return run_open_folder(folder, images or path, device, kept, cache, films=films, only_shared=only_shared)
    except (EngineError, OSError) as problem:  # the folder is not locked by us: write nothing into it
        sentence = str(problem)
        if isinstance(problem, OSError):
            sentence = disk_problem(problem) or (
                f"The run folder cannot be used: {problem.strerror or problem}. Check its path and permissions."
            )
        if stdout:
            event = {"attempt": attempt, "event": "failed", "sentence": sentence}
            stdout.write(json.dumps(event) + "\n")
            stdout.flush()
        return Outcome(ExitStatus.REFUSED, sentence, is_temporary=isinstance(problem, (OSError, FolderBusy)))


def run_open_folder(
    folder: RunFolder,
    images: Path,
    device: str | None,
    features: Path | None,
    models: ModelCache,
    *,
    films: PreparedFilms | None = None,
    only_shared: bool = False,
) -> Outcome:
    """As `run_folder`, of a folder that the caller has opened."""
    try:
        unreadable = _stages(folder, images, device, features, models, films=films, only_shared=only_shared)
    except Exception as problem:
        failure = known_failure(problem)
        if not isinstance(problem, EngineError):
            folder.log(traceback.format_exc())
        if failure is None:
            failure = Outcome(ExitStatus.BUG, "Internal error: the details are in log.txt of the run folder.")
        return _failed(folder, failure)
    if only_shared:
        folder.log(f"Finished what all {KINDS[RunKind(folder.spec().kind)].divided_by} need.")
    else:
        folder.log(f"Finished; {unreadable} films could not be read.")
    folder.emit({"event": "finished", "unreadable": unreadable})
    return Outcome(ExitStatus.UNREADABLE if unreadable else ExitStatus.DONE, unreadable=unreadable)


def _failed(folder: RunFolder, failure: Outcome) -> Outcome:
    folder.log(failure.sentence)
    folder.emit({"event": "failed", "sentence": failure.sentence})
    return failure


def _stages_of(spec: RunSpec, folder: RunFolder, *, only_shared: bool) -> Sequence[tuple[str, Stage]]:
    """The stages of the run; of a range of a study its own, and of the shared ones those that are not finished."""
    stages = _all_stages_of(spec)
    if only_shared:
        return [(name, stage) for name, stage in stages if name in shared_stages(spec)]
    if not is_divided(spec):
        return stages
    done = {name for name in shared_stages(spec) if folder.is_done(name)}
    own = stages_of_range(spec) - done
    return [*((name, stage) for name, stage in stages if name in own), (LAST, _end_range)]


def _end_range(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """The results of a study are those of all ranges."""
    return {}


def _all_stages_of(spec: RunSpec) -> Sequence[tuple[str, Stage]]:
    if spec.kind in PLANS:
        return experiments.stages(PLANS[spec.kind](spec), run_folder)
    if spec.kind in STUDIES:
        return _stages_of_study(spec)
    if spec.grow is None:
        return STAGES[spec.kind]
    *before, maps, results = STAGES[spec.kind]
    return (*before, ("grow", score.grow_banks), maps, results)


def _stages_of_study(spec: RunSpec) -> Sequence[tuple[str, Stage]]:
    """The stages of a study depend on its plan. Its module is imported only when needed: the libraries that draw
    lesions would delay the start of every run by half a second."""
    stages: Callable[[RunSpec], Sequence[tuple[str, Stage]]]
    stages = import_module(f"ml_engine.engine.stages.{spec.kind}").stages
    return stages(spec)


def _stages(
    folder: RunFolder,
    images: Path,
    device: str | None,
    features: Path | None,
    models: ModelCache,
    *,
    films: PreparedFilms | None,
    only_shared: bool,
) -> int:
    spec = folder.spec()
    determinism.fix(threads=spec.config.threads)
    determinism.keep_freed_memory()
    context = RunContext(folder, spec, images, device or spec.config.device, features, models=models, films=films)
    require_search(context.config.search)
    networks.require(context.config)  # also for an alignment, whose config the later detector shares
    stages = _stages_of(spec, folder, only_shared=only_shared)
    count = len(_all_stages_of(spec)) if only_shared else len(stages)  # the shared ones are the first of all
    begins = bool(stages) and not folder.is_done(stages[0][0])
    if begins:  # later, features may be there already
        planned = PLANS[spec.kind](spec) if spec.kind in PLANS else None
        needed_weights.require(spec.kind, context.config, planned=planned, folder=weights.default_folder())
    folder.log(f"Attempt {folder.attempt} of {spec.kind} on {context.device}, process {os.getpid()}.")
    folder.emit({"event": "started", "device": determinism.device_label(context.device)})
    made = forecast_run.forecast_of(context)
    if made is not None and begins:
        require_room(made, context.config, folder=folder.path)
    clock = forecast_run.clock_of(made, [name for name, _ in stages])
    budget = MemoryBudget(context.config.memory_gib) if context.config.memory_gib else None
    if budget:
        reset_peak_memory()  # of an earlier run in this process
    for index, (name, stage) in enumerate(stages):
        if folder.is_done(name):
            continue
        progress = StageProgress(folder, name, index, count, budget=budget, clock=clock)
        folder.log(f"Stage {name} begins, after {time.process_time():.1f} s of CPU in this process.")
        folder.mark_done(name, stage(context, progress))
        if clock:
            clock.finish(index, time.monotonic() - progress.began)
        determinism.give_back_memory()
        if budget:
            budget.check(name)
    folder.log(f"The stages end after {time.process_time():.1f} s of CPU in this process.")
    if only_shared:  # the cells need the bulky files
        return 0
    for name in BULKY:
        (folder.stages / name).unlink(missing_ok=True)
    if is_divided(spec):
        return 0  # the merge counts
    if spec.kind in PLANS:
        return experiments.unreadable(PLANS[spec.kind](spec), context)
    return len(context.errors)
