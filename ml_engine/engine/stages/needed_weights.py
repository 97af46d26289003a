"""The weight files that a run will load, checked before its first film is read. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.run_kinds import RunKind
from ml_engine.engine.stages.plans import ExperimentPlan


def require(kind: str, config: PipelineConfig, *, planned: ExperimentPlan | None, folder: Path) -> None:
    """Raises WeightsMissing for the first weights that a run needs and that are not on this machine.

    ``planned`` are the experiments of an ablation or a sweep. The files are only looked for, neither downloaded nor
    converted nor read.
    """
    for name, architecture in dict.fromkeys(_needed(kind, config, planned)):
        weights.require(name, architecture, folder=folder)


def _needed(kind: str, config: PipelineConfig, planned: ExperimentPlan | None) -> Iterator[tuple[str, str]]:
    """(name, architecture) of the weights, with repeats."""
    if kind == RunKind.FIT_ALIGNMENT:
        yield from of_alignment(config)
    elif planned is None:
        yield config.weights, config.backbone
    else:
        for changes in planned.alignments.values():
            yield from of_alignment(config.replace_fields(changes))
        for experiment in planned.experiments:
            changed = experiment.config(config)
            yield changed.weights, changed.backbone


def of_alignment(config: PipelineConfig) -> list[tuple[str, str]]:
    """The weights of the perceptual loss, if the alignment's network is fitted with one."""
    alignment = config.alignment
    return [(weights.IMAGENET, "vgg19")] if alignment.uses_network and alignment.perceptual > 0 else []
