"""The paper's experiments as one run of many cells."""

from __future__ import annotations

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan

BASE = "aligned-masked"
SET_BY_CELLS = {
    "detector": "patchcore",
    "clahe": False,
    "align": "network",
    "mask": True,
}  # and the first cell's values
FIGURES = ("12", "13", "14", "15", "alignment")
BASELINES = (
    Experiment("padim", "PaDiM", {"detector": "padim"}),
    Experiment("spade", "SPADE", {"detector": "spade"}),
    Experiment("dn2", "DN2", {"detector": "dn2"}),
    Experiment("clahe-global", "CLAHE + global PatchCore, not aligned", {"clahe": "yes", "fusion_weight": "0"}, ""),
)
_ONLY = {f"alignment.{name}": "0" for name in ("constancy", "ssim", "perceptual", "local_ncc")}
ALIGNMENTS = {
    "resnet34": {"alignment.backbone": "resnet34"},
    "resnet50": {"alignment.backbone": "resnet50"},
    "constancy": _ONLY | {"alignment.constancy": "1"},
    "ssim": _ONLY | {"alignment.ssim": "1"},
    "constancy-ssim": _ONLY | {"alignment.constancy": "1", "alignment.ssim": "1"},
    "alpha-2": {"alignment.initialisation": "centred", "alignment.alpha": "2"},
    "alpha-10": {"alignment.initialisation": "centred", "alignment.alpha": "10"},
    "alpha-50": {"alignment.initialisation": "centred", "alignment.alpha": "50"},
}


def plan(config: PipelineConfig, figures: tuple[str, ...]) -> ExperimentPlan:
    """What the figures of the paper need: Fig. 12 aligned or not; Fig. 13 masked or not; Fig. 14 the weights from 0 to
    1, which any cell's sweep holds; Fig. 15 twice the side, and the baselines; ``alignment`` its backbones, losses and
    α, one changed at a time.

    Raises EngineError for a figure that is none of these, InvalidConfig where the config sets what the cells' names
    say.
    """
    for name, first in SET_BY_CELLS.items():
        if getattr(config, name) != first:
            raise InvalidConfig(
                f"{name} is {getattr(config, name)!r}: an ablation sets it cell by cell, from {first}. Leave it out."
            )
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise EngineError(f"figures is {unknown[0]!r}: choose from {', '.join(FIGURES)}, joined by commas.")
    cells = [Experiment(BASE, "aligned, masked")]
    if "12" in figures:
        cells.append(Experiment("unaligned-masked", "not aligned, masked", {}, ""))
    if "13" in figures:
        cells.append(Experiment("aligned-unmasked", "aligned, not masked", {"mask": "no"}))
        cells.append(Experiment("unaligned-unmasked", "not aligned, not masked", {"mask": "no"}, ""))
    if "15" in figures:
        double = 2 * config.size
        cells.append(Experiment(f"size-{double}", f"aligned, masked, {double} px", {"size": str(double)}))
        cells += BASELINES
    alignments: dict[str, dict[str, str]] = {BASE_ALIGNMENT: {}}
    if "alignment" in figures:
        alignments |= ALIGNMENTS
        cells += [Experiment(f"aligned-{name}", f"alignment {name}", {}, name) for name in ALIGNMENTS]
    for cell in cells:
        cell.config(config)  # a change that the config does not bear is refused here, not after hours
    return ExperimentPlan(
        alignments=alignments,
        cells=tuple(cells),
        scored=("test",),
        needed=BASE,
        asked={"figures": list(figures)},
    )
