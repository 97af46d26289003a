"""A run folder: its specification, lock, events and finished stages."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.chunked_rows import JOURNAL
from ml_engine.engine.forecast import Clock
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_kinds import ASKED, KINDS, RunKind
from ml_engine.engine.shards import KEY, Shard, parse_shard

Listener = Callable[[dict[str, Any]], None]
INPUTS = {
    "alignment": "inputs/alignment.safetensors",
    "detector": "inputs/detector.safetensors",
    "landmarks": "inputs/landmarks.csv",
    "canonical": "inputs/canonical.npy",
    "hand_affines": "inputs/hand_affines.json",
    "head": "inputs/head.safetensors",
    "reads": "inputs/reads.csv",
    "fit_scores": "inputs/fit_scores.csv",
}
SECONDS_BETWEEN_EVENTS = 0.25


class FolderBusy(EngineError):
    """Another engine is running in the folder."""


@dataclass(frozen=True)
class Grow:
    """The films of the manifest, by image id, that are added to the banks of a score run's detector before it scores.
    ``films_before`` is the number of films that the banks were selected from."""

    images: tuple[str, ...]
    films_before: int


@dataclass(frozen=True)
class RunSpec:
    """The specification of a run, ``run.json``: enough to run it again elsewhere. ``inputs`` maps names of `INPUTS` to
    SHA-256. In a score run, ``fusion_weight`` replaces the detector's, and ``grow`` extends its banks first.
    ``figures`` are the paper's figures that an ablation makes, ``axes`` the settings that a sweep varies, with their
    values as text, and ``asked`` the settings of any other study, under its kind's keys in `run_kinds.KINDS`. ``shard``
    is the range of a larger score run that this one scores."""

    kind: str
    config: PipelineConfig
    name: str = ""
    weights: dict[str, Any] | None = None
    inputs: dict[str, str] | None = None
    fusion_weight: float | None = None
    figures: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    grow: Grow | None = None
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    shard: Shard | None = None

    def to_json(self) -> dict[str, Any]:
        inputs = {n: {"file": INPUTS[n], "sha256": h} for n, h in (self.inputs or {}).items()}
        extra: dict[str, Any] = {} if self.fusion_weight is None else {"fusion_weight": self.fusion_weight}
        extra |= {"figures": list(self.figures)} if self.figures else {}
        extra |= {"axes": {name: list(values) for name, values in self.axes.items()}} if self.axes else {}
        extra |= self.asked
        extra |= {KEY: self.shard.to_json()} if self.shard else {}
        extra |= (
            {"grow": {"images": list(self.grow.images), "films_before": self.grow.films_before}} if self.grow else {}
        )
        return {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.name,
            "config": self.config.to_json(),
            "seed": self.config.seed,
            "code_version": code_version(),
            "weights": self.weights or {"name": self.config.weights, "sha256": None},
            "inputs": inputs,
        } | extra

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSpec:
        """Raises EngineError if the values are not a specification, or of a kind or format unknown to this version."""
        if not isinstance(values, dict):
            raise EngineError("run.json holds no JSON object: it must be one, with format, kind and config.")
        for name in ("config", "weights", "inputs", *ASKED):
            if not isinstance(values.get(name) or {}, dict):
                raise EngineError(f"run.json has {name} {values[name]!r}: it must be a JSON object.")
        if values.get("format") != FORMAT:
            raise EngineError(f"run.json has format {values.get('format')!r}; this version runs format {FORMAT}.")
        if values.get("kind") not in tuple(KINDS):
            raise EngineError(f"run.json has kind {values.get('kind')!r}; it must be one of {', '.join(KINDS)}.")
        config = PipelineConfig.from_json(values.get("config") or {})
        if "seed" in values:
            config = config.replace(seed=PipelineConfig.from_json({"seed": values["seed"]}).seed)
        weight = values.get("fusion_weight")
        if weight is not None:
            weight = PipelineConfig.from_json({"fusion_weight": weight}).fusion_weight
        inputs = {}
        for name, entry in (values.get("inputs") or {}).items():
            if entry and not (isinstance(entry, dict) and isinstance(entry.get("sha256"), str)):
                raise EngineError(f"run.json has input {name} {entry!r}: it must be an object with file and sha256.")
            if entry and name not in INPUTS:
                raise EngineError(f"run.json has an input {name}: it must be one of {', '.join(INPUTS)}.")
            if entry:
                inputs[name] = entry["sha256"]
        return cls(
            kind=values["kind"],
            config=config,
            name=str(values.get("name", "")),
            weights=values.get("weights"),
            inputs=inputs,
            fusion_weight=weight,
            figures=_parse_figures(values.get("figures")),
            axes=_parse_axes(values.get("axes")),
            grow=_parse_grow(values.get("grow"), values["kind"]),
            asked={name: values[name] for name in ASKED if values.get(name)},
            shard=parse_shard(values.get(KEY)),
        )


def _parse_figures(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise EngineError(f"run.json has figures {value!r}: it must be a list of texts.")
    return tuple(value)


def _parse_axes(value: Any) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    lists = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists):
        raise EngineError(f"run.json has axes {value!r}: it must be an object of lists of texts.")
    return {str(name): tuple(texts) for name, texts in value.items()}


def _parse_grow(value: Any, kind: str) -> Grow | None:
    if value is None:
        return None
    images = value.get("images") if isinstance(value, dict) else None
    films_before = value.get("films_before") if isinstance(value, dict) else None
    are_texts = isinstance(images, list) and all(isinstance(image, str) for image in images)
    if not are_texts or not images or not isinstance(films_before, int) or films_before < 1:
        raise EngineError(
            f"run.json has grow {value!r}: it must be an object with images (a list of texts) and films_before."
        )
    if kind != "score":
        raise EngineError(f"run.json has grow and is of kind {kind}: only the bank of a score run can grow.")
    return Grow(tuple(images), films_before)


def write_run_folder(
    path: Path,
    spec: Mapping[str, Any],
    rows: Sequence[ManifestRow] | None,
    *,
    inputs: Mapping[str, Path] | None = None,
) -> None:
    """Write a run folder: the ``inputs`` by their names in `INPUTS`; images.csv with ``rows``, without labels if the
    engine must not see them (None keeps the existing images.csv); and last run.json with ``spec`` (`RunSpec.to_json`),
    so that a folder with run.json is complete. Raises FileNotFoundError for a missing input."""
    path.mkdir(parents=True, exist_ok=True)
    for name, source in (inputs or {}).items():
        files.link_or_copy(source, path / INPUTS[name])
    if rows is not None:
        manifest.write(path / "images.csv", rows, with_labels=KINDS[RunKind(spec["kind"])].has_labels)
    files.write_json(path / "run.json", spec)


class RunFolder:
    """An open run folder, made by `open_run_folder`, which holds its lock."""

    def __init__(self, path: Path, attempt: int, stdout: TextIO | None, listener: Listener | None) -> None:
        self.path, self.attempt, self.stdout, self.listener = path, attempt, stdout, listener
        self.stages = path / "stages"
        self.stages.mkdir(exist_ok=True)
        for folder in (path, self.stages, path / "inputs"):  # unfinished files of a killed attempt
            for leftover in folder.glob(".*.part"):
                leftover.unlink()
        for journal in self.stages.glob(f"*{JOURNAL}"):
            self._forget_chunks(journal.name.removesuffix(JOURNAL))
        self._events = (path / "events.jsonl").open("a", encoding="utf-8")
        self._log = (path / "log.txt").open("a", encoding="utf-8")

    def close(self) -> None:
        self._events.close()
        self._log.close()

    def spec(self) -> RunSpec:
        """The specification in run.json. Raises EngineError."""
        try:
            values = files.read_json(self.path / "run.json")
        except (OSError, ValueError):
            raise EngineError("The run folder has no run.json that can be read: request the run again.") from None
        return RunSpec.from_json(values)

    def input_path(self, name: str, spec: RunSpec, *, sha256_of: Callable[[Path], str] = files.sha256_of) -> Path:
        """The path of an input. Raises EngineError if the file is missing or its SHA-256 is not that of run.json."""
        path = self.path / INPUTS[name]
        sha256 = (spec.inputs or {}).get(name)
        if sha256 is None or not path.is_file():
            raise EngineError(f"This run needs {INPUTS[name]}, and it is not in the run folder: request the run again.")
        if sha256_of(path) != sha256:
            raise EngineError(
                f"{INPUTS[name]} is not the file that run.json names: its SHA-256 differs. Restore the right "
                "file, or request the run again."
            )
        return path

    def emit(self, event: dict[str, Any]) -> None:
        """Write the event as a JSON line to events.jsonl and stdout, and pass it to the listener."""
        line = json.dumps({"attempt": self.attempt, **event}, allow_nan=False)
        self._events.write(line + "\n")
        self._events.flush()
        if self.listener:
            self.listener(event)
        if self.stdout is None:
            return
        try:
            self.stdout.write(line + "\n")
            self.stdout.flush()
        except OSError:  # nobody reads stdout any more; events.jsonl still gets the events
            self.stdout = None

    def log(self, text: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())  # the portal's pages show local times and say so
        self._log.write(f"{now} {text}\n")
        self._log.flush()

    def is_done(self, stage: str) -> bool:
        return self._marker(stage).exists()

    def mark_done(self, stage: str, summary: dict[str, Any]) -> None:
        """Mark the stage as finished, after all its files are written. ``summary`` is its result."""
        files.write_json(self._marker(stage), summary)
        self._forget_chunks(stage)

    def _forget_chunks(self, stage: str) -> None:
        """A finished stage needs no `chunked_rows`."""
        if self.is_done(stage):
            (self.stages / f"{stage}{JOURNAL}").unlink(missing_ok=True)

    def summary(self, stage: str) -> dict[str, Any]:
        """The summary of a finished stage."""
        summary: dict[str, Any] = files.read_json(self._marker(stage))
        return summary

    def _marker(self, stage: str) -> Path:
        return self.stages / f"{stage}.json"


@contextmanager
def open_run_folder(
    path: Path, *, attempt: int | None = None, stdout: TextIO | None = None, listener: Listener | None = None
) -> Iterator[RunFolder]:
    """The folder, locked while the block runs; nothing is written to a folder that another engine has locked.

    The lock file stores the number of the latest attempt, and earlier attempts are refused. By default ``attempt`` is
    the next number. Raises FolderBusy, EngineError."""
    if not (path / "run.json").is_file():
        raise EngineError(f"{path} is not a run folder: it has no run.json.")
    with (path / "lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderBusy(f"Another engine is running in {path}: wait for it or stop it.") from None
        lock.seek(0)
        text = lock.read().strip()
        latest = int(text) if text.isdecimal() else 0
        number = latest + 1 if attempt is None else attempt
        if number < latest:
            raise FolderBusy(f"Attempt {number} is over: attempt {latest} has begun in this folder.")
        lock.seek(0)
        lock.truncate()
        lock.write(str(number))
        lock.flush()
        folder = RunFolder(path, number, stdout, listener)
        try:
            yield folder
        finally:
            folder.close()


class StageProgress:
    """Reports the progress of one stage as events, at most four per second; the first and the last are always sent."""

    def __init__(
        self,
        folder: RunFolder,
        stage: str,
        index: int,
        count: int,
        *,
        budget: MemoryBudget | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.folder, self.stage, self.index, self.count = folder, stage, index, count
        self.budget, self.clock = budget, clock
        self.began = time.monotonic()
        self.last_sent = -1.0
        self(0, 0)

    def __call__(self, done: int, total: int, message: str | None = None) -> None:
        """``seconds_left`` is for this stage only, None until some work is done; ``run_seconds_left`` is for the whole
        run, None where it is not known. Raises OverBudget."""
        now = time.monotonic()
        if 0 < done < total and now - self.last_sent < SECONDS_BETWEEN_EVENTS:
            return
        self.last_sent = now
        if self.budget:
            self.budget.check(self.stage)
        elapsed = now - self.began
        left = elapsed / done * (total - done) if done else None
        of_run = self.clock.left(self.index, elapsed=elapsed, done=done, total=total) if self.clock else None
        self.folder.emit(
            {
                "stage": self.stage,
                "stage_index": self.index,
                "stage_count": self.count,
                "done": done,
                "total": total,
                "seconds_left": None if left is None else round(left, 1),
                "run_seconds_left": None if of_run is None else round(of_run, 1),
                "memory_mib": round(peak_memory_mib(), 1),
                "message": message,
            }
        )


class OverBudget(EngineError):
    """The run has used more memory than its config allows."""


@dataclass(frozen=True)
class MemoryBudget:
    """The memory that a run's process may use, ``memory_gib`` of its config, above 0."""

    gib: float

    def check(self, stage: str) -> None:
        """Raises OverBudget where the process has used more."""
        used = peak_memory_mib() / 1024
        if used > self.gib:
            raise OverBudget(
                f"The run has used {used:.2f} GiB of memory in the stage {stage}, and memory_gib is {self.gib:g}: "
                "raise memory_gib, or choose a smaller size, rate or batch, or fewer films."
            )


def memory_mib() -> float:
    """The resident memory of this process in MiB; where the kernel does not tell it, its peak."""
    return _of_status("VmRSS") or peak_memory_mib()


def forget_peak_memory() -> None:
    """Let `peak_memory_mib` count from now on, where the kernel allows it, for a process of several runs."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _of_status(name: str) -> float | None:
    """A size of this process in MiB, from the Linux kernel."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split(f"{name}:")[1].split()[0]) / 2**10
    except (OSError, IndexError, ValueError):
        return None


def peak_memory_mib() -> float:
    """The peak resident memory of this process in MiB."""
    if (peak := _of_status("VmHWM")) is not None:  # on Linux, ru_maxrss of a child starts from its parent's
        return peak
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def reset_peak_memory() -> None:
    """Let `peak_memory_mib` begin again at the present memory, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def end_with_parent() -> None:
    """End this process at once when its standard input closes, which means that the starting process has ended."""
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(ExitStatus.PARENT_GONE)

    threading.Thread(target=wait, daemon=True).start()
