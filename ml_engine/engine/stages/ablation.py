"""The experiments of Kim & Chun 2024, Figs. 12 to 15, as one run of many detectors."""

from __future__ import annotations

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan

BASE = "aligned-masked"
VARIED = {
    "detector": "patchcore",
    "clahe": False,
    "align": "network",
    "mask": True,
}  # settings that the experiments vary: their values in the first experiment
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
    """The experiments that the figures of the paper need. Fig. 12: aligned or not. Fig. 13: masked or not. Fig. 14:
    fusion weights from 0 to 1, which every experiment's sweep.npy holds. Fig. 15: twice the image side, and the
    baselines. ``alignment``: the alignment's backbones, losses and α, one changed at a time.

    Raises EngineError for an unknown figure, InvalidConfig where the config sets what the experiments vary.
    """
    for name, first_value in VARIED.items():
        if getattr(config, name) != first_value:
            raise InvalidConfig(
                f"{name} is {getattr(config, name)!r}: an ablation varies it, starting from {first_value}. Leave it "
                "out."
            )
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise EngineError(f"figures is {unknown[0]!r}: choose from {', '.join(FIGURES)}, joined by commas.")
    experiments = [Experiment(BASE, "aligned, masked")]
    if "12" in figures:
        experiments.append(Experiment("unaligned-masked", "not aligned, masked", {}, ""))
    if "13" in figures:
        experiments.append(Experiment("aligned-unmasked", "aligned, not masked", {"mask": "no"}))
        experiments.append(Experiment("unaligned-unmasked", "not aligned, not masked", {"mask": "no"}, ""))
    if "15" in figures:
        double = 2 * config.size
        experiments.append(Experiment(f"size-{double}", f"aligned, masked, {double} px", {"size": str(double)}))
        experiments += BASELINES
    alignments: dict[str, dict[str, str]] = {BASE_ALIGNMENT: {}}
    if "alignment" in figures:
        alignments |= ALIGNMENTS
        experiments += [Experiment(f"aligned-{name}", f"alignment {name}", {}, name) for name in ALIGNMENTS]
    for experiment in experiments:
        experiment.config(config)  # refuse an invalid combination now, not after hours
    return ExperimentPlan(
        alignments=alignments,
        experiments=tuple(experiments),
        scored=("test",),
        needed=BASE,
        asked={"figures": list(figures)},
    )
