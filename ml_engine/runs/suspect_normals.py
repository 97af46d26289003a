"""The fit films of a detector as a screening queue: those that models fitted on the other patients score highest come
first, each with its hottest region outlined."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.backbone.weights import RANDOM_NOTICE
from ml_engine.core.config import PipelineConfig
from ml_engine.core.score import fusion
from ml_engine.engine import manifest
from ml_engine.engine.fit_scores import FitScore, FitScores, FitScoresMissing
from ml_engine.models import DetectorModel
from ml_engine.runs import run_bucket
from portal.models import Image, ScreeningQueue, User
from portal.sets.screening_queues import Suspect, queue_suspects

CHUNK = 500  # parameters of one query; SQLite allows 999 parameters on old builds


class NoSuspects(Exception):
    """The text is a sentence for the user."""


def queue_least_normal(*, detector: DetectorModel, author: User) -> ScreeningQueue:
    """A screening queue of the detector's fit films by their cross-fitted scores, highest first. Raises NoSuspects, and
    InvalidQueue if none of the films may be shown."""
    folder = run_bucket.here(detector.run)
    if not FitScores(folder).is_there:
        raise NoSuspects(
            f"The detector {detector} has no cross-fitted scores; fit one with cross_fit, as preset default does."
        )
    try:
        scored = FitScores(folder).films()
    except FitScoresMissing as problem:
        raise NoSuspects(f"The detector {detector} cannot be used: {problem}") from problem
    films = _films(detector, [score.image for score in scored])
    outlines = _outlines(detector, folder, scored, films)
    by_score = sorted(scored, key=lambda score: -score.fused)
    suspects = [
        Suspect(films[score.image].pk, outlines.get(score.image, [])) for score in by_score if score.image in films
    ]
    return queue_suspects(
        site=detector.site,
        name=f"Least normal of {detector}"[:100],
        suspects=suspects,
        split=detector.split,
        author=author,
        source=_source(detector),
    )


def _source(detector: DetectorModel) -> str:
    """Where the order comes from; the notice of random weights is never cut off."""
    notice = f" · {RANDOM_NOTICE}" if detector.random_weights else ""
    return f"fit films of {detector.split}, by the detector {detector}"[: 300 - len(notice)] + notice


def _films(detector: DetectorModel, addresses: list[str]) -> dict[str, Image]:
    """UUID -> film, for the films that still exist."""
    films: dict[str, Image] = {}
    for start in range(0, len(addresses), CHUNK):
        chunk = [address for address in addresses[start : start + CHUNK] if address]
        images = Image.objects.filter(dataset__site=detector.site, uuid__in=chunk).only("uuid", "rows", "columns")
        films |= {str(image.uuid): image for image in images}
    return films


def _outlines(
    detector: DetectorModel, folder: Path, scored: Sequence[FitScore], films: dict[str, Image]
) -> dict[str, list[dict[str, float]]]:
    """UUID -> the box around the hottest region, in original pixels; empty if the run's maps are gone."""
    stages = folder / "stages"
    try:
        maps = FitScores(folder).maps()
        rows = {row.image: number for number, row in enumerate(manifest.read(folder / "images.csv"))}
        original_from_input = files.open_npy(stages / "original_from_input.npy")
        input_from_canonical = files.open_npy(stages / "input_from_canonical.npy")
        mean, std = _standardisation(run_bucket.model_here(detector))
    except (FileNotFoundError, FitScoresMissing):
        return {}
    stride = PipelineConfig.from_json(detector.config).stride
    outlines: dict[str, list[dict[str, float]]] = {}
    for number, score in enumerate(scored):
        film = films.get(score.image)
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
    """Mean and standard deviation of the detector's maps, float32 (2, h, w), or None. Loaded without torch."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        return tuple(file.get_tensor(name) if name in names else None for name in ("mean", "std"))  # type: ignore[return-value]


def _composed(a_from_b: NDArray[np.float64], b_from_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) affine a_from_c."""
    linear = a_from_b[:, :2] @ b_from_c[:, :2]
    return np.column_stack([linear, a_from_b[:, :2] @ b_from_c[:, 2] + a_from_b[:, 2]])


def hottest_region(fused: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The hottest patch and the patches connected to it by their sides whose score is at least half-way from the median
    to its score, bool (h, w). All False for a map without a score."""
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
    """The box around the region's patches in original pixels, clipped to the film."""
    patch_rows, patch_columns = np.nonzero(region)
    corners = np.array(
        [
            (x * stride, y * stride)
            for y in (patch_rows.min(), patch_rows.max() + 1)
            for x in (patch_columns.min(), patch_columns.max() + 1)
        ],
        dtype=np.float64,
    )
    corners_original = corners @ original_from_canonical[:, :2].T + original_from_canonical[:, 2]
    left, top = np.clip(corners_original.min(axis=0), 0, (columns - 1, rows - 1))
    right, bottom = np.clip(corners_original.max(axis=0), (left + 1, top + 1), (columns, rows))
    return {"x": float(left), "y": float(top), "width": float(right - left), "height": float(bottom - top)}
