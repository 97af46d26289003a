"""The plan of an ablation or a sweep: its alignments and its experiments. Does not import torch."""

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
    """One detector of an ablation or a sweep, a row of its table: ``changes`` to the run's config, as text, and the
    name of its ``alignment``, empty for unaligned films."""

    name: str
    words: str
    changes: dict[str, str] = field(default_factory=dict)
    alignment: str = BASE_ALIGNMENT

    def config(self, base: PipelineConfig) -> PipelineConfig:
        return base.replace_fields(self.changes | {"align": "network" if self.alignment else "none"})


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """``alignments`` maps a name to the settings that it changes. ``experiments`` are in the order of the tables; each
    scores the parts ``scored``. ``needed`` names the experiment that the others are compared with, so that the run ends
    if it is refused; empty if there is none. ``asked`` is copied into the summary, the JSON file of the run's kind."""

    alignments: dict[str, dict[str, str]]
    experiments: tuple[Experiment, ...]
    scored: tuple[str, ...]
    needed: str = ""
    asked: dict[str, Any] = field(default_factory=dict)

    def feature_sets(self, config: PipelineConfig) -> int:
        """The number of passes of the backbone over all films; experiments with equal features share a pass."""
        return len({features_digest(experiment, config) for experiment in self.experiments})

    def forecast(self, config: PipelineConfig) -> str:
        """The amount of work in words: "1 alignment and 12 detectors on 2 sets of features"."""
        alignments = _count(len(self.alignments), "alignment") + " and " if self.alignments else ""
        sets = _count(self.feature_sets(config), "set")
        return f"{alignments}{_count(len(self.experiments), 'detector')} on {sets} of features"


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def features_digest(experiment: Experiment, base: PipelineConfig) -> str:
    """A digest that is equal for experiments whose features are equal, so that they share one store."""
    config = experiment.config(base)
    weights = {"name": config.weights, "sha256": None}
    key = key_of(config, weights=weights, alignment_sha256=experiment.alignment, device="")
    if config.weights != RANDOM:  # only random weights depend on the seed
        key["weights"] = config.weights
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
