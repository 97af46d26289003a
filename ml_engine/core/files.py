"""Reading and writing files; writes are atomic, so that a file is complete or absent."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core.errors import IncompatibleModel

if TYPE_CHECKING:  # importing torch takes seconds, and many callers need none
    from torch import Tensor


_DISK_PROBLEMS = {
    errno.ENOSPC: "The disk is full: free some space and retry; finished stages are kept.",
    errno.EDQUOT: "The quota of the disk is used up: free some space and retry; finished stages are kept.",
    errno.EROFS: "The disk of the run's folder is mounted read-only: see to the disk, then retry.",
    errno.EACCES: "A file of the run may not be read or written by the account that works on it: give the run's folder "
    "to that account, then retry.",
}


def disk_problem(problem: BaseException) -> str:
    """What to do about a disk that cannot be written; empty for any other exception."""
    return _DISK_PROBLEMS.get(problem.errno or 0, "") if isinstance(problem, OSError) else ""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; the file written to it replaces ``path`` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:  # a linked file may be read-only
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)  # left after an error, or by replace() when both are links to one file


def sync_folder(folder: Path) -> None:
    """Flush the names of the files of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write the file atomically."""
    with whole(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write the value as JSON with sorted keys. Raises ValueError for NaN or infinity."""
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write the array in NumPy's .npy format. Raises ValueError for an array of objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a .npy file, in memory. Raises ValueError for an array of objects, which would be unpickled."""
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def open_npy(path: Path) -> NDArray[Any]:
    """The array of a .npy file, memory-mapped copy-on-write. Raises ValueError as `read_npy` does."""
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def stream_npy(path: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.float32]], *, kind: str = "<f4") -> None:
    """Write a .npy file too large for memory from consecutive parts along the first axis, converted to ``kind``:
    "<f4" float32, "<f2" float16 or "<u2" uint16.

    Raises ValueError where the parts do not add up to the shape.
    """
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    written = 0
    with whole(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            if part.shape[1:] != shape[1:]:
                raise ValueError(f"a part of shape {part.shape} does not fit an array of shape {shape}")
            file.write(np.ascontiguousarray(part, dtype=kind).tobytes())
            written += len(part)
        if written != shape[0]:
            raise ValueError(f"{written} rows were written where {shape[0]} were expected")


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write a safetensors file whose metadata hold ``header`` as JSON under the single key ``hilum``.

    A single key, because safetensors does not fix the order of several, and equal models must give equal bytes.
    """
    from safetensors.torch import save_file

    text = json.dumps(header, sort_keys=True, allow_nan=False)
    with whole(path) as temporary:
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, temporary, metadata={"hilum": text})
        temporary.chmod(0o644)  # safetensors creates files that only their owner can read


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header written by `write_tensors` ({} without one). Raises IncompatibleModel for a missing or
    damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("hilum", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise IncompatibleModel(f"There is no file {path.name}: it was moved or deleted.") from None
    except (SafetensorError, ValueError, OSError):
        raise IncompatibleModel(f"{path.name} is not a complete safetensors file: create or copy it again.") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy where the two are on different file systems."""
    import shutil

    with whole(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
