"""Attributes of the films of an evaluation: findings at the cut-off, view, sex, age, dataset, scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analysis.evaluation.evaluate import ScoredPart
from portal.labels.events import CHUNK, labels_at
from portal.models import Image

UNKNOWN = "unknown"
GROUPS = {"view": "View position", "sex": "Sex", "age": "Age band", "dataset": "Dataset", "scanner": "Scanner"}
SEXES = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True)
class Attributes:
    """findings: of each film, (N); groups: key of `GROUPS` -> the group of each film, (N)."""

    findings: list[tuple[str, ...]]
    groups: dict[str, list[str]]


def attributes_of(scored: ScoredPart, *, cutoff: datetime) -> Attributes:
    """Attributes in the order of the films of the part."""
    in_order = _films(scored.images)
    labels = labels_at([film.pk for film in in_order], cutoff)
    return Attributes(
        findings=[labels[film.pk].findings if film.pk in labels else () for film in in_order],
        groups=_groups(in_order),
    )


def groups_of_images(images: Sequence[str]) -> dict[str, list[str]]:
    """Key of `GROUPS` -> the group of each film, by the films' UUIDs."""
    return _groups(_films(images))


def _films(images: Sequence[str]) -> list[Image]:
    films: dict[str, Image] = {}
    for start in range(0, len(images), CHUNK):
        chunk = Image.objects.filter(uuid__in=images[start : start + CHUNK])
        rows = chunk.select_related("patient", "dataset").only(
            "uuid", "view_position", "header", "patient__sex", "patient__age_band", "dataset__name"
        )
        films |= {str(film.uuid): film for film in rows}
    return [films[uuid] for uuid in images]


def _groups(films: Sequence[Image]) -> dict[str, list[str]]:
    return {
        "view": [film.view_position or UNKNOWN for film in films],
        "sex": [SEXES.get(film.patient.sex, UNKNOWN) for film in films],
        "age": [film.patient.age_band or UNKNOWN for film in films],
        "dataset": [film.dataset.name for film in films],
        "scanner": [scanner(film) for film in films],
    }


def scanner(film: Image) -> str:
    """Manufacturer and model, as far as the stored header contains them."""
    return " ".join(film.header[key] for key in ("manufacturer", "model") if film.header.get(key)) or UNKNOWN
