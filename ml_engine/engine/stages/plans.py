"""What a run of many cells is going to do: its alignments and its cells; without torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from ml_engine.core.backbone.feature_key import key_of
from ml_engine.core.config import PipelineConfig

BASE_ALIGNMENT = "base"
RANDOM = "random"


@dataclass(frozen=True)
class Experiment:
    """A row of the tables: ``changes`` to the run's config as text, and the ``alignment`` it uses, empty for films as
    they lie."""

    name: str
    words: str
    changes: dict[str, str] = field(default_factory=dict)
    alignment: str = BASE_ALIGNMENT

    def config(self, base: PipelineConfig) -> PipelineConfig:
        return base.replace_fields(self.changes | {"align": "network" if self.alignment else "none"})


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """``alignments``: name to the changes of its settings; ``cells`` in the order of the tables; ``scored`` are the
    parts that each cell scores; ``needed`` is the cell without which the others say nothing, empty where there is none;
    ``asked`` stands in the summary, the JSON file of the run's kind."""

    alignments: dict[str, dict[str, str]]
    cells: tuple[Experiment, ...]
    scored: tuple[str, ...]
    needed: str = ""
    asked: dict[str, Any] = field(default_factory=dict)

    def feature_sets(self, config: PipelineConfig) -> int:
        """How often the backbone goes over all films: the cells share the rest."""
        return len({features_digest(cell, config) for cell in self.cells})

    def forecast(self, config: PipelineConfig) -> str:
        """What the run is going to do, in words: "1 alignment and 12 detectors on 2 sets of features"."""
        fitted = _counted(len(self.alignments), "alignment") + " and " if self.alignments else ""
        sets = _counted(self.feature_sets(config), "set")
        return f"{fitted}{_counted(len(self.cells), 'detector')} on {sets} of features"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def features_digest(cell: Experiment, base: PipelineConfig) -> str:
    """The same for cells whose films come out the same, and share their features."""
    config = cell.config(base)
    key = key_of(config, weights={"name": config.weights, "sha256": None}, alignment_sha256=cell.alignment, device="")
    if config.weights != RANDOM:  # the seed is of random weights alone
        key["weights"] = config.weights
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
