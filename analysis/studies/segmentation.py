"""Segmentation examples as in the paper's Fig. 16: films with the patches above the threshold of the fused map, and the
map itself, as SVG in the pixels of the film."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from plotly.colors import sample_colorscale, unlabel_rgb

from analysis.studies.experiments import ExperimentScores, Truth, labels_of
from ml_engine.engine.heatmap import Heatmap
from ml_engine.engine.scored_folder import ScoredFolder

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)  # ranks of the abnormal films shown, so that none is chosen by how well it looks
SHARES_OF_NORMALS = (1.0, 0.5)


@dataclass(frozen=True)
class Segmented:
    """A film, why it was selected (``words``), and what is drawn over it: ``outline``, an SVG path in canonical pixels
    around the marked patches; ``heatmap``, a PNG of the map as a data URL; ``matrix``, the SVG transform from canonical
    to original pixels. ``size`` is the side of the canonical image."""

    film: str
    label: str
    words: str
    score: float
    share_marked: float
    outline: str
    heatmap: str
    matrix: str
    size: int


def chosen(scored: ExperimentScores, truth: Truth, hidden: set[str]) -> list[tuple[int, str]]:
    """Indices into ``scored`` of the films to show, and why: the abnormal films at the quartiles of the score, from the
    highest to the lowest, and the normal films with the highest and the middle score. Without films in ``hidden``."""
    labels = labels_of(scored.films, truth)
    fused = scored.scores["fused"]
    free = np.isfinite(fused) & labels.known & np.array([film not in hidden for film in scored.films], dtype=bool)
    selected: list[tuple[int, str]] = []
    for value, word, shares in ((1, "abnormal", SHARES), (0, "normal", SHARES_OF_NORMALS)):
        places = np.flatnonzero(free & (labels.abnormal == value))
        ranked = places[np.argsort(fused[places], kind="stable")]
        taken: set[int] = set()
        for share in shares:
            if len(ranked) and (place := int(ranked[round(share * (len(ranked) - 1))])) not in taken:
                taken.add(place)
                selected.append((place, f"{word}, {_rank(share)} score"))
    return selected


def _rank(share: float) -> str:
    return {1.0: "highest", 0.75: "upper quartile", 0.5: "middle", 0.25: "lower quartile", 0.0: "lowest"}[share]


def segmented(
    folder: Path,
    experiment: Mapping[str, Any],
    scored: ExperimentScores,
    places: Sequence[tuple[int, str]],
    truth: Truth,
) -> list[Segmented]:
    """The films at these places. Raises EngineError where the experiment's files are gone."""
    results = ScoredFolder(folder / experiment["scores"])
    size = results.summary.size
    shown = []
    for at, words in places:
        row = int(scored.rows[at])
        film = results.heatmap_of(row)
        marked = marked_patches(film.fused, film.threshold)
        shown.append(
            Segmented(
                film=scored.films[at],
                label=truth[scored.films[at]].label,
                words=words,
                score=float(scored.scores["fused"][at]),
                share_marked=float(marked.sum() / max(1, np.isfinite(film.fused).sum())),
                outline=outline(marked, film.stride),
                heatmap=picture(film),
                matrix=matrix(film.original_from_canonical),
                size=size,
            )
        )
    return shown


def marked_patches(fused: NDArray[np.float64], threshold: float | None) -> NDArray[np.bool_]:
    """(h, w) bool; nothing is marked without a threshold."""
    if threshold is None:
        return np.zeros(fused.shape, dtype=np.bool_)
    return np.asarray(np.nan_to_num(fused, nan=-np.inf) >= threshold, dtype=np.bool_)


def outline(marked: NDArray[np.bool_], stride: int) -> str:
    """An SVG path along every edge between a marked and an unmarked patch, in canonical pixels."""
    padded = np.pad(marked, 1)
    steps = []
    for row, column in zip(*np.nonzero(padded[1:] != padded[:-1]), strict=True):  # horizontal edges, above row
        if 1 <= column <= marked.shape[1]:
            steps.append(f"M{(column - 1) * stride} {row * stride}h{stride}")
    for row, column in zip(*np.nonzero(padded[:, 1:] != padded[:, :-1]), strict=True):
        if 1 <= row <= marked.shape[0]:
            steps.append(f"M{column * stride} {(row - 1) * stride}v{stride}")
    return "".join(steps)


def picture(film: Heatmap) -> str:
    """The map as a PNG in a data URL, in inferno over its scale, as in the viewer; transparent where masked and at 0,
    opaque from the threshold on, so that the film stays visible."""
    fused = film.fused
    steps = np.nan_to_num(np.clip(fused / film.high, 0, 1) * 255).round().astype(np.int64)
    pixels = np.empty((*fused.shape, 4), dtype=np.uint8)
    pixels[..., :3] = _INFERNO[steps]
    pixels[..., 3] = np.where(np.isfinite(fused), np.minimum(2 * steps, 255), 0)
    buffer = io.BytesIO()
    Picture.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


_INFERNO = np.array(
    [unlabel_rgb(colour) for colour in sample_colorscale("Inferno", [step / 255 for step in range(256)])]
).round()


def matrix(original_from_canonical: NDArray[np.float64]) -> str:
    """An affine map (2, 3) as an SVG transform."""
    (a, c, e), (b, d, f) = np.asarray(original_from_canonical, dtype=np.float64)
    return f"matrix({a:.6g} {b:.6g} {c:.6g} {d:.6g} {e:.6g} {f:.6g})"
