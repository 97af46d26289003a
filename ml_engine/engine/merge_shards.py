"""Merges the finished ranges of a run (`ml_engine.engine.shards`) into the run's folder, which then has the bytes of a
run that was never divided. It may be killed and run again at any time."""

from __future__ import annotations

import json
import shutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import joined_scores, manifest, shards
from ml_engine.engine.joined_scores import ScoredRange, join_arrays, rows_from
from ml_engine.engine.outcome import ExitStatus, Outcome
from ml_engine.engine.run_folder import FolderBusy, RunFolder, StageProgress, open_run_folder, write_run_folder
from ml_engine.engine.run_kinds import KINDS, RunKind
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.engine.shards import LAST, Shard
from ml_engine.engine.stages import study_cells

STAGE = "merge"
MAPS, HEAD_MAPS = "maps.npy", "head_maps.npy"  # in stages/


@dataclass(frozen=True)
class _Part:
    shard: Shard
    path: Path

    def summary(self, stage: str) -> dict[str, Any]:
        summary: dict[str, Any] = files.read_json(self.path / "stages" / f"{stage}.json")
        return summary


def merge_shards(
    path: Path,
    *,
    images: Path | None = None,
    attempt: int | None = None,
    device: str | None = None,
    stdout: TextIO | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Merge all ranges in ``path``, and remove their folders. ``images`` is the folder of the films' files, by default
    the run folder; ``device`` as in `stages.runner.run_folder`, for a study. Never raises: the outcome, the events and
    the log report a refusal or a bug."""
    try:
        _provide_request(path)
        with open_run_folder(path, attempt=attempt, stdout=stdout, listener=listener) as folder:
            if folder.spec().kind != RunKind.SCORE:
                return _merged_study(folder, images or path, device)
            return _merged(folder, images or path)
    except (EngineError, OSError) as problem:  # the folder is not locked by us
        sentence = str(problem)
        if isinstance(problem, OSError):
            sentence = files.disk_problem(problem) or (
                f"The run folder cannot be used: {problem.strerror or problem}. Check its path and permissions."
            )
        if stdout:
            stdout.write(json.dumps({"attempt": attempt, "event": "failed", "sentence": sentence}) + "\n")
            stdout.flush()
        return Outcome(ExitStatus.REFUSED, sentence, is_temporary=isinstance(problem, (OSError, FolderBusy)))


def _merged(folder: RunFolder, images: Path) -> Outcome:
    try:
        if not folder.is_done(LAST):
            _merge(folder, images)
        shutil.rmtree(folder.path / shards.FOLDER, ignore_errors=True)
        unreadable = len(folder.summary("films")["errors"])
    except Exception as problem:
        return _failed(folder, problem)
    folder.log(f"Merged; {unreadable} films could not be read.")
    folder.emit({"event": "finished", "unreadable": unreadable})
    return Outcome(ExitStatus.UNREADABLE if unreadable else ExitStatus.DONE, unreadable=unreadable)


def _merged_study(folder: RunFolder, images: Path, device: str | None) -> Outcome:
    """The cells were stages of the ranges and become stages of the run, of which the last is left to do."""
    try:
        if not folder.is_done(LAST):
            _take_ranges(folder)
    except Exception as problem:
        return _failed(folder, problem)
    from ml_engine.engine.model_cache import ModelCache
    from ml_engine.engine.stages.runner import run_open_folder  # imports torch

    outcome = run_open_folder(folder, images, device, None, ModelCache())
    if outcome.has_results:
        shutil.rmtree(folder.path / shards.FOLDER, ignore_errors=True)
    return outcome


def _take_ranges(folder: RunFolder) -> None:
    parts, cells = _parts(folder.path), study_cells.cells_of(folder.spec())
    request, shard = shards.request_of(parts[0].path)
    _require_request(request, folder)
    if (shard.of, shard.films) != (len(cells), study_cells.digest(cells)):
        raise EngineError("The ranges are of other cells than the study has: request the run again.")
    progress = StageProgress(folder, STAGE, 0, 1)
    for done, part in enumerate(parts, 1):
        study_cells.take_cells(folder, part.path, cells[part.shard.first : part.shard.end])
        progress(done, len(parts))
    shutil.rmtree(folder.path / study_cells.STORES, ignore_errors=True)  # of a run that was begun undivided


def _require_request(request: dict[str, Any], folder: RunFolder) -> None:
    """Raises EngineError."""
    if request != files.read_json(folder.path / "run.json"):
        raise EngineError(
            "The ranges are of another request than run.json, or of another version: "
            f"{shards.verb(request['kind'])} them again."
        )


def _failed(folder: RunFolder, problem: Exception) -> Outcome:
    failure = _failure(problem)
    if not isinstance(problem, EngineError):
        folder.log(traceback.format_exc())
    folder.log(failure.sentence)
    folder.emit({"event": "failed", "sentence": failure.sentence})
    return failure


def _failure(problem: Exception) -> Outcome:
    from ml_engine.engine.failures import known_failure  # imports torch, which a merge does not need

    return known_failure(problem) or Outcome(
        ExitStatus.BUG, "Internal error: the details are in log.txt of the run folder."
    )


def _provide_request(path: Path) -> None:
    """Write run.json and images.csv of a run whose ranges were scored by the command line. Raises EngineError."""
    if (path / "run.json").is_file() or not shards.folders(path):
        return
    parts = _parts(path)
    request, _ = shards.request_of(parts[0].path)
    source = parts[0].path / "inputs"
    for file in sorted(source.iterdir()) if source.is_dir() else ():
        files.link_or_copy(file, path / "inputs" / file.name)
    write_run_folder(path, request, _films(parts))


def _parts(path: Path) -> list[_Part]:
    """The ranges, of which none may be missing, unfinished or of another run. Raises EngineError."""
    folders = shards.folders(path)
    if not folders:
        raise EngineError(f"{path} has no scored ranges: score them with --range into the same --out, then merge.")
    parts: list[_Part] = []
    first_request: dict[str, Any] | None = None
    for folder in folders:
        request, shard = shards.request_of(folder)
        first_request = first_request or request
        if request != first_request or (parts and (shard.of, shard.films) != (parts[0].shard.of, parts[0].shard.films)):
            verb = shards.verb(request["kind"])
            raise EngineError(
                f"{shard.words(request['kind']).capitalize()} are of another run than those before, or {verb}d by "
                f"another version of Hilum: {verb} that range again with the same CSV, model, settings and version."
            )
        parts.append(_Part(shard, folder))
    _require_all(parts, str((first_request or {})["kind"]))
    return parts


def _require_all(parts: Sequence[_Part], kind: str) -> None:
    done = 0
    for part in parts:
        shard = part.shard
        if shard.first < done:
            words = shard.words(kind).capitalize()
            raise EngineError(f"{words} overlap with the range before: delete one of {part.path}.")
        if shard.first > done:
            raise EngineError(_missing(done, shard.first, kind))
        if not shards.is_finished(part.path):
            raise EngineError(
                f"{shard.words(kind).capitalize()} are not {shards.verb(kind)}d to the end: {shards.verb(kind)} that "
                "range again, then merge."
            )
        done = shard.end
    if done < parts[-1].shard.of:
        raise EngineError(_missing(done, parts[-1].shard.of, kind))


def _missing(first: int, end: int, kind: str) -> str:
    if kind != RunKind.SCORE:
        words = f"{KINDS[RunKind(kind)].divided_by} {first + 1} to {end}".capitalize()
        return f"{words} are in no range: retry the run."
    return f"Films {first + 1} to {end} are in no range: score them with --range {first}:{end}, then merge."


def _films(parts: Sequence[_Part]) -> list[manifest.ManifestRow]:
    return [row for part in parts for row in manifest.read(part.path / "images.csv")]


def _merge(folder: RunFolder, images: Path) -> None:
    parts = _parts(folder.path)
    request, _ = shards.request_of(parts[0].path)
    _require_request(request, folder)
    if _films(parts) != manifest.read(folder.path / "images.csv"):
        raise EngineError("The ranges are of other films than images.csv names: score them again.")
    progress = StageProgress(folder, STAGE, 0, 1)
    summaries = {
        "films": _joined(parts, "films"),
        "align": _joined(parts, "align"),
        "maps": _joined(parts, "maps"),
    }
    if len(summaries["films"]["errors"]) == parts[-1].shard.of:
        manifest.require_some_file(_films(parts), images)
    arrays = sorted(path.name for path in (parts[0].path / "stages").glob("*.npy"))
    for done, name in enumerate(arrays, 1):
        join_arrays([part.path / "stages" / name for part in parts], folder.stages / name)
        progress(done, len(arrays) + 1)
    for stage, summary in summaries.items():
        folder.mark_done(stage, summary)
    joined_scores.join(
        [ScoredRange(part.shard.first, ScoredFolder(part.path)) for part in parts],
        ScoredFolder(folder.path),
        maps=folder.stages / MAPS,
        head_maps=folder.stages / HEAD_MAPS,
    )
    folder.mark_done(LAST, {})
    progress(len(arrays) + 1, len(arrays) + 1)


def _joined(parts: Sequence[_Part], stage: str) -> dict[str, Any]:
    """The summary of a stage over all films: its rows are counted in the whole run."""
    joined: dict[str, Any] = {}
    for part in parts:
        for name, value in part.summary(stage).items():
            if isinstance(value, dict):
                joined.setdefault(name, {}).update(rows_from(part.shard.first, value))
            else:
                joined.setdefault(name, []).extend(_moved(entry, part.shard.first) for entry in value)
    return joined


def _moved(entry: Any, first: int) -> Any:
    """A row, or an object with a row, counted in the whole run."""
    return entry | {"row": first + entry["row"]} if isinstance(entry, dict) else first + entry
