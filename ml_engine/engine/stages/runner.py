"""Takes a run folder through its stages; a finished stage is never run again."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import torch

from ml_engine.core import determinism
from ml_engine.core.backbone import feature_store, networks
from ml_engine.core.bank.nearest_search import require_search
from ml_engine.core.errors import EngineError
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.run_folder import FolderBusy, RunFolder, RunSpec, StageProgress, opened
from ml_engine.engine.run_kinds import STUDIES
from ml_engine.engine.stages import (
    ablation,
    experiments,
    fit_alignment,
    fit_detector,
    measure_alignment,
    read_and_align,
    score,
    sweep,
)
from ml_engine.engine.stages.plans import ExperimentPlan
from ml_engine.engine.stages.run_context import RunContext

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
        ("results", fit_detector.write_results),
    ),
    "score": (
        ("films", read_and_align.read_films),
        ("align", read_and_align.align),
        ("maps", score.make_maps),
        ("results", score.write_results),
    ),
}
PLANS: dict[str, Callable[[RunSpec], ExperimentPlan]] = {
    "ablation": lambda request: ablation.plan(request.config, request.figures),
    "sweep": lambda request: sweep.plan(request.config, request.axes),
}

BULKY = ("inputs.npy", "features.npy")  # deleted once the results stand


def run_folder(
    path: Path,
    *,
    images: Path | None = None,
    attempt: int | None = None,
    device: str | None = None,
    stdout: TextIO | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
    features: Path | None = None,
) -> Outcome:
    """Run the folder to its end, from its last finished stage.

    ``images`` is where the manifest's files lie, the folder itself unless given; ``device`` replaces the
    config's; ``listener`` gets every event; ``features`` is where films' features are kept and looked up, the
    folder ``features`` of the run's where there is one, unless given. Never raises: a refusal (EngineError) or a
    bug is in the outcome, the events and the log.
    """
    try:
        with opened(path, attempt=attempt, stdout=stdout, listener=listener) as folder:
            own = path / feature_store.FOLDER
            return _run(folder, images or path, device, features or (own if own.is_dir() else None))
    except (EngineError, OSError) as problem:  # the folder is not ours: nothing may be written there
        sentence = str(problem)
        if isinstance(problem, OSError):
            sentence = f"The run folder cannot be used: {problem.strerror or problem}. Check its path and permissions."
        if stdout:
            event = {"attempt": attempt, "event": "failed", "sentence": sentence}
            stdout.write(json.dumps(event) + "\n")
            stdout.flush()
        return Outcome(ExitStatus.REFUSED, sentence, passing=isinstance(problem, (OSError, FolderBusy)))


def _run(folder: RunFolder, images: Path, device: str | None, features: Path | None) -> Outcome:
    try:
        unreadable = _stages(folder, images, device, features)
    except EngineError as refusal:
        return _failed(folder, ExitStatus.REFUSED, str(refusal))
    except torch.OutOfMemoryError:
        return _failed(
            folder, ExitStatus.REFUSED, "The GPU's memory ran out: choose device cpu, or a smaller size or batch."
        )
    except Exception as problem:
        folder.log(traceback.format_exc())
        if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
            sentence = "The disk is full: free some space and retry; finished stages are kept."
            return _failed(folder, ExitStatus.REFUSED, sentence, passing=True)
        if isinstance(problem, MemoryError) or "DefaultCPUAllocator" in str(problem):
            return _failed(
                folder, ExitStatus.REFUSED, "The memory ran out: choose a smaller size, rate or batch, or fewer films."
            )
        return _failed(folder, ExitStatus.BUG, "Internal error: the details are in log.txt of the run folder.")
    folder.log(f"Finished; {unreadable} films could not be read.")
    folder.emit({"event": "finished", "unreadable": unreadable})
    return Outcome(ExitStatus.UNREADABLE if unreadable else ExitStatus.DONE, unreadable=unreadable)


def _failed(folder: RunFolder, status: ExitStatus, sentence: str, *, passing: bool = False) -> Outcome:
    folder.log(sentence)
    folder.emit({"event": "failed", "sentence": sentence})
    return Outcome(status, sentence, passing=passing)


def _stages_of(request: RunSpec) -> Sequence[tuple[str, Stage]]:
    if request.kind in PLANS:
        return experiments.stages(PLANS[request.kind](request), run_folder)
    if request.kind in STUDIES:
        return _stages_of_study(request)
    if request.grow is None:
        return STAGES[request.kind]
    *before, maps, results = STAGES[request.kind]
    return (*before, ("grow", score.grow_banks), maps, results)


def _stages_of_study(request: RunSpec) -> Sequence[tuple[str, Stage]]:
    """What a study is asked says which stages it has. Its module is imported for it alone: the libraries that draw
    lesions would make every run begin half a second later."""
    stages: Callable[[RunSpec], Sequence[tuple[str, Stage]]]
    stages = import_module(f"ml_engine.engine.stages.{request.kind}").stages
    return stages(request)


def _stages(folder: RunFolder, images: Path, device: str | None, features: Path | None) -> int:
    request = folder.request()
    determinism.fix(threads=request.config.threads)
    determinism.keep_freed_memory()
    work = RunContext(folder, request, images, device or request.config.device, features)
    require_search(work.config.search)
    networks.require(work.config)  # an alignment's too: the detector that waits for it has the same config
    stages = _stages_of(request)
    folder.log(f"Attempt {folder.attempt} of {request.kind} on {work.device}, process {os.getpid()}.")
    folder.emit({"event": "started", "device": determinism.device_label(work.device)})
    for index, (name, stage) in enumerate(stages):
        if folder.is_done(name):
            continue
        report = StageProgress(folder, name, index, len(stages))
        folder.log(f"Stage {name} begins.")
        folder.mark_done(name, stage(work, report))
        determinism.give_back_memory()
    for name in BULKY:
        (folder.stages / name).unlink(missing_ok=True)
    if request.kind in PLANS:
        return experiments.unreadable(PLANS[request.kind](request), work)
    return len(work.errors)
