"""Weights of the backbones: a table of known files, download, local files, and the untrained network.

A weights folder holds safetensors files only. The one ``.pth`` that is ever read is a file of the table,
proven by its SHA-256, read with ``weights_only=True`` and stored again as safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_engine.core import architectures, files, published_weights
from ml_engine.core.architectures import TIMM
from ml_engine.core.errors import EngineError, IncompatibleModel
from ml_engine.core.published_weights import IMAGENET as IMAGENET
from ml_engine.core.published_weights import KNOWN as KNOWN
from ml_engine.core.published_weights import SETS
from ml_engine.core.published_weights import KnownFile as KnownFile

if TYPE_CHECKING:  # a worker names weights without the seconds that torch takes to load
    from torch import Tensor

RANDOM = "random"
Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 where unknown)


class WeightsMissing(EngineError):
    """The weights asked for are not in the weights folder."""


@dataclass(frozen=True)
class Weights:
    """A backbone's tensors by its library's names, and where they came from: ``name`` and the ``sha256`` of the file
    received, None for random."""

    state: dict[str, Tensor]
    name: str
    sha256: str | None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class StoredFile:
    """A file of the weights folder: ``sha256`` is that of the file it was made from."""

    name: str
    architecture: str
    sha256: str


def default_folder() -> Path:
    """HILUM_DATA_DIR/weights, or var/weights of the checkout."""
    data = os.environ.get("HILUM_DATA_DIR") or str(Path(__file__).resolve().parents[3] / "var")
    return Path(data) / "weights"


def named(name: str, architecture: str, *, folder: Path) -> dict[str, Any]:
    """What ``run.json`` says of a config's weights: ``name`` and ``sha256``, None for random and for a file that
    is not there yet. Reads the file's header only."""
    if name == RANDOM:
        return {"name": name, "sha256": None}
    try:
        _, header = read_header(resolve(name, architecture, folder=folder))
    except EngineError:  # the run itself says what is missing
        header = {}
    return {"name": name, "sha256": header.get("sha256")}


def load_backbone(name: str, architecture: str, *, seed: int, folder: Path) -> Weights:
    """The weights that a config's ``weights`` names for an architecture.

    Raises WeightsMissing where they have to be fetched first, IncompatibleModel where they do not fit.
    """
    if name == RANDOM:
        from ml_engine.core.backbone import networks

        return Weights(networks.random_state(architecture, seed), RANDOM, None)
    path = resolve(name, architecture, folder=folder)
    tensors, header = files.read_tensors(path)
    check_shapes(tensors, architecture, shown=path.name)
    return Weights(tensors, name, header.get("sha256"))


def resolve(name: str, architecture: str, *, folder: Path) -> Path:
    """The safetensors file of published weights, such as ``imagenet``, or of an imported file's name. Raises
    WeightsMissing."""
    if name in SETS:
        known = _published(name, architecture)
        path = folder / known.stored_name
        if not path.exists():
            raise WeightsMissing(
                f"The {_WORDS.get(name, name)} weights of {architecture} are not on this machine. {_HOW_TO_GET} "
                f"python manage.py weights import FILE. The file is {Path(known.url).name}, from {known.url}. "
                "To try things out without them, ask for weights random by name."
            )
        return path
    path = folder / Path(name).name
    if Path(name).name != name or not path.exists():
        raise WeightsMissing(
            f"There are no weights called {name!r} in the weights folder: import them with "
            "python manage.py weights import FILE, or choose imagenet or random."
        )
    return path


def _published(name: str, architecture: str) -> KnownFile:
    known = SETS[name].get(architecture)
    if known is None:
        there = ", ".join(published_weights.sets_of(architecture)) or "none"
        raise WeightsMissing(
            f"No weights called {name} are published for {architecture} (there are: {there}). Import a .safetensors "
            "file of it, or ask for weights random by name to try things out."
        )
    return known


_WORDS = {IMAGENET: "ImageNet"}
_HOW_TO_GET = "Download them where there is a network, or bring the file and run"


def ensure(name: str, architecture: str, *, folder: Path, progress: Progress | None = None) -> str:
    """Make the weights available and return the name to put into a config.

    Published ones, such as ``imagenet``, are downloaded where they are missing; a path of a local file is imported.
    Raises EngineError.
    """
    if name == RANDOM:
        return name
    if name in SETS:
        if not (folder / _published(name, architecture).stored_name).exists():
            download(architecture, name=name, folder=folder, progress=progress)
        return name
    if (folder / Path(name).name).exists() and Path(name).name == name:
        return name
    if not Path(name).is_file():
        raise WeightsMissing(
            f"weights is {name!r}: that is neither imagenet nor random nor a file. Give the path of a .safetensors "
            f"file, or of a .pth file that torchvision publishes. Published by name are {', '.join(SETS)}."
        )
    return import_file(Path(name), folder=folder, architecture=architecture).name


def download(
    architecture: str, *, folder: Path, name: str = "", url: str | None = None, progress: Progress | None = None
) -> Path:
    """Fetch an architecture's published weights, check their SHA-256 and store them as safetensors.

    ``name`` is one of `published.SETS`, the usual one of the architecture unless given; ``url`` replaces the table's
    address (a mirror), and the checksum stays. Raises EngineError with the way to use a local file; a failed download
    leaves nothing behind.
    """
    known = _published(name or next(iter(published_weights.sets_of(architecture)), IMAGENET), architecture)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        received = Path(scratch) / Path(known.url).name
        try:
            _fetch(url or known.url, received, progress)
        except OSError as problem:
            without = ", or set alignment.perceptual=0 to fit without the loss that needs them"
            raise WeightsMissing(
                f"The weights of {architecture} could not be downloaded from {url or known.url} "
                f"({_reason(problem)}). Fetch the file elsewhere and run: python manage.py weights import FILE"
                + (without if architecture == "vgg19" else "")
            ) from problem
        return _convert(received, known, folder)


def _fetch(url: str, target: Path, progress: Progress | None) -> None:
    if not re.match(r"https?://", url):
        raise OSError("the address must begin with https://")
    with urllib.request.urlopen(url, timeout=30) as answer, target.open("wb") as file:  # noqa: S310 (scheme checked)
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while chunk := answer.read(1 << 20):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
        if total and done != total:
            raise OSError(f"it ended after {done} of {total} bytes")


def _reason(problem: OSError) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        problem.close()  # it holds the connection open
        return f"HTTP status {problem.code}"
    return str(getattr(problem, "reason", "") or problem) or type(problem).__name__


def _convert(received: Path, known: KnownFile, folder: Path) -> Path:
    """Store a ``.pth`` of the table as safetensors. Raises IncompatibleModel when its SHA-256 differs."""
    digest = files.sha256_of(received)
    if not digest.startswith(known.digest):
        raise IncompatibleModel(
            f"The SHA-256 of {received.name} begins with {digest[:8]}, and {known.digest[:8]} was expected: the "
            "file is damaged or another one. Download it again, or run: python manage.py weights import FILE"
        )
    import torch

    from ml_engine.core.backbone import networks

    state = networks.converted(torch.load(received, map_location="cpu", weights_only=True), known.architecture)
    check_shapes(state, known.architecture, shown=received.name)
    return _store(state, known.architecture, digest, folder / known.stored_name)


def _store(state: dict[str, Tensor], architecture: str, digest: str, path: Path) -> Path:
    header = {"architecture": architecture, "sha256": digest, "tensors_sha256": _tensors_sha256(state)}
    files.write_tensors(path, state, header)
    return path


def _tensors_sha256(state: dict[str, Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def import_file(path: Path, *, folder: Path, architecture: str | None = None) -> StoredFile:
    """Bring a local file into the weights folder.

    A ``.pth`` must be one of the table by its SHA-256. A safetensors file must have an architecture's names
    and shapes: the one given, else the one of the table that fits. Its SHA-256 is kept beside it. Raises
    IncompatibleModel.
    """
    if not path.is_file():
        raise WeightsMissing(f"There is no file {path}: give the path of a .safetensors or .pth file.")
    if architecture is not None and architecture not in KNOWN:
        architectures.find(architecture)
    folder.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".safetensors":
        known = _known_by_digest(path)
        if architecture not in (None, known.architecture):
            raise IncompatibleModel(
                f"{path.name} holds weights of {known.architecture}, and {architecture} was expected: import it "
                "without naming an architecture, or choose another file."
            )
        return _stored(_convert(path, known, folder))
    tensors, _ = files.read_tensors(path)
    fitting, tensors = _as_architecture(tensors, [architecture] if architecture else _guesses(), shown=path.name)
    digest = files.sha256_of(path)
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", path.stem)[:60].removesuffix(f"-{digest[:8]}")
    return _stored(_store(tensors, fitting, digest, folder / f"{stem}-{digest[:8]}.safetensors"))


def _guesses() -> list[str]:
    """The architectures that an imported file may be of, those of timm where it is installed."""
    has_timm = importlib.util.find_spec("timm") is not None
    names = dict.fromkeys([*architectures.NAMES, *KNOWN])
    return [name for name in names if has_timm or not name.startswith(TIMM)]


def _as_architecture(tensors: dict[str, Tensor], names: list[str], *, shown: str) -> tuple[str, dict[str, Tensor]]:
    """The one architecture that the tensors fit, and they by its names. Raises IncompatibleModel, which names the
    first tensor that differs from the nearest one."""
    from ml_engine.core.backbone import networks

    fitting: dict[str, dict[str, Tensor]] = {}
    nearest, most, problem = names[0], -1, ""
    for name in names:  # what is guessed must have the library's own names
        found = networks.converted(tensors, name) if len(names) == 1 else networks.plain(tensors, name)
        difference, shared = networks.compared(found, name)
        if not difference:
            fitting[name] = found
        elif shared > most:
            nearest, most, problem = name, shared, difference
    if len(fitting) > 1:
        raise IncompatibleModel(
            f"{shown} fits {' and '.join(fitting)} alike, which take films differently: say which one it is for with "
            "--architecture."
        )
    if fitting:
        return fitting.popitem()
    which = nearest if len(names) == 1 else f"any of {', '.join(names)}; it is nearest to {nearest}"
    raise IncompatibleModel(f"{shown} does not fit {which}: {problem}.")


def _known_by_digest(path: Path) -> KnownFile:
    digest = files.sha256_of(path)
    for known in published_weights.all_known():
        if digest.startswith(known.digest):
            return known
    if digest == published_weights.XRV_PICKLE or published_weights.XRV_PICKLE_NAME in path.name:
        raise IncompatibleModel(
            f"{path.name} is torchxrayvision's file, a pickled module: reading it would run whatever it holds. Turn it "
            "into .safetensors where torchxrayvision is installed, with the three lines in docs/weights.md, and import "
            "that."
        )
    raise IncompatibleModel(
        f"{path.name} (SHA-256 {digest[:8]}...) is none of the files that torchvision publishes for "
        f"{', '.join(KNOWN)}, nor one of DINOv2's. Other weights are taken as .safetensors only: a .pth may run code."
    )


def _stored(path: Path) -> StoredFile:
    _, header = read_header(path)
    return StoredFile(path.name, str(header.get("architecture", "")), str(header.get("sha256", "")))


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The shapes of a safetensors file's tensors, and its header; nothing else of it is read."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return shapes, json.loads((file.metadata() or {}).get("hilum", "{}"))
    except (SafetensorError, OSError, ValueError):
        raise IncompatibleModel(f"{path.name} is no whole safetensors file: import it again.") from None


def list_files(folder: Path) -> list[StoredFile]:
    """The files of the weights folder, by name; damaged ones are left out (`verify` names them)."""
    found = []
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        try:
            found.append(_stored(path))
        except IncompatibleModel:
            continue
    return found


def verify(name: str, *, folder: Path) -> StoredFile:
    """Read a stored file whole and compare it with the hash kept at import. Raises IncompatibleModel."""
    path = folder / Path(name).name
    tensors, header = files.read_tensors(path)
    if _tensors_sha256(tensors) != header.get("tensors_sha256"):
        raise IncompatibleModel(f"{path.name} is not what was imported: delete it and import it again.")
    return _stored(path)


def check_shapes(tensors: dict[str, Tensor], architecture: str, *, shown: str) -> None:
    """Raises IncompatibleModel, in a sentence, where names or shapes are not the architecture's."""
    from ml_engine.core.backbone import networks

    problem, _ = networks.compared(tensors, architecture)
    if problem:
        raise IncompatibleModel(f"{shown} does not fit {architecture}: {problem}.")
