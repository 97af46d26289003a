"""The fit films' own scores, each by a model of the other folds' patients: fit_scores.csv and fit_maps.npy.

fit_scores.csv has one line per readable fit film in the manifest's order, fit_maps.npy its raw maps (2, h, w), float32,
channel 0 global and 1 region, NaN where masked. Only this module knows the names of the two files. Does not import
torch.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.errors import EngineError

SCORES, MAPS = "fit_scores.csv", "fit_maps.npy"
COLUMNS = ("image", "filename", "fold", "global", "region", "fused", "p_value")


class FitScoresMissing(EngineError):
    """A file of the fit films' scores is missing or damaged."""


@dataclass(frozen=True)
class FitScore:
    """A line of fit_scores.csv. ``image`` is the film's id in the portal, blank for a run of the command line;
    ``fold``, from 0, is the fold in which the film was held out; ``p_value`` in [0, 1] is among the fit films."""

    image: str
    filename: str
    fold: int
    whole: float
    region: float
    fused: float
    p_value: float


@dataclass(frozen=True)
class FitScores:
    """The two files in the folder ``path`` of a detector fit."""

    path: Path

    @property
    def is_there(self) -> bool:
        """Whether the fit films were scored."""
        return (self.path / SCORES).is_file()

    def write(self, films: Sequence[FitScore], maps: Path) -> None:
        """Write fit_scores.csv, and link or copy the file ``maps`` to fit_maps.npy."""
        files.link_or_copy(maps, self.path / MAPS)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for film in films:
            numbers = [repr(number) for number in (film.whole, film.region, film.fused, film.p_value)]
            writer.writerow([film.image, film.filename, film.fold, *numbers])
        files.write_bytes(self.path / SCORES, text.getvalue().encode())

    def films(self) -> list[FitScore]:
        """Raises FitScoresMissing."""
        try:
            with (self.path / SCORES).open(encoding="utf-8", newline="") as file:
                return [
                    FitScore(
                        image=line["image"],
                        filename=line["filename"],
                        fold=int(line["fold"]),
                        whole=float(line["global"]),
                        region=float(line["region"]),
                        fused=float(line["fused"]),
                        p_value=float(line["p_value"]),
                    )
                    for line in csv.DictReader(file)
                ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _missing(SCORES) from error

    def maps(self) -> NDArray[np.float32]:
        """The raw maps (F, 2, h, w), memory-mapped. Raises FitScoresMissing."""
        try:
            array: NDArray[Any] = files.open_npy(self.path / MAPS)
        except (OSError, ValueError) as error:
            raise _missing(MAPS) from error
        return array


def _missing(name: str) -> FitScoresMissing:
    return FitScoresMissing(f"{name} is missing or damaged: fit the detector again.")
