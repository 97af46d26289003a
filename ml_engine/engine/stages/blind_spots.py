"""Blind spots: lesions of known size, contrast and place pasted into normal films, and the scores before and after.

A film with a pasted lesion keeps the alignment of the original film, so that the two differ only by the lesion.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.bank.detectors import scorer_of
from ml_engine.core.detector import pipeline
from ml_engine.core.errors import EngineError
from ml_engine.core.film.canonical_films import canonical_batches
from ml_engine.core.film.lungs import find_lungs, lungs_of
from ml_engine.core.film.preprocess import intensities, resized
from ml_engine.core.geometry import apply, invert
from ml_engine.core.score import fusion
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine.run_folder import RunSpec, StageProgress
from ml_engine.engine.stages import changed_films, read_and_align
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.study_plans import LesionPlan
from portal.imaging import lesions
from portal.imaging.lesions import Lesion

NOMINAL_WIDTH_MM = 400.0  # assumed for a film whose header has no pixel spacing
LUNG_FILMS = 50  # films that the lungs are located in
TRIES = 100  # draws of a place before giving up on one inside the film
MAPS = ("global", "region", "fused")
FILM_FIELDS = ("image", "filename", "patient", "nominal", "no_room") + tuple(
    f"{name}_{what}" for name in MAPS for what in ("score", "highest", "marked")
)
LESION_FIELDS = (
    "image", "filename", "patient", "kind", "size_mm", "contrast", "place", "x_original_px", "y_original_px",
    "x_canonical_px", "y_canonical_px", "patch_row", "patch_column", "cell", "masked_off", "masked_share",
    "cells_touched", "patches", "local_deviation",
) + tuple(
    f"{name}_{what}"
    for name in MAPS
    for what in (
        "score_before", "score_after", "highest_before", "highest_after", "marked_before", "marked_after",
        "place_before", "place_after", "found_there", "peak_there",
    )
)  # fmt: skip
Floats = NDArray[np.float32]
Reals = NDArray[np.float64]


def stages(spec: RunSpec) -> tuple[tuple[str, Any], ...]:
    plan = LesionPlan.from_json(spec.asked.get("lesions", {}))
    return (
        ("films", _read_films),
        ("align", read_and_align.align),
        ("lungs", _find_lungs),
        ("lesions", partial(_paste_all, plan)),
        ("results", partial(_results, plan)),
    )


def thresholds(detector: pipeline.FittedDetector) -> dict[str, Any]:
    """The threshold (`pipeline.threshold`) of each map at its fusion weight. Raises EngineError if there are too few
    calibration films for one."""
    by_map = {name: pipeline.threshold(detector, weight=weight) for name, weight in weights_of(detector).items()}
    for threshold in by_map.values():
        if threshold["value"] is None:
            raise EngineError(f"The detector has no threshold, so no lesion can count as detected. {threshold['note']}")
    return by_map


def weights_of(detector: pipeline.FittedDetector) -> dict[str, float]:
    """The fusion weight of each map of `MAPS`."""
    return dict(zip(MAPS, (0.0, 1.0, detector.choice.weight), strict=True))


def _read_films(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    thresholds(context.detector)  # refuse now, not after hours of pasting
    return read_and_align.read_films(context, progress)


def _find_lungs(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes lungs.npy (2, S, S) bool: the pixels that are lung in most of the aligned films."""
    inputs, affines = context.inputs(), context.read("input_from_canonical.npy")
    rows = context.readable()[:LUNG_FILMS]

    def aligned() -> Iterator[Floats]:
        for done, (_, batch) in enumerate(canonical_batches(inputs, affines, rows=rows, batch=1)):
            yield batch[0, 0].numpy()
            progress(done + 1, len(rows))

    lungs, how = find_lungs(aligned(), context.config.size)
    files.write_npy(context.path("lungs.npy"), lungs)
    return {"how": how, "share": [float(lung.mean()) for lung in lungs]}


# one film


@dataclass(frozen=True)
class FilmWithLungs:
    """A film at its original size: ``gray`` (H, W) float32 in [0, 1]; ``spacing_mm`` (y, x) from its header or, if
    ``is_nominal``, for a film `NOMINAL_WIDTH_MM` wide; ``original_from_canonical`` (2, 3); ``lungs`` (2, S, S) bool in
    the canonical image, located in this film if possible, otherwise by the vote of all films."""

    gray: Floats
    pixel_aspect: float
    spacing_mm: tuple[float, float]
    is_nominal: bool
    original_from_canonical: Reals
    lungs: NDArray[np.bool_]

    @cached_property
    def lungs_original(self) -> NDArray[np.bool_]:
        """The lungs in original pixels, (2, H, W) bool."""
        from scipy import ndimage

        height, width = self.gray.shape
        m = invert(self.original_from_canonical).numpy()
        y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
        rows = m[1, 0] * x + m[1, 1] * y + m[1, 2] - 0.5
        columns = m[0, 0] * x + m[0, 1] * y + m[0, 2] - 0.5
        shares = [ndimage.map_coordinates(lung.astype(np.float32), [rows, columns], order=1) for lung in self.lungs]
        return np.stack(shares) > 0.5


@dataclass(frozen=True)
class DrawnLesion:
    """A lesion to paste: kind, size, number of its place in the film, and shape."""

    kind: str
    size_mm: float
    place: int
    shape: Lesion


def _film(context: RunContext, row: int, vote: NDArray[np.bool_]) -> FilmWithLungs:
    array = changed_films.decode(context, row)
    gray = intensities(array, context.config)
    nominal = NOMINAL_WIDTH_MM / gray.shape[1]
    inputs, affines = context.inputs(), context.read("input_from_canonical.npy")
    [(_, aligned)] = canonical_batches(inputs, affines, rows=np.array([row]), batch=1)
    own_lungs = lungs_of(aligned[0, 0].numpy())
    return FilmWithLungs(
        gray=gray,
        pixel_aspect=array.pixel_aspect,
        spacing_mm=array.spacing_mm or (nominal * array.pixel_aspect, nominal),
        is_nominal=array.spacing_mm is None,
        original_from_canonical=read_and_align.original_from_canonical(context)[row],
        lungs=vote if own_lungs is None else own_lungs,
    )


def draw_lesions(
    film: FilmWithLungs, vote: NDArray[np.bool_], plan: LesionPlan, seed: tuple[int, int]
) -> list[DrawnLesion]:
    """All lesions of a film: every size at each place, so that sizes and contrasts are compared at the same places. A
    place is drawn inside the lungs of most films (``vote``); a lesion that does not fit there is left out."""
    drawn = []
    for number, kind in enumerate(lesions.KINDS):
        if kind not in plan.kinds:
            continue
        for place in range(plan.places):
            stream = (*seed, number, place)
            rng = np.random.default_rng(stream)
            side = int(rng.integers(0, 2))
            centre = _draw_place(film, vote, rng) if kind == "nodule" else None
            for size in plan.sizes(kind):
                lesion = _lesion(film, kind, size, side=side, centre=centre, rng=np.random.default_rng((*stream, 1)))
                if lesion is not None:
                    drawn.append(DrawnLesion(kind, size, place, lesion))
    return drawn


def _draw_place(film: FilmWithLungs, vote: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float] | None:
    """A random point (x, y) of the lungs in original pixels; None if no draw lies inside the film."""
    inside = np.argwhere(vote.any(0))
    height, width = film.gray.shape
    for _ in range(TRIES):
        row, column = inside[rng.integers(0, len(inside))]
        at = np.array([[column + rng.random(), row + rng.random()]])
        x, y = apply(film.original_from_canonical, at).numpy()[0]
        if 0 <= x < width and 0 <= y < height:
            return float(x), float(y)
    return None


def _lesion(
    film: FilmWithLungs,
    kind: str,
    size: float,
    *,
    side: int,
    centre: tuple[float, float] | None,
    rng: np.random.Generator,
) -> Lesion | None:
    if kind == "nodule":
        if centre is None:
            return None
        return lesions.nodule(film.gray.shape, centre, size_mm=size, spacing_mm=film.spacing_mm, rng=rng)
    draw = lesions.effusion if kind == "effusion" else lesions.pneumothorax
    return draw(film.lungs_original[side], side=2 * side - 1, size_mm=size, spacing_mm=film.spacing_mm)


# scoring


@dataclass(frozen=True)
class ScoredFilm:
    """A film's standardised, fused map (h, w) at each weight of `weights_of`, and its film scores."""

    fused: dict[str, Reals]
    scores: dict[str, float]

    def highest(self, name: str, patches: NDArray[np.int64] | None = None) -> float:
        """The highest patch score of a map, among ``patches`` (n, 2) if they are named; NaN if all are masked."""
        values = self.fused[name] if patches is None else self.fused[name][patches[:, 0], patches[:, 1]]
        unmasked = values[~np.isnan(values)]
        return float(unmasked.max()) if unmasked.size else float("nan")


def _score(context: RunContext, scorer: Any, inputs: Floats, row: int) -> Iterator[ScoredFilm]:
    """Scores prepared films (N, S, S), all with the alignment of the film at ``row``."""
    detector = context.detector
    affines = np.repeat(context.read("input_from_canonical.npy")[row][None], len(inputs), axis=0)
    for film in changed_films.raw_maps(context, scorer, inputs, affines):
        maps = film[None]
        calibrated = detector.calibration
        values = fusion.standardised(maps, calibrated.mean, calibrated.std)
        scores = pipeline.score_maps(maps, detector)
        yield ScoredFilm(
            {name: fusion.fuse(values, weight)[0] for name, weight in weights_of(detector).items()},
            {"global": float(scores.whole[0]), "region": float(scores.region[0]), "fused": float(scores.fused[0])},
        )


def _paste_all(plan: LesionPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes one file per film in lesions/, so that a restart skips the films already done."""
    keep, rows = context.mask(), context.readable()
    scorer = scorer_of(context.detector.model, keep, context.config, context.device)
    vote, by_map = context.read("lungs.npy"), thresholds(context.detector)
    for done, row in enumerate(rows.tolist()):
        path = context.path(f"lesions/{row:06}.json")
        if not path.is_file():
            files.write_json(path, _paste_into(context, plan, row, scorer=scorer, vote=vote, by_map=by_map))
        progress(done + 1, len(rows))
    return {"thresholds": by_map}


def _paste_into(
    context: RunContext, plan: LesionPlan, row: int, *, scorer: Any, vote: NDArray[np.bool_], by_map: dict[str, Any]
) -> dict[str, Any]:
    film = _film(context, row, vote)
    drawn = draw_lesions(film, vote, plan, (context.config.seed, row))
    pairs = [(lesion, contrast) for lesion in drawn for contrast in plan.contrasts]
    before = next(_score(context, scorer, _prepared(film, film.gray, context)[None], row))
    pasted = []
    for first in range(0, len(pairs), context.config.batch):
        batch = pairs[first : first + context.config.batch]
        images = [lesions.paste(film.gray, lesion.shape, contrast) for lesion, contrast in batch]
        inputs = np.stack([_prepared(film, image, context) for image in images])
        for (lesion, contrast), after in zip(batch, _score(context, scorer, inputs, row), strict=True):
            pasted.append(_facts(context, film, lesion, contrast, before=before, after=after, by_map=by_map))
    about = {"row": row, "nominal": film.is_nominal, "no_room": _planned_count(plan) - len(pairs)}
    return about | _marked(before, by_map, "") | {"lesions": pasted}


def _planned_count(plan: LesionPlan) -> int:
    return plan.places * len(plan.contrasts) * sum(len(plan.sizes(kind)) for kind in plan.kinds)


def _prepared(film: FilmWithLungs, gray: Floats, context: RunContext) -> Floats:
    image: Floats = resized(gray, context.config, pixel_aspect=film.pixel_aspect).image.numpy()
    return image


def _facts(
    context: RunContext,
    film: FilmWithLungs,
    drawn: DrawnLesion,
    contrast: float,
    *,
    before: ScoredFilm,
    after: ScoredFilm,
    by_map: dict[str, Any],
) -> dict[str, Any]:
    config, keep = context.config, context.mask()
    canonical_from_original = invert(film.original_from_canonical)
    x, y = apply(canonical_from_original, np.array([drawn.shape.centre])).numpy()[0]
    last = config.patches - 1
    row, column = (int(np.clip(value // config.stride, 0, last)) for value in (y, x))
    patches = _patches(apply(canonical_from_original, drawn.shape.points()).numpy(), config.stride, last)
    cells = patches * config.grid // config.patches
    masked = ~keep[patches[:, 0], patches[:, 1]]
    facts: dict[str, Any] = {
        "kind": drawn.kind,
        "size_mm": drawn.size_mm,
        "contrast": contrast,
        "place": drawn.place,
        "x_original_px": float(drawn.shape.centre[0]),
        "y_original_px": float(drawn.shape.centre[1]),
        "x_canonical_px": float(x),
        "y_canonical_px": float(y),
        "patch_row": row,
        "patch_column": column,
        "cell": row * config.grid // config.patches * config.grid + column * config.grid // config.patches,
        "masked_off": bool(not keep[row, column]),
        "masked_share": float(masked.mean()),
        "cells_touched": len(np.unique(cells, axis=0)),
        "patches": len(patches),
        "local_deviation": _local_deviation(film.gray, drawn.shape),
    }
    for name in before.scores:
        highest_there = after.highest(name, patches)
        facts[f"{name}_place_before"] = _plain(before.highest(name, patches))
        facts[f"{name}_place_after"] = _plain(highest_there)
        facts[f"{name}_found_there"] = bool(highest_there > by_map[name]["value"])
        facts[f"{name}_peak_there"] = bool(highest_there >= after.highest(name))
    return facts | _marked(after, by_map, "_after") | _marked(before, by_map, "_before")


def _marked(scored: ScoredFilm, by_map: dict[str, Any], when: str) -> dict[str, Any]:
    """For each map: the film score, the highest patch, and whether that patch exceeds the threshold."""
    columns: dict[str, Any] = {}
    for name, score in scored.scores.items():
        highest = scored.highest(name)
        columns |= {f"{name}_score{when}": score, f"{name}_highest{when}": highest}
        columns[f"{name}_marked{when}"] = bool(highest > by_map[name]["value"])
    return columns


def _patches(points: Reals, stride: int, last: int) -> NDArray[np.int64]:
    """The patches (n, 2) as (row, column) that contain the canonical points (m, 2) as (x, y); a point outside the image
    belongs to the nearest patch."""
    places = np.clip(np.floor(points[:, ::-1] / stride), 0, last).astype(np.int64)
    return np.unique(places, axis=0)


def _local_deviation(gray: Floats, lesion: Lesion) -> float:
    """The standard deviation of the original gray values under the lesion."""
    return float(gray[lesion.rows, lesion.columns][lesion.change != 0].std())


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


# results


def _results(plan: LesionPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes lesions.csv, films.csv and blind_spots.json."""
    folder = context.folder
    per_film = [files.read_json(context.path(f"lesions/{row:06}.json")) for row in context.readable().tolist()]
    film_lines, lesion_lines = [], []
    for film in per_film:
        row = context.rows[film["row"]]
        about = {"image": row.image, "filename": row.filename, "patient": row.patient or f"row {film['row']}"}
        film_lines.append(about | {name: value for name, value in film.items() if name != "lesions"})
        lesion_lines += [about | lesion for lesion in film["lesions"]]
    if not lesion_lines:
        raise EngineError("No lesion fits into any film: check the alignment, or choose smaller sizes.")
    files.write_bytes(folder.path / "films.csv", _table(FILM_FIELDS, film_lines).encode())
    files.write_bytes(folder.path / "lesions.csv", _table(LESION_FIELDS, lesion_lines).encode())
    detector, config = context.detector, context.config
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": detector.weights,
        "config": config.to_json(),
        "note": detector.note,
        "asked": plan.to_json(),
        "seed": config.seed,
        "fusion_weight": detector.choice.weight,
        "false_alarm_rate": config.false_alarm_rate,
        "thresholds": folder.summary("lesions")["thresholds"],
        "grid": config.grid,
        "size": config.size,
        "stride": config.stride,
        "mask": context.mask().tolist(),
        "lungs": folder.summary("lungs"),
        "films": len(film_lines),
        "films_of_nominal_width": sum(film["nominal"] for film in per_film),
        "nominal_width_mm": NOMINAL_WIDTH_MM,
        "lesions": len(lesion_lines),
        "no_room": sum(film["no_room"] for film in per_film),
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
    }
    files.write_json(folder.path / "blind_spots.json", summary)
    return {}


def _table(names: tuple[str, ...], lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_value(line[name]) for name in names] for line in lines)
    return text.getvalue()


def _csv_value(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else value
