"""The stages of an alignment fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ml_engine.core import files, weights
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.model import load_alignment, save_alignment
from ml_engine.core.preprocess import valid_area
from ml_engine.core.version import FORMAT, code_version
from ml_engine.folder import Report
from ml_engine.stages.common import apply_alignment, original_from_canonical
from ml_engine.stages.work import Work, require


def fit_network(work: Work, report: Report) -> dict[str, Any]:
    """Fit on the align part, else on the fit part: network.safetensors; an epoch at a time is kept."""
    part = "align" if len(work.readable("align")) else "fit"
    rows = work.readable(part)
    require(rows, least=2, part=part)
    inputs = files.open_npy(work.path("inputs.npy"))
    if len(rows) < len(inputs):  # else they stay on disk
        inputs = inputs[rows]
    images = torch.from_numpy(np.asarray(inputs, dtype=np.float32))[:, None]
    vgg = weights.default_folder() / weights.KNOWN["vgg19"].stored_name
    config = work.config

    def progress(stage: str, done: int, total: int, message: str | None) -> None:
        report(done, total, message)

    model = fit_alignment(
        images,
        valid=valid_area(work.read("boxes.npy")[rows], images.shape[-1]),
        config=config.alignment,
        seed=config.seed,
        checkpoint=work.path("epochs"),
        progress=progress,
        device=work.device.type,
        vgg_weights=vgg if vgg.exists() else None,
    )
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


def _vgg_sha256(path: Any) -> str | None:
    return weights.read_header(path)[1].get("sha256")


def place_films(work: Work, report: Report) -> dict[str, Any]:
    """The affines of all films of the run: input_from_canonical.npy, in the pixels of the input."""
    model = load_alignment(work.path("network.safetensors"))
    inputs, boxes = files.open_npy(work.path("inputs.npy")), work.read("boxes.npy")
    affines = np.full((len(work.rows), 2, 3), np.nan)
    flagged: list[int] = []
    readable = work.readable()
    for first in range(0, len(readable), 32):
        at = readable[first : first + 32]
        affines[at], failed = apply_alignment(model, inputs[at], boxes[at])
        flagged += at[failed].tolist()
        report(first + len(at), len(readable))
    files.write_npy(work.path("input_from_canonical.npy"), affines)
    return {"flagged": flagged}


def write_results(work: Work, report: Report) -> dict[str, Any]:
    """alignment.safetensors, affines.npy, alignment.json."""
    folder = work.folder
    files.link_or_copy(work.path("network.safetensors"), folder.path / "alignment.safetensors")
    files.write_npy(folder.path / "affines.npy", original_from_canonical(work))
    model = load_alignment(work.path("network.safetensors"))
    files.write_json(
        folder.path / "alignment.json",
        {
            "format": FORMAT,
            "weights": {"name": work.config.weights, "sha256": None},
            "config": work.config.to_json(),
            "report": model.report,
            "flagged": folder.summary("align")["flagged"],
            "unreadable": folder.summary("films")["errors"],
            **folder.summary("network"),
        },
    )
    return {}
