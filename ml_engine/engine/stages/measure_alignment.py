"""The stage that measures a fitted alignment and draws what it did."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
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


def measure(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """Known affines and consistency for the report, and pictures/*.png, on the films of the fit."""
    model = load_alignment(work.path("network.safetensors"), device=work.device.type)
    rows = work.readable(work.folder.summary("network")["part"])
    images = torch.from_numpy(np.asarray(files.open_npy(work.path("inputs.npy"))[rows], dtype=np.float32))[:, None]
    side = int(images.shape[-1])
    valid = valid_area(work.read("boxes.npy")[rows], side)
    shown, mask = prepared(images.to(work.device), valid.to(work.device), size=model.config.size)
    numbers = measured_by_known(model, shown, mask, seed=work.config.seed)
    report(1, 2)
    affines = work.read("input_from_canonical.npy")[rows]
    thetas = normalised_theta(affines, (side, side), (side, side)).to(shown)
    pairs, kept = [], ["canonical.png"]
    _save(work, "canonical.png", canonical_picture(model.template))
    for pair in pictures(shown, mask, thetas, canonical=model.template):
        names = [f"{pair.name}-before.png", f"{pair.name}-after.png"]
        for name, picture in zip(names, (pair.before, pair.after), strict=True):
            _save(work, name, picture)
        kept += names
        shown_pair = PicturePair(name=pair.name, before=names[0], after=names[1])
        if pair.film is not None and pair.ncc is not None:
            row, (ncc_before, ncc_after) = int(rows[pair.film]), pair.ncc
            shown_pair = replace(shown_pair, row=row, ncc_before=ncc_before, ncc_after=ncc_after)
        pairs.append(to_json(shown_pair))
    report(2, 2)
    return {"report": numbers.to_json(), "pictures": kept, "pairs": pairs}


def _save(work: RunContext, name: str, picture: Tensor) -> None:
    buffer = BytesIO()
    Image.fromarray(picture.numpy()).save(buffer, format="PNG")
    files.write_bytes(work.path(f"pictures/{name}"), buffer.getvalue())
