"""The fit films of a detector as a screening queue: those that models of the other patients find least normal first,
each with its hottest region outlined."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.score import fusion
from ml_engine.engine import manifest
from ml_engine.engine.fit_scores import FitScore, FitScores, FitScoresMissing
from ml_engine.models import DetectorModel
from ml_engine.runs import paths
from portal.models import Image, ScreeningQueue, User
from portal.sets.screening_queues import Suspect, queue_suspects

CHUNK = 500  # rows a query may name; SQLite allows 999 parameters on old builds


class NoSuspects(Exception):
    """A sentence for the user."""


def queue_least_normal(*, detector: DetectorModel, author: User) -> ScreeningQueue:
    """A queue of the detector's fit films by their cross-fitted scores, highest first. Raises NoSuspects, and
    InvalidQueue where no film may be shown."""
    folder = paths.run_folder(detector.run.uuid)
    if not FitScores(folder).is_there:
        raise NoSuspects(
            f"The detector {detector} has no cross-fitted scores; fit one with cross_fit, as preset default does."
        )
    try:
        scored = FitScores(folder).films()
    except FitScoresMissing as problem:
        raise NoSuspects(f"The detector {detector} cannot be used: {problem}") from problem
    found = _images(detector, [film.image for film in scored])
    outlines = _outlines(detector, folder, scored, found)
    by_score = sorted(scored, key=lambda film: -film.fused)
    suspects = [Suspect(found[film.image].pk, outlines.get(film.image, [])) for film in by_score if film.image in found]
    return queue_suspects(
        site=detector.site,
        name=f"Least normal of {detector}"[:100],
        suspects=suspects,
        split=detector.split,
        author=author,
        source=f"fit films of {detector.split}, by the detector {detector}",
    )


def _images(detector: DetectorModel, addresses: list[str]) -> dict[str, Image]:
    """Address -> film, of those that are still there."""
    found: dict[str, Image] = {}
    for start in range(0, len(addresses), CHUNK):
        chunk = [address for address in addresses[start : start + CHUNK] if address]
        films = Image.objects.filter(dataset__site=detector.site, uuid__in=chunk).only("uuid", "rows", "columns")
        found |= {str(film.uuid): film for film in films}
    return found


def _outlines(
    detector: DetectorModel, folder: Path, scored: Sequence[FitScore], found: dict[str, Image]
) -> dict[str, list[dict[str, float]]]:
    """Address -> the box around the hottest region, in original pixels; nothing where the run's maps are gone."""
    stages = folder / "stages"
    try:
        maps = FitScores(folder).maps()
        rows = {row.image: number for number, row in enumerate(manifest.read(folder / "images.csv"))}
        original_from_input = files.open_npy(stages / "original_from_input.npy")
        input_from_canonical = files.open_npy(stages / "input_from_canonical.npy")
        mean, std = _standardisation(paths.model_path(detector.sha256))
    except (FileNotFoundError, FitScoresMissing):
        return {}
    stride = PipelineConfig.from_json(detector.config).stride
    outlines: dict[str, list[dict[str, float]]] = {}
    for number, score in enumerate(scored):
        film = found.get(score.image)
        if film is None:
            continue
        values = fusion.standardised(maps[number][None], mean, std)
        region = hottest_region(fusion.fuse(values, detector.fusion_weight)[0])
        row = rows[score.image]
        affine = _composed(original_from_input[row], input_from_canonical[row])
        if region.any() and np.isfinite(affine).all():
            outlines[score.image] = [box_around(region, affine, stride=stride, rows=film.rows, columns=film.columns)]
    return outlines


def _standardisation(path: Path) -> tuple[Any, Any]:
    """Mean and standard deviation of the detector's maps, float32 (2, h, w); None without. Read without torch."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        return tuple(file.get_tensor(name) if name in names else None for name in ("mean", "std"))  # type: ignore[return-value]


def _composed(a_from_b: NDArray[np.float64], b_from_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) affine a_from_c."""
    linear = a_from_b[:, :2] @ b_from_c[:, :2]
    return np.column_stack([linear, a_from_b[:, :2] @ b_from_c[:, 2] + a_from_b[:, 2]])


def hottest_region(fused: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The patches (h, w) joined to the hottest one by their sides, at least half-way from the median to it; none of a
    map without a score."""
    region = np.zeros(fused.shape, dtype=np.bool_)
    if np.isnan(fused).all():
        return region
    start = np.unravel_index(np.nanargmax(fused), fused.shape)
    hot = fused >= (fused[start] + np.nanmedian(fused)) / 2
    waiting = deque([(int(start[0]), int(start[1]))])
    region[start] = True
    while waiting:
        row, column = waiting.popleft()
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < fused.shape[0] and 0 <= c < fused.shape[1] and hot[r, c] and not region[r, c]:
                region[r, c] = True
                waiting.append((r, c))
    return region


def box_around(
    region: NDArray[np.bool_], original_from_canonical: NDArray[np.float64], *, stride: int, rows: int, columns: int
) -> dict[str, float]:
    """The box around the region's patches in original pixels, within the film."""
    at, across = np.nonzero(region)
    corners = np.array(
        [(x * stride, y * stride) for y in (at.min(), at.max() + 1) for x in (across.min(), across.max() + 1)],
        dtype=np.float64,
    )
    moved = corners @ original_from_canonical[:, :2].T + original_from_canonical[:, 2]
    left, top = np.clip(moved.min(axis=0), 0, (columns - 1, rows - 1))
    right, bottom = np.clip(moved.max(axis=0), (left + 1, top + 1), (columns, rows))
    return {"x": float(left), "y": float(top), "width": float(right - left), "height": float(bottom - top)}
