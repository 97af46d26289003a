"""Backbone, size, s, K, w and seed against each other: one run of many cells on shared features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.fields import from_text
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan

# What may be varied, the setting that costs most first: cells with the same features follow each other.
AXES = {"backbone": "backbone", "size": "size", "rate": "s", "neighbours": "K", "seed": "seed", "fusion_weight": "w"}
WEIGHT = "fusion_weight"  # needs no cell: every cell's scores are kept at each hundredth of it
MOST_CELLS = 60
SCORED = ("tune", "test")


def read_axes(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Axes as they are written, ``rate=0.01,0.1``. Raises InvalidConfig."""
    axes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not values.strip():
            raise InvalidConfig(f"The axis is {text!r}: write FIELD=VALUE,VALUE, such as rate=0.01,0.1.")
        if name in axes:
            raise InvalidConfig(f"The axis {name} is given twice: write all of its values in one.")
        axes[name] = tuple(value.strip() for value in values.split(",") if value.strip())
    return axes


def begin_with(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> PipelineConfig:
    """The config of a sweep's run: that of its first cell, so that what its cells share, the alignment and the parts
    of a CSV, goes by the first seed. Raises InvalidConfig."""
    return config.replace_fields({name: texts[0] for name, texts in _checked(axes).items() if name != WEIGHT})


def plan(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> ExperimentPlan:
    """Every combination of the axes' values as a cell, the weight's aside. One alignment, fitted with the run's seed,
    serves all of them: a cell's seed is its detector's. Where several seeds are asked for, the first vector of each
    bank is drawn by the seed, which otherwise changes nothing in an exact coreset.

    Raises InvalidConfig for an axis or a value that is none, EngineError for more than `MOST_CELLS` cells.
    """
    values = _checked(axes)
    _check_hold(config, values)
    varied = {name: texts for name, texts in values.items() if name != WEIGHT}
    count = 1
    for texts in varied.values():
        count *= len(texts)
    if count > MOST_CELLS:
        sizes = " × ".join(str(len(texts)) for texts in varied.values())
        raise EngineError(
            f"{sizes} is {count} detectors: at most {MOST_CELLS} are fitted in one sweep. Leave some out."
        )
    drawn = {"coreset_start": "seeded"} if len(varied.get("seed", ())) > 1 else {}
    aligned = config.align == "network"
    cells = []
    for number, chosen in enumerate(product(*varied.values())):
        given = dict(zip(varied, chosen, strict=True))
        cell = Experiment(f"{number + 1:02}", words(given), given | drawn, BASE_ALIGNMENT if aligned else "")
        cell.config(config)  # a combination that the config does not bear is refused here, not after hours
        cells.append(cell)
    return ExperimentPlan(
        alignments={BASE_ALIGNMENT: {}} if aligned else {},
        cells=tuple(cells),
        scored=SCORED,
        asked={"axes": {name: list(texts) for name, texts in values.items()}},
    )


def words(given: Mapping[str, str]) -> str:
    """A cell's values in the symbols of the method: "resnet18, 64 px, s = 0.1, K = 1, seed 0"."""
    shown = {"backbone": "{}", "size": "{} px", "rate": "s = {}", "neighbours": "K = {}", "seed": "seed {}"}
    return ", ".join(shown[name].format(text) for name, text in given.items()) or "as configured"


def _checked(axes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The axes in the order of `AXES`, each value as the config reads it, and once."""
    unknown = [name for name in axes if name not in AXES]
    if unknown:
        raise InvalidConfig(f"{unknown[0]} is no axis of a sweep: choose from {', '.join(AXES)}.")
    if not axes:
        raise InvalidConfig("The sweep has no axis: give at least one, such as rate=0.01,0.1.")
    found = {}
    for name in AXES:
        if name in axes:
            if not axes[name]:
                raise InvalidConfig(f"The axis {name} has no value: give at least one, or leave it out.")
            found[name] = tuple(dict.fromkeys(_as_read(name, text) for text in axes[name]))
    return found


def _check_hold(config: PipelineConfig, axes: Mapping[str, Sequence[str]]) -> None:
    """Raises InvalidConfig where the config itself chooses what an axis varies, or has no use for it."""
    for name in ("rate", "neighbours"):
        if name in axes and getattr(config, f"{name}_tried").strip():
            raise InvalidConfig(f"{name} is an axis and {name}_tried has candidates: give the values in one place.")
        if name in axes and config.detector != "patchcore":
            raise InvalidConfig(
                f"{name} is an axis, and the detector {config.detector} has no such bank: leave it out."
            )


def _as_read(name: str, text: str) -> str:
    value: Any = from_text(PipelineConfig, name, text, shown=name)
    if name == WEIGHT and not (0 <= value <= 1 and abs(100 * value - round(100 * value)) < 1e-9):
        raise InvalidConfig(f"{name} is {text}: it must be a hundredth from 0 to 1, such as 0.6.")
    return str(value).removesuffix(".0")
