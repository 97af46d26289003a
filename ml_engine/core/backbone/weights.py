"""Weights of the backbones, from the weights folder by name, or random. The folder holds safetensors files only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_engine.core import files, published_weights
from ml_engine.core.backbone.weight_conversion import check_shapes, from_package, packaged_file, tensors_sha256
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.errors import WeightsMissing as WeightsMissing
from ml_engine.core.published_weights import IMAGENET as IMAGENET
from ml_engine.core.published_weights import KNOWN as KNOWN
from ml_engine.core.published_weights import SETS
from ml_engine.core.published_weights import KnownFile as KnownFile

if TYPE_CHECKING:  # importing torch takes seconds, and many callers need none
    from torch import Tensor

RANDOM = "random"
RANDOM_NOTICE = "random weights, not for evaluation"


@dataclass(frozen=True)
class Weights:
    """A backbone's tensors by its library's names, and their source: ``name``, and the ``sha256`` of the file that was
    downloaded or imported, None for random weights."""

    state: dict[str, Tensor]
    name: str
    sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """The source without the tensors."""
        return {"name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class StoredFile:
    """A file of the weights folder; ``sha256`` is that of the file from which it was converted."""

    name: str
    architecture: str
    sha256: str


def default_folder() -> Path:
    """The folder HILUM_DATA_DIR/weights, or var/weights in the checkout."""
    data = os.environ.get("HILUM_DATA_DIR") or str(Path(__file__).resolve().parents[3] / "var")
    return Path(data) / "weights"


def named(name: str, architecture: str, *, folder: Path) -> dict[str, Any]:
    """The record of a config's weights in ``run.json``: ``name`` and ``sha256``, None for random weights and for a file
    that is missing. Reads only the file's header, after `resolve`."""
    if name == RANDOM:
        return {"name": name, "sha256": None}
    try:
        _, header = read_header(resolve(name, architecture, folder=folder))
    except EngineError:  # the run itself reports what is missing
        header = {}
    return {"name": name, "sha256": header.get("sha256")}


def load_backbone(name: str, architecture: str, *, seed: int, folder: Path) -> Weights:
    """The weights of an architecture with the name in a config's ``weights``; ``seed`` is that of random weights.

    Raises WeightsMissing where they have to be downloaded or imported first, IncompatibleModel where they do not fit.
    """
    if name == RANDOM:
        from ml_engine.core.backbone import networks

        return Weights(networks.random_state(architecture, seed), RANDOM, None)
    path = resolve(name, architecture, folder=folder)
    tensors, header = files.read_tensors(path)
    check_shapes(tensors, architecture, shown=path.name)
    return Weights(tensors, name, header.get("sha256"))


def resolve(name: str, architecture: str, *, folder: Path) -> Path:
    """The path of published weights, such as ``imagenet``, or of an imported file.

    Published weights that come in an installed package are converted into the folder on the first call. Raises
    WeightsMissing, and IncompatibleModel where the package's file is damaged.
    """
    path = _path(name, architecture, folder)
    if not path.exists():
        known = published_file(name, architecture)
        return from_package(known, folder)
    return path


def require(name: str, architecture: str, *, folder: Path) -> None:
    """Raises WeightsMissing unless `load_backbone` has a file to load. It is neither converted nor read."""
    if name != RANDOM and not _path(name, architecture, folder).exists():
        packaged_file(published_file(name, architecture))


def _path(name: str, architecture: str, folder: Path) -> Path:
    """The path in the folder; it exists, unless the file comes in a package. Raises WeightsMissing."""
    if name in SETS:
        known = published_file(name, architecture)
        path = folder / known.stored_name
        if path.exists() or known.package:
            return path
        without = "For a trial without them, choose weights random."
        if architecture == "vgg19":
            without = "Or set alignment.perceptual=0 to fit the alignment without the loss that needs them."
        raise WeightsMissing(
            f"The {_WORDS.get(name, name)} weights of {architecture} are not on this machine. {_HOW_TO_GET} "
            f"python manage.py weights import FILE. The file is {known.file_name}, from {known.url}. {without}"
        )
    path = folder / Path(name).name
    if Path(name).name != name or not path.exists():
        raise WeightsMissing(
            f"There are no weights called {name!r} in the weights folder: import them with "
            "python manage.py weights import FILE, or choose imagenet or random."
        )
    return path


def published_file(name: str, architecture: str) -> KnownFile:
    """The published file of this name for an architecture. Raises WeightsMissing where there is none."""
    known = SETS[name].get(architecture)
    if known is None:
        names = ", ".join(published_weights.sets_of(architecture)) or "none"
        raise WeightsMissing(
            f"No weights called {name} are published for {architecture} (published are: {names}). Import a "
            ".safetensors file, or choose weights random for a trial."
        )
    return known


_WORDS = {IMAGENET: "ImageNet"}
_HOW_TO_GET = "Download them on a machine with internet access, or copy the file here and run"


def stored_file(path: Path) -> StoredFile:
    """The description of a file in the weights folder. Raises IncompatibleModel for a damaged file."""
    _, header = read_header(path)
    return StoredFile(path.name, str(header.get("architecture", "")), str(header.get("sha256", "")))


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The shapes of the tensors of a safetensors file, and its header, without reading the tensors. Raises
    IncompatibleModel for a damaged file."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return shapes, json.loads((file.metadata() or {}).get("hilum", "{}"))
    except (SafetensorError, OSError, ValueError):
        raise IncompatibleModel(f"{path.name} is not a complete safetensors file: import it again.") from None


def list_files(folder: Path) -> list[StoredFile]:
    """The files of the weights folder in order of their names; damaged ones are left out (`verify` reports them)."""
    stored = []
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        try:
            stored.append(stored_file(path))
        except IncompatibleModel:
            continue
    return stored


def verify(name: str, *, folder: Path) -> StoredFile:
    """Read a stored file completely and compare it with the hash computed at its import. Raises IncompatibleModel."""
    path = folder / Path(name).name
    tensors, header = files.read_tensors(path)
    if tensors_sha256(tensors) != header.get("tensors_sha256"):
        raise IncompatibleModel(f"{path.name} has changed since it was imported: delete it and import it again.")
    return stored_file(path)
