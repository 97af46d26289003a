"""The stages of an alignment fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ml_engine.core import files
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.fit_landmarks import canonical_by_landmarks, fit_landmarks
from ml_engine.core.alignment.landmarks import Points
from ml_engine.core.alignment.model import FittedAlignment, load_alignment, save_alignment
from ml_engine.core.alignment.report import AlignmentMeasures
from ml_engine.core.backbone import weights
from ml_engine.core.film.preprocess import valid_area
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.reports import AlignmentReport, FilmResidual, PicturePair
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages import landmarks
from ml_engine.engine.stages.read_and_align import apply_alignment, original_from_canonical
from ml_engine.engine.stages.run_context import RunContext, require


def fit_network(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Fit on the align part, else on the fit part: network.safetensors; an epoch at a time is kept."""
    part = manifest.alignment_part(work.rows[k].part for k in work.readable().tolist())
    rows = work.readable(part)
    require(rows, least=2, part=part)
    inputs = files.open_npy(work.path("inputs.npy"))
    if len(rows) < len(inputs):  # else they stay on disk
        inputs = inputs[rows]
    images = torch.from_numpy(np.asarray(inputs, dtype=np.float32))[:, None]
    vgg = weights.default_folder() / weights.KNOWN["vgg19"].stored_name
    config = work.config
    model = _fitted(work, rows, images, report)
    header = {
        "format": FORMAT,
        "code_version": code_version(),
        "config": config.to_json(),
        "part": part,
        "films": len(rows),
        "perceptual_sha256": _vgg_sha256(vgg) if config.alignment.perceptual > 0 and vgg.exists() else None,
    }
    with files.whole(work.path("network.safetensors")) as temporary:
        save_alignment(model, temporary, header=header)
    return {"part": part, "films": len(rows)}


def _fitted(work: RunContext, rows: NDArray[np.int64], images: Tensor, report: StageProgress) -> FittedAlignment:
    """The alignment by landmarks, or by network and search with the canonical image that the config asks for."""
    config, valid = work.config, valid_area(work.read("boxes.npy")[rows], images.shape[-1])
    points = landmarks.of_rows(landmarks.input_points(work), rows) if config.alignment.uses_landmarks else None
    if config.alignment.method == "landmarks":
        return fit_landmarks(images, valid=valid, points=points or [], config=config.alignment, seed=config.seed)
    canonical, facts = _canonical(work, images, valid, points)
    vgg = weights.default_folder() / weights.KNOWN["vgg19"].stored_name

    def progress(stage: str, done: int, total: int, message: str | None) -> None:
        report(done, total, message)

    model = fit_alignment(
        images,
        valid=valid,
        config=config.alignment,
        seed=config.seed,
        checkpoint=work.path("epochs"),
        progress=progress,
        device=work.device.type,
        vgg_weights=vgg if vgg.exists() else None,
        canonical=canonical,
    )
    return replace(model, report=replace(AlignmentMeasures.from_json(model.report), **facts).to_json())


def _canonical(
    work: RunContext, images: Tensor, valid: Tensor, points: Sequence[Points] | None
) -> tuple[Tensor | None, dict[str, Any]]:
    """The canonical image, float32 (S, S), that does not come of the fit itself, and what the report says of it."""
    if points is not None:
        image, found = canonical_by_landmarks(images, valid=valid, points=points, config=work.config.alignment)
        return image, {"landmarks": found, "canonical_source": "mean of films aligned by landmarks"}
    if work.config.alignment.canonical == "groupwise":
        return None, {}
    given = torch.from_numpy(files.read_npy(work.folder.input_path("canonical", work.request)))
    size = images.shape[-1]
    image = F.interpolate(given[None, None].float(), (size, size), mode="bilinear", antialias=True)[0, 0]
    return image.clamp(0, 1), {"canonical_source": "a file that was given"}


def _vgg_sha256(path: Any) -> str | None:
    return weights.read_header(path)[1].get("sha256")


def place_films(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The affines of all films of the run: input_from_canonical.npy, in the pixels of the input."""
    model = load_alignment(work.path("network.safetensors"))
    inputs, boxes = files.open_npy(work.path("inputs.npy")), work.read("boxes.npy")
    affines = np.full((len(work.rows), 2, 3), np.nan)
    flagged: list[int] = []
    readable = work.readable()
    points = landmarks.points_for(work, model)
    for first in range(0, len(readable), 32):
        at = readable[first : first + 32]
        affines[at], failed = apply_alignment(model, inputs[at], boxes[at], points=landmarks.of_rows(points, at))
        flagged += at[failed].tolist()
        report(first + len(at), len(readable))
    files.write_npy(work.path("input_from_canonical.npy"), affines)
    return {"flagged": flagged} | landmarks.placements(work, model, points)


def write_results(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """alignment.safetensors, affines.npy, alignment.json, pictures/."""
    folder = work.folder
    measured = folder.summary("measure")
    for name in measured["pictures"]:
        files.link_or_copy(work.path(f"pictures/{name}"), folder.path / "pictures" / name)
    files.link_or_copy(work.path("network.safetensors"), folder.path / "alignment.safetensors")
    files.write_npy(folder.path / "affines.npy", original_from_canonical(work))
    model = load_alignment(work.path("network.safetensors"))
    placed, fitted = folder.summary("align"), folder.summary("network")
    AlignmentReport(
        format=FORMAT,
        weights={"name": work.config.weights, "sha256": None},
        config=work.config.to_json(),
        measures=AlignmentMeasures.from_json(model.report | measured["report"]),
        part=fitted["part"],
        films=fitted["films"],
        flagged=placed["flagged"],
        unreadable=folder.summary("films")["errors"],
        pictures=measured["pictures"],
        pairs=[PicturePair(**pair) for pair in measured["pairs"]],
        landmarks=[FilmResidual(**film) for film in placed["landmarks"]] if "landmarks" in placed else None,
    ).write(folder.path)
    return {}
