"""What the records of a film say without a look at it: number in the file name, order of arrival, file size and type.

Where such a property separates normal from abnormal films, the two come from different sources, and any difference
between the sources raises the AUROC of every method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.evaluate import ScoredPart
from portal.intake.film_files import pixel_path
from portal.labels.events import CHUNK
from portal.models import Image

UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True)
class Shortcuts:
    """numbers: name -> (N,) float64, NaN where unknown; reasons: name -> why all of them are; types: (N,) the ending of
    each file's name, such as png."""

    numbers: dict[str, NDArray[np.float64]]
    reasons: dict[str, str]
    types: list[str]


def shortcuts_of(scored: ScoredPart) -> Shortcuts:
    """Of the films of the part, in their order.

    `number` is the first number of the file's name, in many archives that of the patient; the portal keeps no patient
    number. `arrival` is the place in the order of import. `bytes` is the size of the stored pixels, which are
    compressed without loss: the received file is not kept.
    """
    films: dict[str, tuple[int, str, str]] = {}
    for start in range(0, len(scored.images), CHUNK):
        chunk = Image.objects.filter(uuid__in=scored.images[start : start + CHUNK])
        for uuid, key, name, sha256 in chunk.values_list("uuid", "pk", "original_name", "pixel_sha256"):
            films[str(uuid)] = (key, name, sha256)
    in_order = [films[uuid] for uuid in scored.images]
    names = [name for _, name, _ in in_order]
    numbers = {
        "number": np.array([_number(name) for name in names], dtype=np.float64),
        "arrival": np.array([key for key, _, _ in in_order], dtype=np.float64),
        "bytes": np.array([_bytes(sha256) for _, _, sha256 in in_order], dtype=np.float64),
    }
    why = {
        "number": "No file name has a number."
        if any(names)
        else "No file name is kept: only an import with a CSV keeps names.",
        "bytes": "The pixel files are not in the data folder.",
    }
    reasons = {name: why[name] for name in why if not np.isfinite(numbers[name]).any()}
    return Shortcuts(numbers, reasons, [_type(name) for name in names])


def _number(name: str) -> float:
    """A longer number than twelve digits is a hash or a UID, which counts nothing."""
    first = re.search(r"\d+", PurePosixPath(name).stem)
    return float(first[0]) if first and len(first[0]) <= 12 else np.nan


def _bytes(sha256: str) -> float:
    try:
        return float(pixel_path(sha256).stat().st_size)
    except OSError:
        return np.nan


def _type(name: str) -> str:
    return PurePosixPath(name).suffix.lower().removeprefix(".") or UNKNOWN_TYPE
