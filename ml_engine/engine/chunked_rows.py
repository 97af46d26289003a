"""Arrays that a stage writes film by film in chunks, so that a killed stage goes on after its last whole chunk.

While the stage works, an array lies in `NAME.npy.unfinished`, and `STAGE.chunks.jsonl` has a line for each whole
chunk: up to which row, the SHA-256 of the chunk's bytes in each array, and what else the stage keeps of its films. At
the next attempt a chunk counts only if its bytes have that hash, which half-written ones have not; what follows the
first that has not is cut off. At the end the files take their names, and the bytes are those of a stage that was never
interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files

CHUNK = 256  # films: seconds of work on a CPU
UNFINISHED, JOURNAL = ".unfinished", ".chunks.jsonl"


@dataclass(frozen=True)
class ArrayPlan:
    """An array of ``shape``, whose first axis are the rows, in the NumPy format ``kind``, such as "<f4"."""

    shape: tuple[int, ...]
    kind: str

    @property
    def header(self) -> bytes:
        text = io.BytesIO()
        values = {"descr": self.kind, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(text, values)
        return text.getvalue()

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * np.dtype(self.kind).itemsize


class ChunkedRows:
    """The arrays of one stage in ``folder``, open for writing. ``done`` rows are whole since earlier attempts, and
    ``kept`` is what these attempts kept of them, a list for each name. All arrays have as many rows.

    ``key`` says what the rows depend on besides the run: with another one the stage begins anew. A film has
    ``rows_a_film`` rows in every array."""

    def __init__(
        self, folder: Path, stage: str, arrays: Mapping[str, ArrayPlan], *, key: str = "", rows_a_film: int = 1
    ) -> None:
        self._chunk = CHUNK * rows_a_film
        self._folder, self._arrays = folder, dict(arrays)
        self._journal_path = folder / f"{stage}{JOURNAL}"
        self.rows = next(iter(arrays.values())).shape[0]
        self.done, self.kept = 0, dict[str, list[Any]]()
        self._pending: dict[str, list[Any]] = {}
        self._head = {"key": key, "arrays": {name: [list(plan.shape), plan.kind] for name, plan in arrays.items()}}
        self._files = {name: self._open(name) for name in self._arrays}
        whole = self._whole_chunks()
        for name, file in self._files.items():
            file.truncate(self._offset(name, self.done))
            file.seek(0, os.SEEK_END)
        self._write_journal(whole)
        self._journal = self._journal_path.open("a", encoding="utf-8")
        self.written = self.done
        self._hashes = {name: hashlib.sha256() for name in self._arrays}

    def __enter__(self) -> ChunkedRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        for file in self._files.values():
            file.close()

    # --- writing ------------------------------------------------------------------------------------

    def add(self, parts: Mapping[str, NDArray[Any]], kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Write the next rows of every array, and keep values, which JSON can hold, for them."""
        counts = {len(part) for part in parts.values()}
        if set(parts) != set(self._arrays) or len(counts) != 1:
            raise ValueError(f"rows of {sorted(parts)} were given where {sorted(self._arrays)} were expected")
        for name, part in parts.items():
            plan = self._arrays[name]
            if part.shape[1:] != plan.shape[1:]:
                raise ValueError(f"a part of shape {part.shape} does not fit an array of shape {plan.shape}")
            data = np.ascontiguousarray(part, dtype=plan.kind).tobytes()
            self._files[name].write(data)
            self._hashes[name].update(data)
        self.written += counts.pop()
        for name, values in (kept or {}).items():
            self._pending.setdefault(name, []).extend(values)

    @property
    def is_chunk_full(self) -> bool:
        return self.written - self.done >= self._chunk

    def end_chunk(self) -> None:
        """Note that all rows so far are whole. To be called where the stage could begin again: between two batches."""
        if self.written == self.done:
            return
        for file in self._files.values():
            file.flush()
        hashes = {name: value.hexdigest() for name, value in self._hashes.items()}
        line = {"end": self.written, "sha256": hashes, "kept": self._pending}
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        for name, values in self._pending.items():
            self.kept.setdefault(name, []).extend(values)
        self.done, self._pending = self.written, {}
        self._hashes = {name: hashlib.sha256() for name in self._arrays}

    def finish(self) -> None:
        """Give the arrays their names. Raises ValueError unless all rows were written."""
        self.end_chunk()
        if self.written != self.rows:
            raise ValueError(f"{self.written} rows were written where {self.rows} were expected")
        for name, file in self._files.items():
            os.fsync(file.fileno())
            os.replace(self._unfinished(name), self._folder / name)
        files.sync_folder(self._folder)

    def whole_rows(self, name: str) -> NDArray[Any]:
        """The rows of an array that are whole since earlier attempts."""
        plan, file = self._arrays[name], self._files[name]
        file.flush()
        file.seek(self._offset(name, 0))
        data = file.read(self.done * plan.row_bytes)
        file.seek(0, os.SEEK_END)
        return np.frombuffer(data, dtype=plan.kind).reshape(self.done, *plan.shape[1:])

    # --- opening ------------------------------------------------------------------------------------

    def _unfinished(self, name: str) -> Path:
        return self._folder / f"{name}{UNFINISHED}"

    def _open(self, name: str) -> IO[bytes]:
        path = self._unfinished(name)
        if not path.exists() and (self._folder / name).exists() and self._journal_path.exists():
            os.replace(self._folder / name, path)  # killed between its last chunk and the mark of the stage
        file = path.open("r+b" if path.exists() else "w+b")
        header = self._arrays[name].header
        if file.read(len(header)) != header:
            file.seek(0)
            file.truncate()
            file.write(header)
        return file

    def _offset(self, name: str, row: int) -> int:
        return len(self._arrays[name].header) + row * self._arrays[name].row_bytes

    def _whole_chunks(self) -> list[dict[str, Any]]:
        """The lines of the journal whose chunks are whole; sets ``done`` and ``kept``."""
        lines = _read_lines(self._journal_path)
        if not lines or lines[0] != self._head:
            return []
        whole = []
        for line in lines[1:]:
            if not self._is_whole(line):
                break
            whole.append(line)
            self.done = line["end"]
            for name, values in line["kept"].items():
                self.kept.setdefault(name, []).extend(values)
        return whole

    def _is_whole(self, line: dict[str, Any]) -> bool:
        return all(
            _hash_of(file, self._offset(name, self.done), self._offset(name, line["end"])) == line["sha256"].get(name)
            for name, file in self._files.items()
        )

    def _write_journal(self, whole: Sequence[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in [self._head, *whole])
        files.write_bytes(self._journal_path, text.encode())


def kind_of_journal(folder: Path, stage: str, name: str) -> str:
    """The format of an array whose writing was interrupted; empty if none was."""
    lines = _read_lines(folder / f"{stage}{JOURNAL}")
    arrays = lines[0].get("arrays", {}) if lines else {}
    return str(arrays[name][1]) if name in arrays else ""


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal up to the first that is cut off."""
    lines: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                lines.append(json.loads(text))
    except (OSError, ValueError):
        return lines
    return lines


def _hash_of(file: IO[bytes], first: int, end: int) -> str:
    """The SHA-256 of these bytes of the file, of fewer where it is shorter."""
    digest, left = hashlib.sha256(), end - first
    file.seek(first)
    while left > 0 and (data := file.read(min(left, 2**20))):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()
