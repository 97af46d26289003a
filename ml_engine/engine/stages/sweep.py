"""A sweep over backbone, size, s, K, w and seed: one run of many detectors on shared features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.fields import from_text
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan

# The settings that may be varied, the most costly first, so that experiments with equal features are adjacent.
AXES = {"backbone": "backbone", "size": "size", "rate": "s", "neighbours": "K", "seed": "seed", "fusion_weight": "w"}
WEIGHT = "fusion_weight"  # needs no experiment of its own: sweep.npy holds the scores at each hundredth
MOST_EXPERIMENTS = 60
SCORED = ("tune", "test")


def read_axes(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parse axes such as ``rate=0.01,0.1`` to values by field. Raises InvalidConfig."""
    axes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values.strip():
            raise InvalidConfig(f"The axis is {text!r}: write FIELD=VALUE,VALUE, such as rate=0.01,0.1.")
        if name in axes:
            raise InvalidConfig(f"The axis {name} appears twice: write all of its values in one axis.")
        axes[name] = tuple(value.strip() for value in values.split(",") if value.strip())
    return axes


def config_of_first_experiment(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> PipelineConfig:
    """The config of a sweep's run: that of its first experiment, so that the alignment and the parts drawn from a CSV,
    which all experiments share, use the first seed. Raises InvalidConfig."""
    return config.replace_fields({name: texts[0] for name, texts in _checked(axes).items() if name != WEIGHT})


def plan(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> ExperimentPlan:
    """One experiment for every combination of the axes' values, the fusion weight excepted. All share one alignment,
    fitted with the run's seed; an experiment's seed is its detector's. With several seeds, the seed draws the first
    vector of each bank; it would otherwise change nothing in an exact coreset.

    Raises InvalidConfig for an unknown axis or invalid value, EngineError for more than `MOST_EXPERIMENTS` experiments.
    """
    values = _checked(axes)
    _check_against(config, values)
    varied = {name: texts for name, texts in values.items() if name != WEIGHT}
    count = 1
    for texts in varied.values():
        count *= len(texts)
    if count > MOST_EXPERIMENTS:
        sizes = " × ".join(str(len(texts)) for texts in varied.values())
        raise EngineError(
            f"{sizes} is {count} detectors: at most {MOST_EXPERIMENTS} are fitted in one sweep. Leave some out."
        )
    seeded = {"coreset_start": "seeded"} if len(varied.get("seed", ())) > 1 else {}
    is_aligned = config.align == "network"
    experiments = []
    for number, values_chosen in enumerate(product(*varied.values())):
        changes = dict(zip(varied, values_chosen, strict=True))
        alignment = BASE_ALIGNMENT if is_aligned else ""
        experiment = Experiment(f"{number + 1:02}", words(changes), changes | seeded, alignment)
        experiment.config(config)  # refuse an invalid combination now, not after hours
        experiments.append(experiment)
    return ExperimentPlan(
        alignments={BASE_ALIGNMENT: {}} if is_aligned else {},
        experiments=tuple(experiments),
        scored=SCORED,
        asked={"axes": {name: list(texts) for name, texts in values.items()}},
    )


def words(changes: Mapping[str, str]) -> str:
    """An experiment's values in the symbols of the method: "resnet18, 64 px, s = 0.1, K = 1, seed 0"."""
    templates = {"backbone": "{}", "size": "{} px", "rate": "s = {}", "neighbours": "K = {}", "seed": "seed {}"}
    return ", ".join(templates[name].format(text) for name, text in changes.items()) or "as configured"


def _checked(axes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The axes in the order of `AXES`, each value parsed and written as the config does, without duplicates."""
    unknown = [name for name in axes if name not in AXES]
    if unknown:
        raise InvalidConfig(f"{unknown[0]} is not an axis of a sweep: choose from {', '.join(AXES)}.")
    if not axes:
        raise InvalidConfig("The sweep has no axis: give at least one, such as rate=0.01,0.1.")
    checked = {}
    for name in AXES:
        if name in axes:
            if not axes[name]:
                raise InvalidConfig(f"The axis {name} has no value: give at least one, or leave it out.")
            checked[name] = tuple(dict.fromkeys(_normalised(name, text) for text in axes[name]))
    return checked


def _check_against(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> None:
    """Raises InvalidConfig if the config already tries values of an axis, or its detector does not use the setting."""
    for name in ("rate", "neighbours"):
        if name in axes and getattr(config, f"{name}_tried").strip():
            raise InvalidConfig(f"{name} is an axis and {name}_tried has candidates: give the values in one place.")
        if name in axes and config.detector != "patchcore":
            raise InvalidConfig(
                f"{name} is an axis, and the detector {config.detector} has no such bank: leave it out."
            )


def _normalised(name: str, text: str) -> str:
    value: Any = from_text(PipelineConfig, name, text, shown=name)
    if name == WEIGHT and not (0 <= value <= 1 and abs(100 * value - round(100 * value)) < 1e-9):
        raise InvalidConfig(f"{name} is {text}: it must be a hundredth from 0 to 1, such as 0.6.")
    return str(value).removesuffix(".0")
