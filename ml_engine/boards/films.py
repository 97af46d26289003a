"""The films of an alignment board: how they are drawn, and how they look in the square frame."""

from __future__ import annotations

import io
import json
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from ml_engine.core import files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.square import SquareFilm, square_film
from ml_engine.engine import manifest
from ml_engine.engine.decode_films import as_array
from ml_engine.engine.manifest import InvalidManifest
from ml_engine.models import AlignmentModel, CanonicalBoard, Run
from ml_engine.runs import run_bucket
from ml_engine.runs.lifecycle import RunRefused
from portal.imaging.film import Film, PixelFacts, unpack
from portal.imaging.views import FRONTAL
from portal.intake.film_files import pixels_here
from portal.labels.events import labels_at
from portal.models import Cohort, Dataset, Image, LabelValue, Part, Split

PARTS = (Part.ALIGN, Part.FIT)  # a canonical image of other films would be chosen on what it is judged by
_KEPT = 8  # films in the memory of a process


def normal_frontal_films(
    *, split: Split | None, part: str, cohort: Cohort | None, dataset: Dataset | None
) -> list[int]:
    """The primary keys of the normal frontal films of the part of a split (at its label cut-off), of a cohort (as it
    was frozen) or of a dataset, in the order of import; without films in the test part of a frozen split."""
    frontal = Image.objects.filter(view_position__in=FRONTAL)
    if split is not None:
        in_part = frontal.filter(split_images__member__split=split, split_images__member__part=part)
        ids = list(in_part.order_by("pk").values_list("pk", flat=True))
        labels = labels_at(ids, split.label_cutoff)
        return [pk for pk in ids if pk in labels and labels[pk].value == LabelValue.NORMAL]
    if cohort is not None:
        normal = frontal.filter(cohort_images__cohort=cohort, cohort_images__label=LabelValue.NORMAL)
    else:
        normal = frontal.filter(dataset=dataset, current_label__value=LabelValue.NORMAL)
    in_test = Image.objects.filter(
        split_images__member__part=Part.TEST, split_images__member__split__frozen_at__isnull=False
    )
    return list(normal.exclude(pk__in=in_test.values("pk")).order_by("pk").values_list("pk", flat=True))


def drawn(ids: list[int], *, count: int, seed: int) -> list[int]:
    """At most ``count`` of the films, in an order that the seed fixes."""
    order = np.random.default_rng(seed).permutation(len(ids))[:count]
    return [ids[k] for k in order.tolist()]


def square_of(image: Image, side: int) -> SquareFilm:
    """The film in the square frame, by the gray scale of preset default. Raises RunRefused where its pixels are
    missing."""
    try:
        return _square(image.pixel_sha256, json.dumps(image.facts, sort_keys=True), side)
    except FileNotFoundError:
        raise RunRefused(
            f"The pixel file of film {image.uuid} is missing from the data folder: restore it from a backup, or leave "
            "the film out."
        ) from None


@lru_cache(maxsize=_KEPT)
def _square(pixel_sha256: str, facts: str, side: int) -> SquareFilm:
    stated = PixelFacts.from_json(json.loads(facts))
    stored = unpack(pixels_here(pixel_sha256).read_bytes(), stated.rows, stated.columns)
    return square_film(as_array(Film(stored, stated)), PipelineConfig.from_preset("default"), side=side)


def png(gray: NDArray[np.float32] | NDArray[np.float64]) -> bytes:
    """An 8-bit gray PNG of values (H, W) in [0, 1]."""
    target = io.BytesIO()
    Picture.fromarray(np.rint(np.clip(gray, 0, 1) * 255).astype(np.uint8)).save(target, format="PNG")
    return target.getvalue()


def fitted_affines(alignment: AlignmentModel) -> dict[str, NDArray[np.float64]]:
    """Image id -> original_from_canonical (2, 3) of the films that the alignment was fitted on, in pixels of its own
    frame; empty where its run's folder is gone."""
    return placed_affines(alignment.run)


def placed_affines(run: Run) -> dict[str, NDArray[np.float64]]:
    """As `fitted_affines`, of the films of a run, in pixels of that run's frame."""
    folder = run_bucket.here(run)
    try:
        rows, affines = manifest.read(folder / "images.csv"), files.read_npy(folder / "affines.npy")
    except (InvalidManifest, OSError):
        return {}
    return {row.image: affines[k] for k, row in enumerate(rows) if np.isfinite(affines[k]).all()}


def frame_side(alignment: AlignmentModel) -> int:
    """The side of the canonical frame of the alignment's own run in pixels."""
    return PipelineConfig.from_json(alignment.config).alignment.size


def start_matrices(board: CanonicalBoard) -> dict[str, list[float]]:
    """Image id -> the matrix (9) by which the board's start places the film; empty without a start."""
    if board.start is None:
        return {}
    scale = frame_side(board.start) / board.side
    to_own = np.diag([scale, scale, 1.0])
    affines = fitted_affines(board.start)
    return {name: (np.vstack([affine, [0, 0, 1]]) @ to_own).ravel().tolist() for name, affine in affines.items()}
