"""The files that a run of kind fit_head writes. Does not import torch."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest

HEAD, SUMMARY = "head.safetensors", "fit_head.json"
CONTROL, CURVE, TUNE = "population_control.json", "learning_curve.csv", "tune_scores.csv"
TUNE_SCORES = ("one_class_z", "semi_supervised_head_z", "semi_supervised_combined")
TUNE_COLUMNS = ("filename", "label", "fold", *TUNE_SCORES)


@dataclass(frozen=True)
class HeadFolder:
    """The results in the run folder at ``path``."""

    path: Path

    @property
    def head(self) -> Path:
        return self.path / HEAD

    @property
    def summary(self) -> dict[str, Any]:
        """fit_head.json. Raises EngineError if it is missing or damaged."""
        return self._json(SUMMARY)

    @property
    def control(self) -> dict[str, Any] | None:
        """population_control.json, also of a head that it refused; None if the run did not come as far."""
        return self._json(CONTROL) if (self.path / CONTROL).is_file() else None

    def tune_scores(self) -> dict[str, list[float]]:
        """By the id of a labelled film of tune, its `TUNE_SCORES` by heads without reads of its patient; empty where
        tune is too small for them."""
        path = self.path / TUNE
        if not path.is_file():
            return {}
        image_of = {row.filename: row.image for row in manifest.read(self.path / "images.csv")}
        with path.open(encoding="utf-8", newline="") as file:
            return {
                image_of[line["filename"]]: [float(line[name]) for name in TUNE_SCORES] for line in csv.DictReader(file)
            }

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values = files.read_json(self.path / name)
        except (OSError, ValueError):
            values = None
        if not isinstance(values, dict):
            raise EngineError(f"{name} is missing or damaged: fit the semi-supervised head again.")
        return values
