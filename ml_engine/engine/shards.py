"""A run in ranges of its films, or of its cells where it is a study: each range is a run folder of its own inside the
whole run's, `shards/`, which any machine may carry out. `ml_engine.engine.merge_shards` puts their results together.
`ml_engine.engine.stages.study_cells` says what the cells are. Does not import torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_kinds import KINDS, RunKind

FOLDER = "shards"
KEY = "shard"  # of run.json
LAST = "results"  # the last stage of a run that may be divided


@dataclass(frozen=True)
class Shard:
    """The films from ``first`` to ``end`` - 1, counted from 0, of a run of ``of`` films. ``films`` is a SHA-256 of the
    names of all films of the run, so that ranges of two lists are not taken for one. Of a study, cells take the place
    of films."""

    first: int
    end: int
    of: int
    films: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def words(self, kind: str) -> str:
        """ "films 1 to 100" in a run of this kind, counted from 1."""
        return f"{KINDS[RunKind(kind)].divided_by} {self.first + 1} to {self.end}"

    def folder_in(self, run: Path) -> Path:
        return folder_of(run, self.first, self.end)


def verb(kind: str) -> str:
    """What is done to the films or cells of a run of this kind: "score" or "compute"; "d" makes it the past."""
    return "score" if kind == RunKind.SCORE else "compute"


def parse_shard(value: Any) -> Shard | None:
    """The shard of run.json; None without one. Raises EngineError."""
    if value is None:
        return None
    names = set(Shard.__dataclass_fields__)
    if not isinstance(value, Mapping) or set(value) != names:
        raise EngineError(f"run.json has shard {value!r}: it must be an object with {', '.join(sorted(names))}.")
    shard = Shard(**value)
    numbers = (shard.first, shard.end, shard.of)
    is_range = all(type(number) is int for number in numbers) and 0 <= shard.first < shard.end <= shard.of
    if not is_range or not isinstance(shard.films, str):
        raise EngineError(f"run.json has shard {value!r}: first, end and of must be a range of the run's films.")
    return shard


def ranges(films: int, most: int) -> list[tuple[int, int]]:
    """As few ranges (first, end) of at most ``most`` films as possible, of nearly equal size."""
    count = -(-films // most)
    edges = [films * k // count for k in range(count + 1)]
    return list(pairwise(edges))


def parse_range(text: str, films: int) -> tuple[int, int]:
    """(first, end) of a range A:B of the command line, as a slice of Python: counted from 0, B not included; either may
    be left out, and B may be beyond the last film. Raises EngineError."""
    match = re.fullmatch(r"(\d*):(\d*)", text.strip())
    first = int(match[1] or 0) if match else 0
    end = min(int(match[2] or films) if match else films, films)
    if not match or first >= end:
        raise EngineError(
            f"--range {text}: write A:B with A below B, and A below {films}, the number of films; 0:{min(films, 1000)} "
            "are the first."
        )
    return first, end


def films_digest(rows: Sequence[ManifestRow]) -> str:
    """The SHA-256 of the names and parts of all films of a run."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.filename}\0{row.image}\0{row.part}\n".encode())
    return digest.hexdigest()


def shard_of(rows: Sequence[ManifestRow], first: int, end: int) -> Shard:
    return Shard(first, end, len(rows), films_digest(rows))


def folder_of(run: Path, first: int, end: int) -> Path:
    """The folder of a range of a run."""
    return run / FOLDER / f"{first:08d}-{end:08d}"


def folders(run: Path) -> list[Path]:
    """The folders of the ranges of a run, in the order of their films."""
    return sorted(path for path in (run / FOLDER).glob("*-*") if (path / "run.json").is_file())


def is_finished(folder: Path) -> bool:
    """Whether the range is done: the last of its stages is finished."""
    return (folder / "stages" / f"{LAST}.json").is_file()


def request_of(folder: Path) -> tuple[dict[str, Any], Shard]:
    """run.json of a range without its range, which is the run.json of the whole run; and the range. Raises
    EngineError."""
    try:
        values = files.read_json(folder / "run.json")
        shard = parse_shard(values.pop(KEY))
    except (OSError, ValueError, KeyError, AttributeError):
        shard = None
    if shard is None:
        raise EngineError(f"{folder} is no range of a run that can be read: delete it, and carry out the range again.")
    return values, shard
