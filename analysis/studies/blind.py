"""Lesions pasted into normal films, as the engine scored them: sensitivity by size, contrast and place.

    python -m analysis.studies.blind FOLDER

prints it as Markdown. No label is needed: every film is normal, and where each lesion lies is known.
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
    """The engine's tables by column: ``text`` and ``numbers`` (L,) of the lesions, NaN where empty, ``yes`` (L,) bool;
    ``films`` the same of the untouched films; ``summary`` is blind_spots.json."""

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
    """What becomes of a group of lesions in one map. ``found`` there: a patch of the lesion is above the threshold;
    ``marked``: any patch of the film is; ``peak``: the film's highest patch is one of the lesion's."""

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
    """A cell of the canonical grid; ``found`` of the fused map, None where no lesion lies."""

    row: int
    column: int
    lesions: int
    masked_off: int
    found: Rate | None


@dataclass(frozen=True)
class Loss:
    """Lesions ``words`` of a kind: how many there are and how often each map finds them."""

    words: str
    kind: str
    lesions: int
    maps: tuple[GroupDetection, ...]


@dataclass(frozen=True)
class BlindResults:
    """``false_alarms`` by map: untouched films that are marked anywhere. ``places`` by kind, all kinds among them, of
    lesions with a contrast; ``masked_off`` by kind: lesions whose place has no score."""

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


def blind_results(found: Lesions) -> BlindResults:
    """All intervals are 95 %, Wilson's at the effective number of films: lesions of one patient count together."""
    kinds = [kind for kind in found.summary["asked"]["kinds"] if (found.text["kind"] == kind).any()]
    visible = found.numbers["contrast"] > 0
    grid = int(found.summary["grid"])
    return BlindResults(
        groups=tuple(_groups(found, kinds)),
        places={
            kind: _places(found, visible & ((found.text["kind"] == kind) | (kind == ALL)), grid)
            for kind in (ALL, *kinds)
        },
        masked_off={
            kind: _rate(found, "masked_off", (found.text["kind"] == kind) | (kind == ALL)) for kind in (ALL, *kinds)
        },
        borders=tuple(_borders(found, visible, kinds)),
        false_alarms={m: clustered_rate(found.film_marked[m], found.film_patients) for m in MAPS},
        films=len(found.film_patients),
        patients=len(np.unique(found.film_patients)),
        lesions=len(found),
        grid=grid,
        fusion_weight=float(found.summary["fusion_weight"]),
        false_alarm_rate=float(found.summary["false_alarm_rate"]),
    )


def _rate(found: Lesions, name: str, which: NDArray[np.bool_]) -> Rate:
    return clustered_rate(found.yes[name][which], found.text["patient"][which])


def _maps(found: Lesions, which: NDArray[np.bool_]) -> tuple[GroupDetection, ...]:
    return tuple(
        GroupDetection(
            m,
            found=_rate(found, f"{m}_found_there", which),
            marked=_rate(found, f"{m}_marked_after", which),
            peak=_rate(found, f"{m}_peak_there", which),
        )
        for m in MAPS
    )


def _groups(found: Lesions, kinds: list[str]) -> list[Group]:
    groups = []
    for kind in kinds:
        of_kind = found.text["kind"] == kind
        for size in np.unique(found.numbers["size_mm"][of_kind]).tolist():
            for contrast in np.unique(found.numbers["contrast"][of_kind]).tolist():
                which = of_kind & (found.numbers["size_mm"] == size) & (found.numbers["contrast"] == contrast)
                if which.any():
                    films = len(np.unique(found.text["filename"][which]))
                    groups.append(Group(kind, size, contrast, films, _maps(found, which)))
    return groups


def _places(found: Lesions, which: NDArray[np.bool_], grid: int) -> tuple[Place, ...]:
    places = []
    for cell in range(grid**2):
        here = which & (found.numbers["cell"] == cell)
        lesions, masked = int(here.sum()), int((here & found.yes["masked_off"]).sum())
        rate = _rate(found, "fused_found_there", here) if lesions else None
        places.append(Place(cell // grid, cell % grid, lesions, masked, rate))
    return tuple(places)


def _borders(found: Lesions, visible: NDArray[np.bool_], kinds: list[str]) -> list[Loss]:
    """Lesions inside one cell of the grid and those that a border cuts; those that are masked off altogether apart."""
    gone = found.numbers["masked_share"] >= 1
    cut = found.numbers["cells_touched"] > 1
    losses = []
    for kind in (ALL, *kinds):
        of_kind = visible & ((found.text["kind"] == kind) | (kind == ALL))
        for words, which in (
            ("inside one cell", of_kind & ~gone & ~cut),
            ("cut by a border of cells", of_kind & ~gone & cut),
            ("all of it masked off", of_kind & gone),
        ):
            losses.append(Loss(words, kind, int(which.sum()), _maps(found, which)))
    return losses


# tables


COLUMNS = (
    "kind", "size (mm)", "contrast (share of gray scale)", "map", "lesions", "films", "patients",
    *(f"{name}{limit}" for name in ("found there", "film marked", "peak there") for limit in ("", " low", " high")),
)  # fmt: skip


def rows(results: BlindResults) -> list[list[Any]]:
    """One line for each kind, size, contrast and map, by `COLUMNS`, with full precision."""
    lines: list[list[Any]] = []
    for group in results.groups:
        for one in group.maps:
            line: list[Any] = [group.kind, group.size_mm, group.contrast, one.map, one.found.total, group.films]
            line.append(one.found.patients)
            for rate in (one.found, one.marked, one.peak):
                line += [rate.value, rate.low, rate.high]
            lines.append(line)
    return lines


def table(found: Lesions, results: BlindResults) -> str:
    """The groups as Markdown."""
    alarms = "; ".join(f"{m} {shown(rate)}" for m, rate in results.false_alarms.items())
    heading = (
        f"{results.lesions} lesions in {results.films} normal films of {results.patients} patients; 95 % intervals; "
        f"fusion weight {results.fusion_weight:g}. Untouched films marked: {alarms}."
    )
    lines = [heading, LIMITS]
    if found.summary["weights"]["name"] == "random":
        lines.append("Random weights, not for evaluation: the figures show that the parts work, not how well.")
    headings = ("kind", "size (mm)", "contrast", "lesions", "global", "region", "fused", "film marked (fused)")
    rows = []
    for group in results.groups:
        cells = [shown(one.found) for one in group.maps] + [shown(group.maps[-1].marked)]
        start = [group.kind, f"{group.size_mm:g}", f"{group.contrast:g}", str(group.maps[0].found.total)]
        rows.append([*start, *cells])
    lines += ["", markdown_table(headings, rows), "", f"Masked off: {shown(results.masked_off[ALL])} of all lesions."]
    for loss in results.borders:
        if loss.kind == ALL:
            rates = "; ".join(f"{one.map} {shown(one.found)}" for one in loss.maps)
            lines.append(f"{loss.lesions} lesions {loss.words}: {rates}.")
    return "\n".join(lines)


def shown(rate: Rate) -> str:
    if rate.value is None:
        return "none"
    if rate.low is None or rate.high is None:
        return f"{rate.value:.3f} (no interval)"
    return f"{rate.value:.3f} ({rate.low:.3f}–{rate.high:.3f})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.studies.blind", description="Table of blind spots.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's --out")
    given = parser.parse_args(arguments)

    def text() -> str:
        found = read_blind_spots(given.folder)
        return table(found, blind_results(found))

    return print_table("analysis.studies.blind", text)


if __name__ == "__main__":
    sys.exit(main())
