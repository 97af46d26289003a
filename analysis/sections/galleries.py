"""Galleries of an evaluated part: the most confident and the worst calls at an operating point, each film with contour
lines of its heatmap."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart, parts_at
from analysis.evaluation.operating_points import OperatingResult
from analysis.evaluation.run_results import results_of
from analysis.maps.head_maps import (
    contribution_threshold,
    false_alarm_rate,
    head_heatmap_of,
    is_called_by_head_alone,
)
from analysis.models import Evaluation, ScoreKind
from ml_engine.engine.heatmap import Heatmap
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import Run
from portal.imaging.film import PixelFacts
from portal.models import Image

PAGE = 12
RING = 0.05  # radius of the ring, as a share of the film's longer side
WORDS = {
    "true_positives": "Most confident true positives",
    "false_positives": "Worst false positives",
    "false_negatives": "Worst false negatives",
    "true_negatives": "True negatives nearest the threshold",
    "lowest_abnormal": "Abnormal films with the lowest scores",
    "highest_normal": "Normal films with the highest scores",
}


@dataclass(frozen=True)
class GalleryFilm:
    """`mean_z` and `top_z` are the parts of the score, see `evaluate.parts_at`. `lines` is an SVG path, in original
    pixels, where the film's map crosses the run's threshold for heatmaps, or "";
    `hottest` is the centre (x, y) of its highest patch in original pixels."""

    image: str
    label: str
    score: float
    mean_z: float | None
    top_z: float | None
    columns: int
    rows: int
    pixel_aspect: float
    lines: str
    hottest: tuple[float, float] | None
    is_of_head: bool = False  # lines and hottest are of what the patches contribute to the semi-supervised head

    @property
    def height(self) -> float:
        """Height of the film as shown, in pixel widths."""
        return self.rows * self.pixel_aspect

    @property
    def radii(self) -> tuple[float, float]:
        """Radii of the ring along x and y in original pixels: a circle on the film as shown."""
        radius = RING * max(self.columns, self.height)
        return radius, radius / self.pixel_aspect


@dataclass(frozen=True)
class GalleryPage:
    """A page of the films of one kind. `films` counts those that the person may be shown: how many are hidden in each
    kind would reveal their labels."""

    kind: str
    films: int
    page: int
    pages: int
    shown: tuple[GalleryFilm, ...]

    @property
    def words(self) -> str:
        return WORDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rows_of(scored: ScoredPart, *, weight: float, threshold: float | None) -> dict[str, NDArray[np.int64]]:
    """Kind of gallery -> the films' rows in the part, the ones to review first at the top. Without a threshold no film
    is called abnormal, and the films are sorted by score alone."""
    scores = scored.scores_at(weight).astype(np.float64)  # a threshold may lie between two float32 values
    worst = statistics.worst_cases(scored.labels, scores)
    if threshold is None:
        return {"lowest_abnormal": worst.misses, "highest_normal": worst.false_alarms}
    called = scores >= threshold
    return {
        "true_positives": worst.misses[::-1][called[worst.misses[::-1]]],
        "false_positives": worst.false_alarms[called[worst.false_alarms]],
        "false_negatives": worst.misses[~called[worst.misses]],
        "true_negatives": worst.false_alarms[~called[worst.false_alarms]],
    }


def galleries(
    evaluation: Evaluation,
    scored: ScoredPart,
    result: OperatingResult,
    *,
    hidden: Collection[str],
    kind: str = "",
    page: int = 1,
) -> list[GalleryPage]:
    """The galleries at an operating point, all or of one kind; [] for a kind that does not exist there. Raises
    CannotEvaluate when the run's folder is gone."""
    gallery_pages = []
    for name, rows in rows_of(scored, weight=result.weight, threshold=result.threshold).items():
        if kind and kind != name:
            continue
        visible = [row for row in rows.tolist() if scored.images[row] not in hidden]
        pages = max(1, -(-len(visible) // PAGE))
        at = min(page, pages)
        shown = _shown(evaluation.run, scored, visible[(at - 1) * PAGE : at * PAGE], weight=result.weight)
        gallery_pages.append(GalleryPage(kind=name, films=len(visible), page=at, pages=pages, shown=shown))
    return gallery_pages


def _shown(run: Run, scored: ScoredPart, rows: list[int], *, weight: float) -> tuple[GalleryFilm, ...]:
    films = {
        str(film.uuid): film
        for film in Image.objects.filter(uuid__in=[scored.images[row] for row in rows]).only(
            "uuid", "rows", "columns", "facts"
        )
    }
    scores = scored.scores_at(weight)
    parts = parts_at(run, scored.rows[rows], weight=weight)
    parts_of_row = {} if parts is None else dict(zip(rows, parts.astype(float).tolist(), strict=True))
    with results_of(run) as folder:
        drawn = dict(zip(rows, _drawn_maps(folder, run, scored, rows, weight=weight), strict=True))
    return tuple(
        GalleryFilm(
            image=scored.images[row],
            label="abnormal" if scored.labels[row] else "normal",
            score=float(scores[row]),
            mean_z=parts_of_row[row][0] if row in parts_of_row else None,
            top_z=parts_of_row[row][1] if row in parts_of_row else None,
            columns=film.columns,
            rows=film.rows,
            pixel_aspect=PixelFacts.from_json(film.facts).aspect,
            **drawn[row],
        )
        for row in rows
        if (film := films.get(scored.images[row])) is not None  # otherwise it was erased since
    )


def _drawn_maps(
    folder: ScoredFolder, run: Run, scored: ScoredPart, rows: list[int], *, weight: float
) -> Iterator[dict[str, Any]]:
    """`lines`, `hottest` and `is_of_head` of each film. In galleries of the combined score, the map of a film that the
    head alone calls is the head's."""
    is_combined = scored.kind == ScoreKind.COMBINED
    rate = false_alarm_rate(run) if is_combined else 0.0
    threshold = contribution_threshold(folder) if is_combined else 0.0
    for row in scored.rows[rows].tolist():
        is_of_head = is_combined and is_called_by_head_alone(folder, row, rate=rate)
        if is_of_head:
            heatmap = head_heatmap_of(folder, row, threshold=threshold)
        else:
            heatmap = folder.heatmap_of(row, weight=weight)
        yield _drawn(heatmap) | {"is_of_head": is_of_head}


def _drawn(heatmap: Heatmap) -> dict[str, Any]:
    """`lines` and `hottest` of a GalleryFilm."""
    hottest = heatmap.hottest()
    segments = [] if hottest is None else heatmap.outline().tolist()
    lines = "".join(f"M{ax:.5g} {ay:.5g}L{bx:.5g} {by:.5g}" for (ax, ay), (bx, by) in segments)
    return {"lines": lines, "hottest": hottest}
