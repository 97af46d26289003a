"""How well the maps of an evaluated part localise the boxes on its films.

Maps and boxes are compared on the canonical patch grid: a patch is in a box if its centre, mapped to the film by the
inverse alignment, is. No map is resampled, and all films have the same number of patches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import figures, statistics
from analysis.evaluation.disk_cache import cached
from analysis.evaluation.evaluate import STEPS, ScoredPart
from analysis.evaluation.run_results import results_of
from analysis.figures.palette import Kind, Theme
from analysis.models import Evaluation
from analysis.sections.marked_lesions import MarkedFilm, marked_films
from analysis.statistics.subgroups import LEAST_FILMS
from ml_engine.engine.scored_folder import ScoredFolder

FALSE_POSITIVES = 0.3  # the limit of AUPRO
CURVE_POINTS = 300  # of a drawn FROC curve
NO_TRUTH = (
    "No abnormal film of {part} with a score has a box, so localisation cannot be measured. Boxes come with "
    "an import (a CSV with x, y, width, height), or from readings made without the model."
)


@dataclass(frozen=True)
class _Film:
    """maps: kind of score -> (H, W); inside: (L, H, W) bool, the patches in each box; findings: of each box."""

    patient: int
    maps: dict[Kind, NDArray[np.float64]]
    inside: NDArray[np.bool_]
    findings: tuple[str, ...]


def localise(evaluation: Evaluation, scored: ScoredPart, *, weight: float) -> dict[str, Any]:
    """JSON: films, boxes and their sources; pixel AUROC, AUPRO, pointing game and FROC by kind of score; the share of
    boxes in which fused reaches the run's threshold for heatmaps; and results by finding. Only films with boxes count,
    and for FROC the normal films as well, on which every mark is false; without any film with boxes, `reason` says why.
    Abnormal films without boxes count for nothing, since it is not known where their lesions are. Raises
    CannotEvaluate when the run's folder is gone."""
    abnormal = [image for image, label in zip(scored.images, scored.labels, strict=True) if label == 1]
    marked = marked_films(abnormal, cutoff=evaluation.label_cutoff)
    report: dict[str, Any] = {
        "part": scored.part,
        "weight": weight,
        "films": len(marked),
        "abnormal": len(abnormal),
        "normal": len(scored.images) - len(abnormal),
        "boxes": sum(len(film.boxes) for film in marked.values()),
        "sources": dict(Counter(film.source for film in marked.values())),
        "reason": "" if marked else NO_TRUTH.format(part=scored.part),
    }
    if not marked:
        return report
    boxes_of_films = json.dumps([(image, marked[image].boxes) for image in sorted(marked)]).encode()
    name = f"localisation-{scored.part}-{round(weight * STEPS):03}"
    return report | cached(
        evaluation,
        name,
        content=scored.digest + boxes_of_films + b"marks on normal films",
        compute=lambda: _compute(evaluation, scored, marked, weight=weight),
    )


def _compute(
    evaluation: Evaluation, scored: ScoredPart, marked: dict[str, MarkedFilm], *, weight: float
) -> dict[str, Any]:
    with results_of(evaluation.run) as folder:
        threshold = folder.summary.threshold_map
        films = _films(folder, scored, marked, weight=weight)
        normal = _films(folder, scored, _without_boxes(scored), weight=weight)
    at_run_weight = round(weight * STEPS) == round(float(evaluation.metrics["weight"]) * STEPS)
    level = threshold if at_run_weight else None
    return {
        "grid": list(films[0].inside.shape[1:]),
        "outside": sum(int((~film.inside.any(axis=(1, 2))).sum()) for film in films),
        "kinds": {kind: _of_kind(films, normal, kind) for kind in ("global", "region", "fused")},
        "level": level,
        "hits": _hits(films, level),
        "findings": _by_finding(films, level),
    }


def _without_boxes(scored: ScoredPart) -> dict[str, MarkedFilm]:
    """The normal films, which have no lesion."""
    normal = [image for image, label in zip(scored.images, scored.labels, strict=True) if label == 0]
    return {image: MarkedFilm((), "") for image in normal}


def _films(folder: ScoredFolder, scored: ScoredPart, marked: dict[str, MarkedFilm], *, weight: float) -> list[_Film]:
    weights: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": weight}
    films = []
    for place, image in enumerate(scored.images):
        if image not in marked:
            continue
        row, boxes = int(scored.rows[place]), marked[image].boxes
        heatmaps = {kind: folder.heatmap_of(row, weight=at) for kind, at in weights.items()}
        fused = heatmaps["fused"]
        films.append(
            _Film(
                patient=int(scored.patients[place]),
                maps={kind: heatmap.fused for kind, heatmap in heatmaps.items()},
                inside=patches_in_boxes(
                    np.array([box[:4] for box in boxes]).reshape(-1, 4),
                    fused.original_from_canonical,
                    stride=float(fused.stride),
                    shape=fused.fused.shape,
                ),
                findings=tuple(box[4] for box in boxes),
            )
        )
    return films


def patches_in_boxes(
    boxes: NDArray[np.float64], original_from_canonical: NDArray[np.float64], *, stride: float, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(L, H, W) bool: the patches whose centre lies in each of the `boxes`, after `original_from_canonical` (2, 3).

    boxes (L, 4) are x, y, width, height in original pixels. A box without any patch centre gets the patch that contains
    the box's centre, or none if that is outside the frame.
    """
    height, width = int(shape[0]), int(shape[1])
    linear, shift = original_from_canonical[:, :2], original_from_canonical[:, 2]
    x, y = np.meshgrid((np.arange(width) + 0.5) * stride, (np.arange(height) + 0.5) * stride)
    across = linear[0, 0] * x + linear[0, 1] * y + shift[0]
    down = linear[1, 0] * x + linear[1, 1] * y + shift[1]
    planes = np.zeros((len(boxes), height, width), dtype=bool)
    for plane, (left, top, wide, high) in zip(planes, boxes, strict=True):
        plane[:] = (across >= left) & (across < left + wide) & (down >= top) & (down < top + high)
        if not plane.any():
            middle = np.linalg.solve(linear, np.array([left + wide / 2, top + high / 2]) - shift) / stride
            column, row = np.floor(middle).astype(int)
            if 0 <= row < height and 0 <= column < width:
                plane[row, column] = True
    return planes


def _of_kind(films: Sequence[_Film], normal: Sequence[_Film], kind: Kind) -> dict[str, Any]:
    maps, regions = [film.maps[kind] for film in films], [film.inside for film in films]
    patients = [film.patient for film in films]
    both = [*films, *normal]
    curve = statistics.froc(
        [film.maps[kind] for film in both], [film.inside for film in both], [film.patient for film in both]
    )
    return {
        "pixel_auroc": asdict(statistics.pixel_auroc(maps, regions, patients)),
        "aupro": asdict(statistics.aupro(maps, regions, patients, limit=FALSE_POSITIVES)),
        "pointing_game": asdict(statistics.pointing_game(maps, regions, patients)),
        "froc": _froc_to_json(curve),
    }


def _froc_to_json(curve: statistics.Froc) -> dict[str, Any]:
    """Plain values, with the points of the curve at which the sensitivity rises."""
    steps = np.flatnonzero(np.diff(curve.sensitivity, prepend=-1.0) > 0) if len(curve.sensitivity) else np.empty(0, int)
    if len(steps) > CURVE_POINTS:
        steps = steps[np.linspace(0, len(steps) - 1, CURVE_POINTS).round().astype(int)]
    plain = asdict(curve) | {
        "false_positives_per_film": curve.false_positives_per_film[steps],
        "sensitivity": curve.sensitivity[steps],
        "thresholds": [float(value) if np.isfinite(value) else None for value in curve.thresholds[steps]],
    }
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}


def _hits(films: Sequence[_Film], level: float | None, finding: str | None = None) -> dict[str, Any]:
    """The share of boxes in which fused reaches the threshold for heatmaps, with an interval by patient."""
    if level is None:
        why = "The heatmap's threshold applies at the run's weight only, or the run has none."
        return asdict(statistics.clustered_rate([])) | {"reason": why}
    hits, patients = [], []
    for film in films:
        reached = film.maps["fused"] >= level
        for plane, name in zip(film.inside, film.findings, strict=True):
            if finding is None or name == finding:
                hits.append(bool((reached & plane).any()))
                patients.append(film.patient)
    return asdict(statistics.clustered_rate(hits, patients))


def _by_finding(films: Sequence[_Film], level: float | None) -> list[dict[str, Any]]:
    """One row per finding of boxes, most films first; below `LEAST_FILMS` films only counts."""
    names = Counter(name for film in films for name in set(film.findings) if name)
    rows = []
    for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0])):
        having = [film for film in films if name in film.findings]
        row: dict[str, Any] = {
            "name": name,
            "films": count,
            "boxes": sum(film.findings.count(name) for film in having),
            "reason": "" if count >= LEAST_FILMS else f"Below {LEAST_FILMS} films no figure is given.",
        }
        if not row["reason"]:
            row |= _of_finding(having, name) | {"hits": _hits(having, level, name)}
        rows.append(row)
    return rows


def _of_finding(films: Sequence[_Film], name: str) -> dict[str, Any]:
    """Results of the fused maps, without the patches in boxes of other findings: no hits and no false alarms."""
    maps, regions = [], []
    for film in films:
        own = np.array([finding == name for finding in film.findings])
        counted = film.inside[own].any(axis=0) | ~film.inside.any(axis=0)
        maps.append(film.maps["fused"][counted][None])
        regions.append(film.inside[own][:, counted][:, None])
    patients = [film.patient for film in films]
    return {
        "pixel_auroc": asdict(statistics.pixel_auroc(maps, regions, patients)),
        "pointing_game": asdict(statistics.pointing_game(maps, regions, patients)),
    }


def froc_of(report: dict[str, Any], *, theme: Theme, random_weights: bool) -> dict[str, Any]:
    """The FROC figure of `localise`, for Plotly."""
    return figures.as_json(figures.froc_figure(froc_curves(report), theme=theme, random_weights=random_weights))


def froc_curves(report: dict[str, Any]) -> list[figures.FrocCurve]:
    """The curves of `localise`."""
    return [figures.FrocCurve(kind, **_drawn(results["froc"])) for kind, results in report["kinds"].items()]


def _drawn(froc: dict[str, Any]) -> dict[str, Any]:
    names = (
        "false_positives_per_film", "sensitivity", "rates", "at_rates", "low", "high", "mean_sensitivity", "mean_low",
        "mean_high", "films", "lesions", "confidence", "reason",
    )  # fmt: skip
    return {name: froc[name] for name in names}
