"""The stages of an embedding map: each film's mean patch feature, its nearest films, and its places in the plane.

Films are not aligned and not masked: the map is made before there is a split, to see what a set holds, and what
does not belong to it is often at the border of the film.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.embedding.neighbour_layout import neighbour_layout
from ml_engine.core.embedding.neighbours import NearestFilms, centred_directions, nearest_films
from ml_engine.core.embedding.principal_axes import principal_coordinates
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine.embedding_folder import LAYOUTS, EmbeddingFolder
from ml_engine.engine.run_folder import StageProgress
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.study_plans import KEPT_NEIGHBOURS, EmbeddingPlan


def plan_of(context: RunContext) -> EmbeddingPlan:
    return EmbeddingPlan.from_json(context.spec.asked.get("embedding", {}))


def pool(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the mean over each film's patches, pooled.npy (N, D) float32, NaN where unreadable."""
    plan_of(context)  # refuse a wrong plan now, not after hours
    side = context.config.patches
    files.write_npy(context.path("mask.npy"), np.ones((side, side), dtype=np.bool_))
    pooled: NDArray[np.float32] | None = None
    for at, batch in context.features_of(context.readable(), progress):
        if pooled is None:
            pooled = np.full((len(context.rows), batch.shape[2]), np.nan, dtype=np.float32)
        pooled[at] = batch.double().mean(1).cpu().numpy()
    assert pooled is not None  # a run without a readable film was refused
    files.write_npy(context.path("pooled.npy"), pooled)
    return {}


def find_neighbours(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the nearest films of the readable films, as indices among these: nearest.npy (n, K) int32, cosines.npy
    (n, K) float32."""
    directions = centred_directions(context.read("pooled.npy")[context.readable()])
    nearest = nearest_films(directions, KEPT_NEIGHBOURS, device=context.device, progress=progress)
    files.write_npy(context.path("nearest.npy"), nearest.films)
    files.write_npy(context.path("cosines.npy"), nearest.similarities)
    return {}


def lay_out(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the places of the readable films by each of `LAYOUTS`: places.npy (n, 2, 2) float32."""
    plan = plan_of(context)
    axes = principal_coordinates(context.read("pooled.npy")[context.readable()], 2)
    of_plan = NearestFilms(
        context.read("nearest.npy")[:, : plan.neighbours], context.read("cosines.npy")[:, : plan.neighbours]
    )
    laid = neighbour_layout(of_plan, axes, seed=context.config.seed, epochs=plan.epochs, progress=progress)
    by_name = {"neighbours": laid, "axes": axes}
    files.write_npy(context.path("places.npy"), np.stack([by_name[name] for name in LAYOUTS], 1).astype("<f4"))
    return {}


def write_results(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the files of `EmbeddingFolder`."""
    results, rows, count = EmbeddingFolder(context.folder.path), context.readable(), len(context.rows)
    pooled = context.read("pooled.npy")
    results.write_features(pooled)
    places = np.full((count, len(LAYOUTS), 2), np.nan, dtype="<f4")
    places[rows] = context.read("places.npy")
    results.write_layout(places)
    nearest, cosines = context.read("nearest.npy"), context.read("cosines.npy")
    neighbours = np.full((count, nearest.shape[1]), -1, dtype="<i4")
    neighbours[rows] = rows[nearest]
    similarities = np.full(neighbours.shape, np.nan, dtype="<f4")
    similarities[rows] = cosines
    results.write_neighbours(neighbours, similarities)
    results.write_summary(
        {
            "format": FORMAT,
            "code_version": code_version(),
            "config": context.config.to_json(),
            "weights": context.backbone.to_json(),
            "asked": plan_of(context).to_json(),
            "films": count,
            "dimensions": int(pooled.shape[1]),
            "layouts": list(LAYOUTS),
            "unreadable": context.folder.summary("films")["errors"],
        }
    )
    return {}
