"""A run folder: its request, its lock, its events and its finished stages."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.outcome import ExitStatus
from ml_engine.engine.run_kinds import ASKED, KINDS, RunKind

Listener = Callable[[dict[str, Any]], None]
INPUTS = {
    "alignment": "inputs/alignment.safetensors",
    "detector": "inputs/detector.safetensors",
    "landmarks": "inputs/landmarks.csv",
    "canonical": "inputs/canonical.npy",
}
SECONDS_BETWEEN_EVENTS = 0.25


class FolderBusy(EngineError):
    """Another engine holds the folder."""


@dataclass(frozen=True)
class Grow:
    """The manifest's films, by image id, that join the banks of a score run's detector before it scores;
    ``films_before`` is how many films those banks were chosen from."""

    images: tuple[str, ...]
    films_before: int


@dataclass(frozen=True)
class RunSpec:
    """``run.json``: enough to run it again elsewhere. ``inputs`` maps a name of `INPUTS` to SHA-256;
    ``fusion_weight`` of a score run replaces its detector's, and with ``grow`` its banks are grown first; ``figures``
    are those of the paper that an ablation makes, and ``axes`` the settings that a sweep varies, with their values as
    text; ``asked`` is what any other study is asked, under its kind's keys in `run_kinds.KINDS`."""

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

    def to_json(self) -> dict[str, Any]:
        inputs = {n: {"file": INPUTS[n], "sha256": h} for n, h in (self.inputs or {}).items()}
        ours: dict[str, Any] = {} if self.fusion_weight is None else {"fusion_weight": self.fusion_weight}
        ours |= {"figures": list(self.figures)} if self.figures else {}
        ours |= {"axes": {name: list(values) for name, values in self.axes.items()}} if self.axes else {}
        ours |= self.asked
        ours |= (
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
        } | ours

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSpec:
        """Raises EngineError for what is no request, or one of a kind or format that this version does not know."""
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
            figures=_figures(values.get("figures")),
            axes=_axes(values.get("axes")),
            grow=_grow(values.get("grow"), values["kind"]),
            asked={name: values[name] for name in ASKED if values.get(name)},
        )


def _figures(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise EngineError(f"run.json has figures {value!r}: it must be a list of texts.")
    return tuple(value)


def _axes(value: Any) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    lists = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in lists):
        raise EngineError(f"run.json has axes {value!r}: it must be an object of lists of texts.")
    return {str(name): tuple(texts) for name, texts in value.items()}


def _grow(value: Any, kind: str) -> Grow | None:
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
        raise EngineError(f"run.json has grow and is of kind {kind}: only the bank of a score run grows.")
    return Grow(tuple(images), films_before)


def lay(
    path: Path,
    asked: Mapping[str, Any],
    rows: Sequence[ManifestRow] | None,
    *,
    inputs: Mapping[str, Path] | None = None,
) -> None:
    """Write a run folder: its ``inputs``, by their names in `INPUTS`; images.csv with ``rows``, their labels left out
    where the engine must not see them, or as it is there, where they are None; and run.json with what is ``asked``
    (`RunSpec.to_json`), last: a folder that has it is whole. Raises FileNotFoundError for an input that is gone."""
    path.mkdir(parents=True, exist_ok=True)
    for name, source in (inputs or {}).items():
        files.link_or_copy(source, path / INPUTS[name])
    if rows is not None:
        manifest.write(path / "images.csv", rows, with_labels=KINDS[RunKind(asked["kind"])].has_labels)
    files.write_json(path / "run.json", asked)


class RunFolder:
    """An open run folder. Get one from `opened`, which holds the lock."""

    def __init__(self, path: Path, attempt: int, stdout: TextIO | None, listener: Listener | None) -> None:
        self.path, self.attempt, self.stdout, self.listener = path, attempt, stdout, listener
        self.stages = path / "stages"
        self.stages.mkdir(exist_ok=True)
        for folder in (path, self.stages, path / "inputs"):  # what a killed attempt was writing
            for leftover in folder.glob(".*.part"):
                leftover.unlink()
        self._events = (path / "events.jsonl").open("a", encoding="utf-8")
        self._log = (path / "log.txt").open("a", encoding="utf-8")

    def close(self) -> None:
        self._events.close()
        self._log.close()

    def request(self) -> RunSpec:
        try:
            values = files.read_json(self.path / "run.json")
        except (OSError, ValueError):
            raise EngineError("The run folder has no run.json that can be read.") from None
        return RunSpec.from_json(values)

    def input_path(self, name: str, request: RunSpec) -> Path:
        """An input's file, proven by its SHA-256. Raises EngineError."""
        path = self.path / INPUTS[name]
        wanted = (request.inputs or {}).get(name)
        if wanted is None or not path.is_file():
            raise EngineError(f"This run needs {INPUTS[name]}, and it is not in the run folder.")
        if files.sha256_of(path) != wanted:
            raise EngineError(
                f"{INPUTS[name]} is not the file that run.json names: its SHA-256 differs. Bring the right "
                "one, or ask for the run anew."
            )
        return path

    def emit(self, event: dict[str, Any]) -> None:
        """One JSON line to events.jsonl and to stdout."""
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
        except OSError:  # nobody listens any more; the folder keeps the events
            self.stdout = None

    def log(self, text: str) -> None:
        self._log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + text + "\n")
        self._log.flush()

    def is_done(self, stage: str) -> bool:
        return self._marker(stage).exists()

    def mark_done(self, stage: str, summary: dict[str, Any]) -> None:
        """Written last, when all files of the stage are in place."""
        files.write_json(self._marker(stage), summary)

    def summary(self, stage: str) -> dict[str, Any]:
        """What a finished stage reported."""
        summary: dict[str, Any] = files.read_json(self._marker(stage))
        return summary

    def _marker(self, stage: str) -> Path:
        return self.stages / f"{stage}.json"


@contextmanager
def opened(
    path: Path, *, attempt: int | None = None, stdout: TextIO | None = None, listener: Listener | None = None
) -> Iterator[RunFolder]:
    """The folder, locked for as long as the block runs; nothing is written to a folder that another holds.

    The lock file keeps the number of the latest attempt: an engine of an earlier one is refused. Without
    ``attempt`` the next number is taken. Raises FolderBusy, EngineError.
    """
    if not (path / "run.json").is_file():
        raise EngineError(f"{path} is no run folder: it has no run.json.")
    with (path / "lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderBusy(f"Another engine is at work in {path}: wait for it or stop it.") from None
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
    """Progress of one stage as events, at most four a second, the first and the last always."""

    def __init__(self, folder: RunFolder, stage: str, index: int, count: int) -> None:
        self.folder, self.stage, self.index, self.count = folder, stage, index, count
        self.began = time.monotonic()
        self.last_sent = -1.0
        self(0, 0)

    def __call__(self, done: int, total: int, message: str | None = None) -> None:
        """``seconds_left`` counts this stage only; None until something is done."""
        now = time.monotonic()
        if 0 < done < total and now - self.last_sent < SECONDS_BETWEEN_EVENTS:
            return
        self.last_sent = now
        left = (now - self.began) / done * (total - done) if done else None
        self.folder.emit(
            {
                "stage": self.stage,
                "stage_index": self.index,
                "stage_count": self.count,
                "done": done,
                "total": total,
                "seconds_left": None if left is None else round(left, 1),
                "memory_mib": round(peak_memory_mib(), 1),
                "message": message,
            }
        )


def peak_memory_mib() -> float:
    """The most resident memory that this process has had, in MiB."""
    try:  # Linux; ru_maxrss of a child begins with its parent's
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError, ValueError):
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def end_with_parent() -> None:
    """End this process at once when its standard input closes: whoever started it is gone."""
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(ExitStatus.PARENT_GONE)

    threading.Thread(target=wait, daemon=True).start()
