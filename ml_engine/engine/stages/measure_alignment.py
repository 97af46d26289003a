"""The stage that measures a fitted alignment and draws its before and after pictures."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ml_engine.core import files
from ml_engine.core.alignment.known import measured_by_known
from ml_engine.core.alignment.model import load_alignment, prepared
from ml_engine.core.alignment.pictures import canonical_picture, pictures
from ml_engine.core.film.preprocess import valid_area
from ml_engine.core.geometry import normalised_theta
from ml_engine.core.json_objects import to_json
from ml_engine.engine.reports import PicturePair
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages.run_context import RunContext


def measure(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Measure the recovery of known affines and the consistency for the report, and write pictures/*.png, all on the
    films of the fit."""
    model = load_alignment(context.path("network.safetensors"), device=context.device.type)
    rows = context.readable(context.folder.summary("network")["part"])
    images = torch.from_numpy(context.inputs()[rows])[:, None]
    side = int(images.shape[-1])
    valid = valid_area(context.read("boxes.npy")[rows], side)
    small, mask = prepared(images.to(context.device), valid.to(context.device), size=model.config.size)
    numbers = measured_by_known(model, small, mask, seed=context.config.seed)
    progress(1, 2)
    affines = context.read("input_from_canonical.npy")[rows]
    thetas = normalised_theta(affines, (side, side), (side, side)).to(small)
    pairs, names = [], ["canonical.png"]
    _save(context, "canonical.png", canonical_picture(model.template))
    for pair in pictures(small, mask, thetas, canonical=model.template):
        before, after = f"{pair.name}-before.png", f"{pair.name}-after.png"
        for name, picture in zip((before, after), (pair.before, pair.after), strict=True):
            _save(context, name, picture)
        names += [before, after]
        entry = PicturePair(name=pair.name, before=before, after=after)
        if pair.film is not None and pair.ncc is not None:
            row, (ncc_before, ncc_after) = int(rows[pair.film]), pair.ncc
            entry = replace(entry, row=row, ncc_before=ncc_before, ncc_after=ncc_after)
        pairs.append(to_json(entry))
    progress(2, 2)
    return {"report": numbers.to_json(), "pictures": names, "pairs": pairs}


def _save(context: RunContext, name: str, picture: Tensor) -> None:
    buffer = BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, format="PNG")
    files.write_bytes(context.path(f"pictures/{name}"), buffer.getvalue())
