"""Blind spots: sensitivity to lesions pasted into normal films, by size, contrast and place.

    python -m analysis.studies.blind FOLDER

prints a Markdown table. No labels are needed: every film is normal, and the position of each lesion is known.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Rate, clustered_rate
from analysis.studies.print_table import markdown_table, print_table
from ml_engine.core.errors import EngineError

MAPS = ("global", "region", "fused")
ALL = "all kinds"
LIMITS = (
    "The lesions are synthetic: shapes added to the finished gray scale, without scatter, noise or processing of their "
    "own. A real lesion of the same size may be easier or harder to find, so these rates compare sizes, places, masks "
    "and detectors, and are no clinical sensitivity."
)


@dataclass(frozen=True)
class Lesions:
    """The engine's tables by column. Of the L lesions: ``text``, ``numbers`` (NaN where empty) and ``yes`` (bool), each
    (L,). Of the F untouched films: ``film_patients`` and, by map, ``film_marked`` (bool), each (F,). ``summary`` is
    blind_spots.json."""

    summary: dict[str, Any]
    text: dict[str, NDArray[np.str_]]
    numbers: dict[str, NDArray[np.float64]]
    yes: dict[str, NDArray[np.bool_]]
    film_patients: NDArray[np.str_]
    film_marked: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.text["kind"])


@dataclass(frozen=True)
class GroupDetection:
    """Detection of a group of lesions in one map. ``found``: a patch of the lesion is above the threshold; ``marked``:
    any patch of the film is; ``peak``: the highest patch of the film belongs to the lesion."""

    map: str
    found: Rate
    marked: Rate
    peak: Rate


@dataclass(frozen=True)
class Group:
    """Lesions of one kind, size and contrast."""

    kind: str
    size_mm: float
    contrast: float
    films: int
    maps: tuple[GroupDetection, ...]


@dataclass(frozen=True)
class Place:
    """A cell of the region grid; ``found`` is the detection in the fused map, None without a lesion in the cell."""

    row: int
    column: int
    lesions: int
    masked_off: int
    found: Rate | None


@dataclass(frozen=True)
class Loss:
    """The number of lesions of a kind that are as ``words`` describes, and their detection by map."""

    words: str
    kind: str
    lesions: int
    maps: tuple[GroupDetection, ...]


@dataclass(frozen=True)
class BlindResults:
    """``false_alarms`` by map: untouched films that are marked anywhere. ``places`` by kind and for all kinds, for
    lesions with a contrast above 0; ``masked_off`` by kind: lesions at a place without a score."""

    groups: tuple[Group, ...]
    places: dict[str, tuple[Place, ...]]
    masked_off: dict[str, Rate]
    borders: tuple[Loss, ...]
    false_alarms: dict[str, Rate]
    films: int
    patients: int
    lesions: int
    grid: int
    fusion_weight: float
    false_alarm_rate: float
    limits: str = LIMITS

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_blind_spots(folder: Path) -> Lesions:
    """Raises EngineError for a folder without a finished study."""
    try:
        summary = json.loads((folder / "blind_spots.json").read_bytes())
        lines, films = (_read(folder / f"{name}.csv") for name in ("lesions", "films"))
    except (OSError, ValueError):
        raise EngineError(
            f"{folder} holds no finished study of blind spots: run python -m ml_engine blind-spots --out {folder} "
            "first."
        ) from None
    return lesions_of(summary, lines, films)


def lesions_of(summary: dict[str, Any], lines: list[dict[str, str]], films: list[dict[str, str]]) -> Lesions:
    """The lines of lesions.csv and films.csv by column."""
    texts = ("image", "filename", "patient", "kind")
    flags = ("masked_off", *(f"{m}_{w}" for m in MAPS for w in ("found_there", "peak_there", "marked_after")))
    numbers = ("size_mm", "contrast", "cell", "masked_share", "cells_touched")
    return Lesions(
        summary=summary,
        text={name: np.array([line[name] for line in lines]) for name in texts},
        numbers={name: np.array([float(line[name] or "nan") for line in lines]) for name in numbers},
        yes={name: np.array([line[name] == "yes" for line in lines]) for name in flags},
        film_patients=np.array([line["patient"] for line in films]),
        film_marked={m: np.array([line[f"{m}_marked"] == "yes" for line in films]) for m in MAPS},
    )


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def blind_results(pasted: Lesions) -> BlindResults:
    """All intervals are 95 % Wilson intervals with the effective number of lesions, clustered by patient."""
    kinds = [kind for kind in pasted.summary["asked"]["kinds"] if (pasted.text["kind"] == kind).any()]
    visible = pasted.numbers["contrast"] > 0
    grid = int(pasted.summary["grid"])
    return BlindResults(
        groups=tuple(_groups(pasted, kinds)),
        places={
            kind: _places(pasted, visible & ((pasted.text["kind"] == kind) | (kind == ALL)), grid)
            for kind in (ALL, *kinds)
        },
        masked_off={
            kind: _rate(pasted, "masked_off", (pasted.text["kind"] == kind) | (kind == ALL)) for kind in (ALL, *kinds)
        },
        borders=tuple(_borders(pasted, visible, kinds)),
        false_alarms={m: clustered_rate(pasted.film_marked[m], pasted.film_patients) for m in MAPS},
        films=len(pasted.film_patients),
        patients=len(np.unique(pasted.film_patients)),
        lesions=len(pasted),
        grid=grid,
        fusion_weight=float(pasted.summary["fusion_weight"]),
        false_alarm_rate=float(pasted.summary["false_alarm_rate"]),
    )


def _rate(pasted: Lesions, name: str, which: NDArray[np.bool_]) -> Rate:
    return clustered_rate(pasted.yes[name][which], pasted.text["patient"][which])


def _maps(pasted: Lesions, which: NDArray[np.bool_]) -> tuple[GroupDetection, ...]:
    return tuple(
        GroupDetection(
            m,
            found=_rate(pasted, f"{m}_found_there", which),
            marked=_rate(pasted, f"{m}_marked_after", which),
            peak=_rate(pasted, f"{m}_peak_there", which),
        )
        for m in MAPS
    )


def _groups(pasted: Lesions, kinds: list[str]) -> list[Group]:
    groups = []
    for kind in kinds:
        of_kind = pasted.text["kind"] == kind
        for size in np.unique(pasted.numbers["size_mm"][of_kind]).tolist():
            for contrast in np.unique(pasted.numbers["contrast"][of_kind]).tolist():
                which = of_kind & (pasted.numbers["size_mm"] == size) & (pasted.numbers["contrast"] == contrast)
                if which.any():
                    films = len(np.unique(pasted.text["filename"][which]))
                    groups.append(Group(kind, size, contrast, films, _maps(pasted, which)))
    return groups


def _places(pasted: Lesions, which: NDArray[np.bool_], grid: int) -> tuple[Place, ...]:
    places = []
    for cell in range(grid**2):
        here = which & (pasted.numbers["cell"] == cell)
        lesions, masked = int(here.sum()), int((here & pasted.yes["masked_off"]).sum())
        rate = _rate(pasted, "fused_found_there", here) if lesions else None
        places.append(Place(cell // grid, cell % grid, lesions, masked, rate))
    return tuple(places)


def _borders(pasted: Lesions, visible: NDArray[np.bool_], kinds: list[str]) -> list[Loss]:
    """Lesions inside one cell of the region grid, lesions cut by a border of cells, and those entirely masked off."""
    masked = pasted.numbers["masked_share"] >= 1
    cut = pasted.numbers["cells_touched"] > 1
    losses = []
    for kind in (ALL, *kinds):
        of_kind = visible & ((pasted.text["kind"] == kind) | (kind == ALL))
        for words, which in (
            ("inside one cell", of_kind & ~masked & ~cut),
            ("cut by a border of cells", of_kind & ~masked & cut),
            ("all of it masked off", of_kind & masked),
        ):
            losses.append(Loss(words, kind, int(which.sum()), _maps(pasted, which)))
    return losses


# tables


COLUMNS = (
    "kind", "size (mm)", "contrast (share of gray scale)", "map", "lesions", "films", "patients",
    *(f"{name}{limit}" for name in ("found there", "film marked", "peak there") for limit in ("", " low", " high")),
)  # fmt: skip


def rows(results: BlindResults) -> list[list[Any]]:
    """A row for each kind, size, contrast and map, by `COLUMNS`, with full precision."""
    lines: list[list[Any]] = []
    for group in results.groups:
        for detection in group.maps:
            line: list[Any] = [group.kind, group.size_mm, group.contrast, detection.map]
            line += [detection.found.total, group.films, detection.found.patients]
            for rate in (detection.found, detection.marked, detection.peak):
                line += [rate.value, rate.low, rate.high]
            lines.append(line)
    return lines


def table(pasted: Lesions, results: BlindResults) -> str:
    """The groups as Markdown."""
    alarms = "; ".join(f"{m} {rate_words(rate)}" for m, rate in results.false_alarms.items())
    heading = (
        f"{results.lesions} lesions in {results.films} normal films of {results.patients} patients; 95 % intervals; "
        f"fusion weight {results.fusion_weight:g}. Untouched films marked: {alarms}."
    )
    lines = [heading, LIMITS]
    if pasted.summary["weights"]["name"] == "random":
        lines.append("Random weights, not for evaluation: the figures show that the parts work, not how well.")
    headings = ("kind", "size (mm)", "contrast", "lesions", "global", "region", "fused", "film marked (fused)")
    rows = []
    for group in results.groups:
        texts = [rate_words(detection.found) for detection in group.maps] + [rate_words(group.maps[-1].marked)]
        start = [group.kind, f"{group.size_mm:g}", f"{group.contrast:g}", str(group.maps[0].found.total)]
        rows.append([*start, *texts])
    lines += [
        "",
        markdown_table(headings, rows),
        "",
        f"Masked off: {rate_words(results.masked_off[ALL])} of all lesions.",
    ]
    for loss in results.borders:
        if loss.kind == ALL:
            rates = "; ".join(f"{detection.map} {rate_words(detection.found)}" for detection in loss.maps)
            lines.append(f"{loss.lesions} lesions {loss.words}: {rates}.")
    return "\n".join(lines)


def rate_words(rate: Rate) -> str:
    if rate.value is None:
        return "none"
    if rate.low is None or rate.high is None:
        return f"{rate.value:.3f} (no interval)"
    return f"{rate.value:.3f} ({rate.low:.3f}–{rate.high:.3f})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.studies.blind", description="Table of blind spots.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's --out")
    options = parser.parse_args(arguments)

    def text() -> str:
        pasted = read_blind_spots(options.folder)
        return table(pasted, blind_results(pasted))

    return print_table("analysis.studies.blind", text)


if __name__ == "__main__":
    sys.exit(main())
