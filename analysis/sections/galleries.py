"""Galleries of an evaluated part: the most confident and the worst calls at an operating point, each film with contour
lines of its heatmap."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import statistics
from analysis.evaluation.evaluate import ScoredPart, parts_at
from analysis.evaluation.operating_points import OperatingResult
from analysis.evaluation.run_results import results_of
from analysis.maps.head_maps import shown_heatmaps
from analysis.models import Evaluation
from analysis.sections.marked_lesions import marked_films
from analysis.sections.wrong_reasons import peak_misses_boxes
from ml_engine.engine.heatmap import Heatmap
from portal.imaging.film import PixelFacts
from portal.labels.events import labels_at
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
    """`name` is that of the film's file where it is kept. `mean_z` and `top_z` are the parts of the score, see
    `evaluate.parts_at`. `lines` is an SVG path, in original pixels, where the film's map crosses the run's threshold
    for heatmaps, or ""; `hottest` is the centre (x, y) of its highest patch in original pixels. `boxes` are x, y,
    width, height, finding in original pixels; `misses_boxes` says whether the highest patch lies outside all of them,
    and is None without boxes."""

    image: str
    name: str
    label: str
    findings: tuple[str, ...]
    score: float
    mean_z: float | None
    top_z: float | None
    columns: int
    rows: int
    pixel_aspect: float
    lines: str
    hottest: tuple[float, float] | None
    boxes: tuple[tuple[float, float, float, float, str], ...] = ()
    misses_boxes: bool | None = None
    is_of_head: bool = False  # lines and hottest are of what the patches contribute to the semi-supervised head

    @property
    def height(self) -> float:
        """Height of the film as shown, in pixel widths."""
        return self.rows * self.pixel_aspect

    def segments(self) -> NDArray[np.float64]:
        """`lines` as (S, 2, 2): the two ends (x, y) of each stroke."""
        return np.array(re.findall(r"[ML](\S+) ([^ML]+)", self.lines), dtype=np.float64).reshape(-1, 2, 2)

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
        shown = shown_films(evaluation, scored, visible[(at - 1) * PAGE : at * PAGE], weight=result.weight)
        gallery_pages.append(GalleryPage(kind=name, films=len(visible), page=at, pages=pages, shown=shown))
    return gallery_pages


def shown_films(
    evaluation: Evaluation, scored: ScoredPart, rows: list[int], *, weight: float
) -> tuple[GalleryFilm, ...]:
    """The films at these rows of the part, with their maps. Raises CannotEvaluate when the run's folder is gone."""
    run, images = evaluation.run, [scored.images[row] for row in rows]
    films = {
        str(film.uuid): film
        for film in Image.objects.filter(uuid__in=images).only("uuid", "rows", "columns", "facts", "original_name")
    }
    labels = labels_at([film.pk for film in films.values()], evaluation.label_cutoff)
    abnormal = [scored.images[row] for row in rows if scored.labels[row] == 1]
    marked = marked_films(abnormal, cutoff=evaluation.label_cutoff)
    scores = scored.scores_at(weight)
    parts = parts_at(run, scored.rows[rows], weight=weight)
    with results_of(run) as folder:
        maps = list(shown_heatmaps(folder, run, scored, rows, weight=weight))
    shown = []
    for place, (row, image) in enumerate(zip(rows, images, strict=True)):
        film = films.get(image)
        if film is None:  # it was erased since
            continue
        heatmap, is_of_head = maps[place]
        boxes = marked[image].boxes if image in marked else ()
        shown.append(
            GalleryFilm(
                image=image,
                name=str(film),
                label="abnormal" if scored.labels[row] else "normal",
                findings=labels[film.pk].findings if film.pk in labels else (),
                score=float(scores[row]),
                mean_z=None if parts is None else float(parts[place][0]),
                top_z=None if parts is None else float(parts[place][1]),
                columns=film.columns,
                rows=film.rows,
                pixel_aspect=PixelFacts.from_json(film.facts).aspect,
                lines=_lines(heatmap),
                hottest=heatmap.hottest(),
                boxes=boxes,
                misses_boxes=peak_misses_boxes(heatmap, boxes),
                is_of_head=is_of_head,
            )
        )
    return tuple(shown)


def _lines(heatmap: Heatmap) -> str:
    """`lines` of a GalleryFilm."""
    segments = [] if heatmap.hottest() is None else heatmap.outline().tolist()
    return "".join(f"M{ax:.5g} {ay:.5g}L{bx:.5g} {by:.5g}" for (ax, ay), (bx, by) in segments)
