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
from ml_engine.engine.stages.run_context import RunContext, require_films


def fit_network(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Fit the alignment on the align part, or on the fit part if align is empty: network.safetensors. Each finished
    epoch is saved."""
    part = manifest.alignment_part(context.rows[k].part for k in context.readable().tolist())
    rows = context.readable(part)
    require_films(rows, least=2, part=part)
    images = torch.from_numpy(context.inputs()[rows])[:, None]
    vgg = weights.default_folder() / weights.KNOWN["vgg19"].stored_name
    config = context.config
    model = _fitted(context, rows, images, progress)
    header = {
        "format": FORMAT,
        "code_version": code_version(),
        "config": config.to_json(),
        "part": part,
        "films": len(rows),
        "perceptual_sha256": _vgg_sha256(vgg) if config.alignment.perceptual > 0 and vgg.exists() else None,
    }
    with files.whole(context.path("network.safetensors")) as temporary:
        save_alignment(model, temporary, header=header)
    return {"part": part, "films": len(rows)}


def _fitted(context: RunContext, rows: NDArray[np.int64], images: Tensor, progress: StageProgress) -> FittedAlignment:
    """The alignment by landmarks, or by network and search towards the configured canonical image."""
    config, valid = context.config, valid_area(context.read("boxes.npy")[rows], images.shape[-1])
    points = landmarks.for_rows(landmarks.input_points(context), rows) if config.alignment.uses_landmarks else None
    if config.alignment.method == "landmarks":
        return fit_landmarks(images, valid=valid, points=points or [], config=config.alignment, seed=config.seed)
    canonical, facts = _canonical(context, images, valid, points)
    vgg = weights.default_folder() / weights.KNOWN["vgg19"].stored_name

    def relay(stage: str, done: int, total: int, message: str | None) -> None:
        progress(done, total, message)

    model = fit_alignment(
        images,
        valid=valid,
        config=config.alignment,
        seed=config.seed,
        checkpoint=context.path("epochs"),
        progress=relay,
        device=context.device.type,
        vgg_weights=vgg if vgg.exists() else None,
        canonical=canonical,
    )
    return replace(model, report=replace(AlignmentMeasures.from_json(model.report), **facts).to_json())


def _canonical(
    context: RunContext, images: Tensor, valid: Tensor, points: Sequence[Points] | None
) -> tuple[Tensor | None, dict[str, Any]]:
    """The canonical image, float32 (S, S), or None if the fit itself makes one, and the fields that it adds to the
    report."""
    if points is not None:
        image, measures = canonical_by_landmarks(images, valid=valid, points=points, config=context.config.alignment)
        return image, {"landmarks": measures, "canonical_source": "mean of films aligned by landmarks"}
    if context.config.alignment.canonical == "groupwise":
        return None, {}
    file_image = torch.from_numpy(files.read_npy(context.folder.input_path("canonical", context.spec)))
    size = images.shape[-1]
    image = F.interpolate(file_image[None, None].float(), (size, size), mode="bilinear", antialias=True)[0, 0]
    return image.clamp(0, 1), {"canonical_source": "a file that was given"}


def _vgg_sha256(path: Any) -> str | None:
    return weights.read_header(path)[1].get("sha256")


def place_films(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the affines of all films of the run: input_from_canonical.npy (N, 2, 3), in input pixels."""
    model = load_alignment(context.path("network.safetensors"))
    inputs, boxes = context.inputs(), context.read("boxes.npy")
    affines = np.full((len(context.rows), 2, 3), np.nan)
    flagged: list[int] = []
    readable = context.readable()
    points = landmarks.points_for(context, model)
    for first in range(0, len(readable), 32):
        at = readable[first : first + 32]
        affines[at], failed = apply_alignment(model, inputs[at], boxes[at], points=landmarks.for_rows(points, at))
        flagged += at[failed].tolist()
        progress(first + len(at), len(readable))
    files.write_npy(context.path("input_from_canonical.npy"), affines)
    return {"flagged": flagged} | landmarks.placements(context, model, points)


def write_results(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes alignment.safetensors, affines.npy, alignment.json and pictures/."""
    folder = context.folder
    measured = folder.summary("measure")
    for name in measured["pictures"]:
        files.link_or_copy(context.path(f"pictures/{name}"), folder.path / "pictures" / name)
    files.link_or_copy(context.path("network.safetensors"), folder.path / "alignment.safetensors")
    files.write_npy(folder.path / "affines.npy", original_from_canonical(context))
    model = load_alignment(context.path("network.safetensors"))
    placed, fitted = folder.summary("align"), folder.summary("network")
    AlignmentReport(
        format=FORMAT,
        weights={"name": context.config.weights, "sha256": None},
        config=context.config.to_json(),
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
