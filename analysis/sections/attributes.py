"""Attributes of the films of an evaluation: findings and attributes of normals at the cut-off, view, sex, age, dataset,
scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analysis.evaluation.evaluate import ScoredPart
from portal.labels.events import CHUNK, labels_at
from portal.models import Image, LabelEvent

UNKNOWN = "unknown"
GROUPS = {"view": "View position", "sex": "Sex", "age": "Age band", "dataset": "Dataset", "scanner": "Scanner"}
SEXES = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True)
class Attributes:
    """findings: of each film, (N); of_normals: what each film shows although it is normal, such as a device, (N);
    groups: key of `GROUPS` -> the group of each film, (N)."""

    findings: list[tuple[str, ...]]
    of_normals: list[tuple[str, ...]]
    groups: dict[str, list[str]]


def attributes_of(scored: ScoredPart, *, cutoff: datetime) -> Attributes:
    """Attributes in the order of the films of the part."""
    in_order = _films(scored.images)
    labels = labels_at([film.pk for film in in_order], cutoff)
    return Attributes(
        findings=[labels[film.pk].findings if film.pk in labels else () for film in in_order],
        of_normals=[labels[film.pk].attributes if film.pk in labels else () for film in in_order],
        groups=_groups(in_order),
    )


def normal_attributes_of(images: Sequence[str], *, cutoff: datetime) -> list[tuple[str, ...]]:
    """The attributes that the label of each film had at the cut-off, by the films' UUIDs. Only films that some event
    gives attributes are resolved, since few are."""
    ids: dict[str, int] = {}
    for start in range(0, len(images), CHUNK):
        events = LabelEvent.objects.filter(image__uuid__in=images[start : start + CHUNK], created_at__lte=cutoff)
        rows = events.exclude(attributes=[]).order_by().values_list("image__uuid", "image").distinct()
        ids |= {str(uuid): pk for uuid, pk in rows}
    labels = labels_at(ids.values(), cutoff)
    of_film = {image: labels[pk].attributes for image, pk in ids.items() if pk in labels}
    return [of_film.get(image, ()) for image in images]


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
    """Manufacturer and model, as far as the stored header contains them; the same word for both stands once, such as
    "other", for names that an import does not keep."""
    return " ".join(dict.fromkeys(filter(None, (film.header.get(key) for key in ("manufacturer", "model"))))) or UNKNOWN
