"""Blind spots: lesions of known size, contrast and place pasted into normal films, each scored beside its film.

A pasted film keeps the alignment of the film that it was made of, so that the two differ by the lesion alone.
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
from ml_engine.engine import decode_films
from ml_engine.engine.run_folder import RunSpec, StageProgress
from ml_engine.engine.stages import read_and_align
from ml_engine.engine.stages.run_context import RunContext
from ml_engine.engine.study_plans import LesionPlan
from portal.imaging import lesions
from portal.imaging.lesions import Lesion

NOMINAL_WIDTH_MM = 400.0  # of a film whose header has no spacing
LUNG_FILMS = 50  # in which the lungs are looked for
TRIES = 100  # draws of a place, until one lies in the film
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


def stages(request: RunSpec) -> tuple[tuple[str, Any], ...]:
    planned = LesionPlan.from_json(request.asked.get("lesions", {}))
    return (
        ("films", _read_films),
        ("align", read_and_align.align),
        ("lungs", _find_lungs),
        ("lesions", partial(_paste_all, planned)),
        ("results", partial(_results, planned)),
    )


def thresholds(detector: pipeline.FittedDetector) -> dict[str, Any]:
    """Where each map is marked, by map: `pipeline.threshold` at its weight. Raises EngineError where the calibration
    films are too few for it."""
    found = {name: pipeline.threshold(detector, weight=weight) for name, weight in weights_of(detector).items()}
    for one in found.values():
        if one["value"] is None:
            raise EngineError(f"The detector has no threshold, so nothing can be called found. {one['note']}")
    return found


def weights_of(detector: pipeline.FittedDetector) -> dict[str, float]:
    return dict(zip(MAPS, (0.0, 1.0, detector.choice.weight), strict=True))


def _read_films(work: RunContext, report: StageProgress) -> dict[str, Any]:
    thresholds(work.detector)  # before the hours that pasting takes
    return read_and_align.read_films(work, report)


def _find_lungs(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """lungs.npy (2, S, S) bool: where the lungs lie in most of the aligned films."""
    inputs, affines = files.open_npy(work.path("inputs.npy")), work.read("input_from_canonical.npy")
    rows = work.readable()[:LUNG_FILMS]

    def aligned() -> Iterator[Floats]:
        for done, (_, some) in enumerate(canonical_batches(inputs, affines, rows=rows, batch=1)):
            yield some[0, 0].numpy()
            report(done + 1, len(rows))

    lungs, how = find_lungs(aligned(), work.config.size)
    files.write_npy(work.path("lungs.npy"), lungs)
    return {"how": how, "share": [float(lung.mean()) for lung in lungs]}


# one film


@dataclass(frozen=True)
class FilmWithLungs:
    """A film at its own size: ``gray`` (H, W) float32 in [0, 1]; ``spacing_mm`` (y, x), from its header or, where
    ``is_nominal``, of a film `NOMINAL_WIDTH_MM` wide; ``original_from_canonical`` (2, 3); ``lungs`` (2, S, S) bool in
    the canonical image, its own where it shows them."""

    gray: Floats
    pixel_aspect: float
    spacing_mm: tuple[float, float]
    is_nominal: bool
    original_from_canonical: Reals
    lungs: NDArray[np.bool_]

    @cached_property
    def lungs_original(self) -> NDArray[np.bool_]:
        """(2, H, W) bool."""
        from scipy import ndimage

        height, width = self.gray.shape
        m = invert(self.original_from_canonical).numpy()
        y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
        rows = m[1, 0] * x + m[1, 1] * y + m[1, 2] - 0.5
        columns = m[0, 0] * x + m[0, 1] * y + m[0, 2] - 0.5
        shares = [ndimage.map_coordinates(lung.astype(np.float32), [rows, columns], order=1) for lung in self.lungs]
        return np.stack(shares) > 0.5


@dataclass(frozen=True)
class Pasted:
    """A lesion to paste: its kind, size, the number of its place on the film, and its shape."""

    kind: str
    size_mm: float
    place: int
    lesion: Lesion


def _film(work: RunContext, row: int, vote: NDArray[np.bool_]) -> FilmWithLungs:
    array = decode_films.read(work.images / work.rows[row].filename, sha256=work.rows[row].sha256)
    gray = intensities(array, work.config)
    nominal = NOMINAL_WIDTH_MM / gray.shape[1]
    inputs, affines = files.open_npy(work.path("inputs.npy")), work.read("input_from_canonical.npy")
    [(_, aligned)] = canonical_batches(inputs, affines, rows=np.array([row]), batch=1)
    own = lungs_of(aligned[0, 0].numpy())
    return FilmWithLungs(
        gray=gray,
        pixel_aspect=array.pixel_aspect,
        spacing_mm=array.spacing_mm or (nominal * array.pixel_aspect, nominal),
        is_nominal=array.spacing_mm is None,
        original_from_canonical=read_and_align.original_from_canonical(work)[row],
        lungs=vote if own is None else own,
    )


def drawn_lesions(
    film: FilmWithLungs, vote: NDArray[np.bool_], planned: LesionPlan, seed: tuple[int, int]
) -> list[Pasted]:
    """All lesions of a film: at each place every size, so that sizes and contrasts are compared at the same places. A
    place is drawn in the lungs where most films have theirs; one without room for the lesion gives none."""
    found = []
    for number, kind in enumerate(lesions.KINDS):
        if kind not in planned.kinds:
            continue
        for place in range(planned.places):
            stream = (*seed, number, place)
            rng = np.random.default_rng(stream)
            side = int(rng.integers(0, 2))
            centre = _place(film, vote, rng) if kind == "nodule" else None
            for size in planned.sizes(kind):
                lesion = _lesion(film, kind, size, side=side, centre=centre, rng=np.random.default_rng((*stream, 1)))
                if lesion is not None:
                    found.append(Pasted(kind, size, place, lesion))
    return found


def _place(film: FilmWithLungs, vote: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float] | None:
    """A point of the lungs, from the canonical image to the film's pixels; None where none lies in the film."""
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
class Scored:
    """One film's maps (2, h, w) by name of `weights_of`: standardised and fused (h, w), and its scores."""

    fused: dict[str, Reals]
    scores: dict[str, float]

    def highest(self, name: str, patches: NDArray[np.int64] | None = None) -> float:
        """The highest patch of a map, of these patches (n, 2) only where given; NaN where all are masked."""
        values = self.fused[name] if patches is None else self.fused[name][patches[:, 0], patches[:, 1]]
        seen = values[~np.isnan(values)]
        return float(seen.max()) if seen.size else float("nan")


def _score(work: RunContext, scorer: Any, inputs: Floats, row: int) -> Iterator[Scored]:
    """Prepared films (N, S, S) that lie as the film of the row does."""
    detector = work.detector
    affines = np.repeat(work.read("input_from_canonical.npy")[row][None], len(inputs), axis=0)
    every = np.arange(len(inputs))
    for _, some in canonical_batches(inputs, affines, rows=every, batch=work.config.batch):
        for features in work.extractor.patches(some, scorer.places):
            maps = scorer.maps(features)[None]
            calibrated = detector.calibration
            values = fusion.standardised(maps, calibrated.mean, calibrated.std)
            found = pipeline.score_maps(maps, detector)
            yield Scored(
                {name: fusion.fuse(values, weight)[0] for name, weight in weights_of(detector).items()},
                {"global": float(found.whole[0]), "region": float(found.region[0]), "fused": float(found.fused[0])},
            )


def _paste_all(planned: LesionPlan, work: RunContext, report: StageProgress) -> dict[str, Any]:
    """One file a film in lesions/, so that what was done before a restart stays done."""
    keep, rows = work.mask(), work.readable()
    scorer = scorer_of(work.detector.model, keep, work.config, work.device)
    vote, marks = work.read("lungs.npy"), thresholds(work.detector)
    for done, row in enumerate(rows.tolist()):
        path = work.path(f"lesions/{row:06}.json")
        if not path.is_file():
            files.write_json(path, _paste_into(work, planned, row, scorer=scorer, vote=vote, marks=marks))
        report(done + 1, len(rows))
    return {"thresholds": marks}


def _paste_into(
    work: RunContext, planned: LesionPlan, row: int, *, scorer: Any, vote: NDArray[np.bool_], marks: dict[str, Any]
) -> dict[str, Any]:
    film = _film(work, row, vote)
    drawn = drawn_lesions(film, vote, planned, (work.config.seed, row))
    pairs = [(one, contrast) for one in drawn for contrast in planned.contrasts]
    before = next(_score(work, scorer, _prepared(film, film.gray, work)[None], row))
    found = []
    for first in range(0, len(pairs), work.config.batch):
        some = pairs[first : first + work.config.batch]
        inputs = np.stack(
            [_prepared(film, lesions.paste(film.gray, one.lesion, contrast), work) for one, contrast in some]
        )
        for (one, contrast), after in zip(some, _score(work, scorer, inputs, row), strict=True):
            found.append(_facts(work, film, one, contrast, before=before, after=after, marks=marks))
    about = {"row": row, "nominal": film.is_nominal, "no_room": _wanted(planned) - len(pairs)}
    return about | _marked(before, marks, "") | {"lesions": found}


def _wanted(planned: LesionPlan) -> int:
    return planned.places * len(planned.contrasts) * sum(len(planned.sizes(kind)) for kind in planned.kinds)


def _prepared(film: FilmWithLungs, gray: Floats, work: RunContext) -> Floats:
    image: Floats = resized(gray, work.config, pixel_aspect=film.pixel_aspect).image.numpy()
    return image


def _facts(
    work: RunContext,
    film: FilmWithLungs,
    one: Pasted,
    contrast: float,
    *,
    before: Scored,
    after: Scored,
    marks: dict[str, Any],
) -> dict[str, Any]:
    config, keep = work.config, work.mask()
    canonical_from_original = invert(film.original_from_canonical)
    x, y = apply(canonical_from_original, np.array([one.lesion.centre])).numpy()[0]
    last = config.patches - 1
    row, column = (int(np.clip(value // config.stride, 0, last)) for value in (y, x))
    patches = _patches(apply(canonical_from_original, one.lesion.points()).numpy(), config.stride, last)
    cells = patches * config.grid // config.patches
    masked = ~keep[patches[:, 0], patches[:, 1]]
    facts: dict[str, Any] = {
        "kind": one.kind,
        "size_mm": one.size_mm,
        "contrast": contrast,
        "place": one.place,
        "x_original_px": float(one.lesion.centre[0]),
        "y_original_px": float(one.lesion.centre[1]),
        "x_canonical_px": float(x),
        "y_canonical_px": float(y),
        "patch_row": row,
        "patch_column": column,
        "cell": row * config.grid // config.patches * config.grid + column * config.grid // config.patches,
        "masked_off": bool(not keep[row, column]),
        "masked_share": float(masked.mean()),
        "cells_touched": len(np.unique(cells, axis=0)),
        "patches": len(patches),
        "local_deviation": _local_deviation(film.gray, one.lesion),
    }
    for name in before.scores:
        there = after.highest(name, patches)
        facts[f"{name}_place_before"] = _plain(before.highest(name, patches))
        facts[f"{name}_place_after"] = _plain(there)
        facts[f"{name}_found_there"] = bool(there > marks[name]["value"])
        facts[f"{name}_peak_there"] = bool(there >= after.highest(name))
    return facts | _marked(after, marks, "_after") | _marked(before, marks, "_before")


def _marked(scored: Scored, marks: dict[str, Any], when: str) -> dict[str, Any]:
    """Score, highest patch, and whether that is above the threshold, by map."""
    found: dict[str, Any] = {}
    for name, score in scored.scores.items():
        highest = scored.highest(name)
        found |= {f"{name}_score{when}": score, f"{name}_highest{when}": highest}
        found[f"{name}_marked{when}"] = bool(highest > marks[name]["value"])
    return found


def _patches(points: Reals, stride: int, last: int) -> NDArray[np.int64]:
    """The patches (n, 2) as row, column that canonical points (m, 2) lie in; those beside the image count for the
    nearest patch."""
    places = np.clip(np.floor(points[:, ::-1] / stride), 0, last).astype(np.int64)
    return np.unique(places, axis=0)


def _local_deviation(gray: Floats, lesion: Lesion) -> float:
    """The standard deviation of the film's own values where the lesion lies."""
    return float(gray[lesion.rows, lesion.columns][lesion.change != 0].std())


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


# what is left


def _results(planned: LesionPlan, work: RunContext, report: StageProgress) -> dict[str, Any]:
    """lesions.csv, films.csv and blind_spots.json."""
    folder = work.folder
    per_film = [files.read_json(work.path(f"lesions/{row:06}.json")) for row in work.readable().tolist()]
    film_lines, lesion_lines = [], []
    for one in per_film:
        row = work.rows[one["row"]]
        about = {"image": row.image, "filename": row.filename, "patient": row.patient or f"row {one['row']}"}
        film_lines.append(about | {name: value for name, value in one.items() if name != "lesions"})
        lesion_lines += [about | lesion for lesion in one["lesions"]]
    if not lesion_lines:
        raise EngineError("No lesion found room in any film: look at the alignment, or ask for smaller sizes.")
    files.write_bytes(folder.path / "films.csv", _table(FILM_FIELDS, film_lines).encode())
    files.write_bytes(folder.path / "lesions.csv", _table(LESION_FIELDS, lesion_lines).encode())
    detector, config = work.detector, work.config
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": detector.weights,
        "config": config.to_json(),
        "note": detector.note,
        "asked": planned.to_json(),
        "seed": config.seed,
        "fusion_weight": detector.choice.weight,
        "false_alarm_rate": config.false_alarm_rate,
        "thresholds": folder.summary("lesions")["thresholds"],
        "grid": config.grid,
        "size": config.size,
        "stride": config.stride,
        "mask": work.mask().tolist(),
        "lungs": folder.summary("lungs"),
        "films": len(film_lines),
        "films_of_nominal_width": sum(one["nominal"] for one in per_film),
        "nominal_width_mm": NOMINAL_WIDTH_MM,
        "lesions": len(lesion_lines),
        "no_room": sum(one["no_room"] for one in per_film),
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
    }
    files.write_json(folder.path / "blind_spots.json", summary)
    return {}


def _table(names: tuple[str, ...], lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(line[name]) for name in names] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else value
