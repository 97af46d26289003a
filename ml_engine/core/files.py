"""Files that are there whole or not at all."""

from __future__ import annotations

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

if TYPE_CHECKING:  # a worker handles files without the seconds that torch takes to load
    from torch import Tensor


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there becomes ``path`` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:  # a linked file may be read-only
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)  # after a failure, or a replace() of two links to one file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    with whole(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """The value as JSON: sorted keys, no NaN."""
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def write_npy(path: Path, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def read_npy(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def open_npy(path: Path) -> NDArray[Any]:
    """The array on disk, read where it is touched; changes to it stay in memory."""
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def stream_npy(path: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.float32]]) -> None:
    """Write an array too large for memory, float32, from parts that follow each other along the first axis.

    Raises ValueError where the parts do not make up the shape.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    written = 0
    with whole(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            if part.shape[1:] != shape[1:]:
                raise ValueError(f"a part of shape {part.shape} does not belong to an array of shape {shape}")
            file.write(np.ascontiguousarray(part, dtype="<f4").tobytes())
            written += len(part)
        if written != shape[0]:
            raise ValueError(f"{written} rows were written and {shape[0]} announced")


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """A safetensors file whose metadata holds ``header`` as JSON under the one key ``hilum``.

    One key only: the order in which several would be written is not fixed.
    """
    from safetensors.torch import save_file

    text = json.dumps(header, sort_keys=True, allow_nan=False)
    with whole(path) as temporary:
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, temporary, metadata={"hilum": text})
        temporary.chmod(0o644)  # safetensors makes its files private


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of `write_tensors` ({} where there is none). Raises IncompatibleModel."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("hilum", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise IncompatibleModel(f"There is no file {path.name} where it should be.") from None
    except (SafetensorError, ValueError, OSError):
        raise IncompatibleModel(f"{path.name} is no whole safetensors file: make or copy it again.") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """``target`` becomes the same file as ``source``, or a copy where the two lie on different disks."""
    import shutil

    with whole(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
