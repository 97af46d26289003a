"""Every choice of the method as one validated value, and the three presets (METHOD)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ml_engine.core import architectures, detector_kinds, published_weights
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.architectures import LAYERS as LAYERS
from ml_engine.core.errors import InvalidConfig
from ml_engine.core.fields import as_type, from_text, names_of

DETECTORS = {name: kind.words for name, kind in detector_kinds.KINDS.items()}
PRESETS = ("default", "paper", "paper-448")
BACKBONES = architectures.NAMES  # those that forms offer; timm:NAME is taken too


def setting(
    default: Any,
    help: str,
    *,
    symbol: str = "",
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    is_open: bool = False,
) -> Any:
    """A dataclass field with its bounds and the words that a form or a page shows beside it. Other values than the
    ``choices`` are allowed where it ``is_open``."""
    facts = {"help": help, "symbol": symbol, "choices": choices, "low": low, "high": high, "is_open": is_open}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """The settings of a run; the values here are those of preset ``default``.

    Raises InvalidConfig, naming the setting, its value and what to do, for a value out of range.
    """

    preset: str = setting("default", "The set of values that the others start from.", choices=PRESETS)
    seed: int = setting(0, "Fixes every random draw.", low=0, high=2**31 - 1)

    detector: str = setting(
        "patchcore",
        "What is fitted: PatchCore with its global and region banks, or a published detector to compare it with, on "
        "the same features.",
        choices=tuple(DETECTORS),
    )

    intensity: str = setting(
        "window",
        "Gray scale: minmax = 8-bit films divided by 255, deeper ones minimum to maximum; window = the film's "
        "VOI LUT or window, else two percentiles.",
        choices=("minmax", "window"),
    )
    low_percentile: float = setting(0.5, "What becomes black where a film has no window.", low=0, high=49)
    high_percentile: float = setting(99.5, "What becomes white where a film has no window.", low=51, high=100)
    clahe: bool = setting(False, "Equalise contrast tile by tile (CLAHE), inside the film only.")
    clahe_clip: float = setting(
        2.0, "How far a gray level may exceed its even share of a tile, for clahe.", low=1, high=256
    )
    clahe_tiles: int = setting(8, "Tiles along each side of the film, for clahe.", low=1, high=64)
    size: int = setting(
        224, "Side of the canonical image in pixels; a multiple of 32, or of a ViT's patch.", low=32, high=2048
    )
    resize: str = setting(
        "pad", "stretch = each axis on its own; pad = aspect kept, the rest black.", choices=("stretch", "pad")
    )

    align: str = setting("network", "Whether films are aligned first.", choices=("network", "none"))
    alignment: AlignmentConfig = field(
        default_factory=AlignmentConfig, metadata={"help": "The settings of the alignment.", "symbol": ""}
    )

    backbone: str = setting(
        "wide_resnet50_2",
        "Network that gives the patch features: one of torchvision's, or timm:NAME for any of timm's.",
        symbol="f",
        choices=BACKBONES,
        is_open=True,
    )
    weights: str = setting(
        "imagenet",
        "imagenet = torchvision's IMAGENET1K_V1; imagenet-v2 and dinov2 where they are published for the backbone; "
        "random = an untrained network, for trying out only; or the name of an imported file.",
    )
    layers: str = setting(
        "layer2+layer3",
        "Layers of the backbone that are concatenated, joined by +: layer1 to layer4 have the strides 4, 8, 16 and 32; "
        "a ViT has block0, block1 and so on, or last.",
    )
    pool: int = setting(3, "Side of the neighbourhood averaged around each patch; odd.", low=1, high=15)

    mask: bool = setting(True, "Leave out patches that the mean film shows black.")
    mask_keep: float | None = setting(
        0.79, "Share of patches to keep; none = mask_threshold decides.", low=0.01, high=1
    )
    mask_threshold: float = setting(
        10.0, "Mean intensity above which a pixel counts, on the 8-bit scale.", low=0, high=255
    )
    mask_coverage: float = setting(0.5, "Share of a patch's pixels that must count.", low=0.01, high=1)
    mask_images: int = setting(500, "Aligned films averaged for the mask, at most.", low=1, high=10**6)
    mask_least: float = setting(0.55, "Refuse a mask that keeps less than this share.", low=0, high=1)
    mask_most: float = setting(0.95, "Refuse a mask that keeps more than this share.", low=0, high=1)

    grid: int = setting(4, "Cells along each side, each with a bank of its own.", symbol="n", low=1, high=64)
    halo: int = setting(
        1,
        "Patches around each cell that its bank is chosen from too, so that films aligned a little off fit.",
        low=0,
        high=64,
    )
    rate: float = setting(0.01, "Share of patches kept in a memory bank.", symbol="s", low=1e-6, high=1)
    coreset_start: str = setting(
        "first",
        "First pick of the greedy k-centre: patch 0, or one drawn by the seed.",
        choices=("first", "seeded"),
    )
    coreset_dimensions: int = setting(128, "Dimensions of the sparse random projection.", low=1, high=4096)
    coreset_exact_limit: float = setting(
        2e8, "Select in full dimension while patches times picks stay at or below this; 0 always projects.", low=0
    )
    neighbours: int = setting(1, "Nearest bank vectors that a score is the mean over.", symbol="K", low=1, high=1000)
    distance: str = setting(
        "l2", "squared = squared Euclidean distance (Eq. 1); l2 = its root.", choices=("squared", "l2")
    )

    reweight: int = setting(
        0,
        "Bank vectors around the nearest one by which a score is weighed: PatchCore's reweighting, of every patch; "
        "0 = none.",
        symbol="b",
        low=0,
        high=1000,
    )
    neighbours_tried: str = setting("", "Further K to choose from on the tune part, such as 1,3,9; empty = none.")
    rate_tried: str = setting("", "Further rates s to choose from on the tune part, such as 0.001,0.1; empty = none.")
    top_share_tried: str = setting(
        "", "Further shares of highest patches to choose from on the tune part, such as 0.01,0.05; empty = none."
    )

    film_neighbours: int = setting(
        0, "Nearest films that spade and dn2 take the mean over; 0 = as published, 50 and 2.", low=0, high=10**6
    )
    padim_dimensions: int = setting(100, "Feature dimensions that padim draws by the seed.", low=1, high=4096)

    search: str = setting(
        "torch",
        "How the nearest are found: torch, or faiss where it is installed; the numbers are the same.",
        choices=("torch", "faiss"),
    )

    fusion_weight: float = setting(0.6, "Weight of the region map; the rest is global.", symbol="w", low=0, high=1)
    fusion_choice: str = setting(
        "tune",
        "config = fusion_weight as given; tune = the weight with the best AUROC on the tune part.",
        choices=("config", "tune"),
    )
    standardise: bool = setting(True, "Standardise both maps per position by calibration normals before fusion.")
    image_score: str = setting(
        "top", "A film's score: max = its highest patch; top = the mean of its highest patches.", choices=("max", "top")
    )
    top_share: float = setting(0.01, "Share of patches that count for image_score = top.", low=1e-6, high=1)
    threshold: str = setting(
        "film",
        "Where the fused map is marked: film = so that a normal film is marked anywhere at no more than "
        "false_alarm_rate; percentile = above threshold_percentile of calibration normals' patches.",
        choices=("film", "percentile"),
    )
    false_alarm_rate: float = setting(
        0.1, "Share of normal films that may be marked, for threshold = film.", low=1e-4, high=0.99
    )
    threshold_percentile: float = setting(
        99.5, "Percentile of calibration normals' patches, for threshold = percentile.", low=50, high=100
    )
    cross_fit: bool = setting(
        True, "Score each fit film by a model of the other patients' films, so that suspect normals come up."
    )
    folds: int = setting(
        5, "Folds of fit patients, for cross_fit and where there is no calibrate part.", low=2, high=100
    )

    device: str = setting("auto", "Where it runs.", choices=("auto", "cpu", "cuda"))
    threads: int = setting(2, "CPU threads; results are byte-identical for the same number.", low=1, high=256)
    batch: int = setting(8, "Films in one pass of the backbone.", low=1, high=256)

    def __post_init__(self) -> None:
        for f in fields(self):
            _check_bounds(f.name, getattr(self, f.name), f.metadata)
        self._check_backbone()
        self._check("pool", self.pool % 2 == 1, "odd, such as 3")
        self._check("grid", self.grid <= self.patches, f"at most {self.patches}, the patches along a side")
        hundredths = abs(self.fusion_weight * 100 - round(self.fusion_weight * 100)) < 1e-9
        self._check("fusion_weight", hundredths, "a whole number of hundredths, such as 0.6 or 0.25")
        self._check("reweight", self.reweight != 1, "0, or at least 2: one vector weighs every score to nothing")
        can_reweight = self.reweight == 0 or self.detector == "patchcore"
        self._check("reweight", can_reweight, "0: only detector=patchcore reweights")
        for name in ("neighbours", "rate", "top_share"):
            self._check_tried(name)
        self._check("mask_most", self.mask_most > self.mask_least, f"above mask_least ({self.mask_least})")

    def _check_backbone(self) -> None:
        """The layers, the size and the weights are the backbone's."""
        backbone = architectures.find(self.backbone)
        self._check("layers", backbone.has_layers(self.layer_names), backbone.layers_in_words)
        step = backbone.multiple
        near = max(1, round(224 / step)) * step
        of = f", the patch of {self.backbone}" if backbone.patch else ""
        self._check("size", self.size % step == 0, f"a multiple of {step}{of}, such as {near} or {2 * near}")
        own = published_weights.sets_of(self.backbone)
        ok = bool(self.weights.strip()) and (self.weights in own or self.weights not in published_weights.SETS)
        words = ", ".join([*own, "random"])
        self._check("weights", ok, f"{words} or the name of an imported file with backbone {self.backbone}")

    def _check(self, name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise InvalidConfig(f"{name} is {getattr(self, name)!r}: it must be {expected}.")

    def _check_tried(self, name: str) -> None:
        """Candidates are values that the setting itself may have, and only PatchCore has them."""
        shown = f"{name}_tried"
        if not getattr(self, shown).strip():
            return
        self._check(shown, self.detector == "patchcore", "empty: only detector=patchcore has candidates")
        facts = {f.name: f.metadata for f in fields(self)}[name]
        try:
            values = self.tried(name)
        except ValueError:
            raise InvalidConfig(
                f"{shown} is {getattr(self, shown)!r}: write numbers with commas between them, such as 1,3,9."
            ) from None
        for value in values:
            _check_bounds(shown, value, facts)

    def tried(self, name: str) -> tuple[Any, ...]:
        """The values of ``neighbours``, ``rate`` or ``top_share`` to choose from on tune: the configured one, then the
        others in ascending order."""
        kind = int if name == "neighbours" else float
        own = getattr(self, name)
        others = {kind(text) for text in getattr(self, f"{name}_tried").split(",") if text.strip()} - {own}
        return (own, *sorted(others))

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(self.layers.split("+"))

    @property
    def stride(self) -> int:
        """Side of a patch in canonical pixels: the stride of the first layer used."""
        return architectures.find(self.backbone).stride(self.layer_names[0])

    @property
    def patches(self) -> int:
        """Patches along a side of the canonical grid."""
        return self.size // self.stride

    @classmethod
    def preset_values(cls, name: str) -> dict[str, Any]:
        """What preset ``name`` sets differently from ``default``."""
        if name not in PRESETS:
            raise InvalidConfig(f"There is no preset {name!r}: choose one of {', '.join(PRESETS)}.")
        values = {"default": {}, "paper": PAPER, "paper-448": {**PAPER, "size": 448}}[name]
        return {**values, "preset": name, "alignment": AlignmentConfig.preset(name)}

    @classmethod
    def from_preset(cls, name: str) -> PipelineConfig:
        """The config of preset ``paper``, ``paper-448`` or ``default``. Raises InvalidConfig."""
        return cls(**cls.preset_values(name))

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types, those of the alignment nested; `from_json` gives an equal value back."""
        return asdict(self) | {"alignment": self.alignment.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PipelineConfig:
        """The config with these fields, all others those of its preset. Raises InvalidConfig."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidConfig(f"{unknown[0]} is no setting. The settings are: {names_of(cls)}.")
        given = {name: as_type(cls, name, value, shown=name) for name, value in values.items()}
        base = cls.preset_values(given.get("preset", "default"))
        if "alignment" in given:
            given["alignment"] = AlignmentConfig.from_json({**base["alignment"].to_json(), **given["alignment"]})
        return cls(**{**base, **given})

    def replace(self, **values: Any) -> PipelineConfig:
        """This config with some fields changed. Raises InvalidConfig."""
        return dataclasses.replace(self, **values)

    def _brought_along(self, backbone: architectures.Backbone) -> dict[str, Any]:
        """The layers and the weights that another backbone needs where those of this config are not its own."""
        own = published_weights.sets_of(backbone.name)
        brought: dict[str, Any] = {}
        if not backbone.has_layers(self.layer_names):
            brought["layers"] = backbone.usual_layers
        if self.weights in published_weights.SETS and self.weights not in own and own:
            brought["weights"] = own[0]
        return brought

    def replace_fields(self, texts: Mapping[str, str]) -> PipelineConfig:
        """This config with fields read from text, by name: ``rate``, ``mask.keep`` or ``alignment.epochs``. They are
        checked together: two that depend on each other may come in any order. A fusion weight brings
        ``fusion_choice=config`` along, and a baseline the fusion weight 0.

        Raises InvalidConfig for an unknown name or a text that is no value of it.
        """
        values: dict[str, Any] = {}
        inner: dict[str, Any] = {}
        for name, text in texts.items():
            flat = name.replace(".", "_").replace("-", "_")
            if flat == "preset":
                raise InvalidConfig("preset cannot be set on its own: choose it first, then change single settings.")
            if name.startswith("alignment."):
                field_name = name.removeprefix("alignment.")
                inner[field_name] = from_text(AlignmentConfig, field_name, text, shown=name)
            else:
                values[flat] = from_text(PipelineConfig, flat, text, shown=name)
        if values.get("detector", "patchcore") != "patchcore":  # see `detector_kinds.KINDS`
            values.setdefault("fusion_weight", 0.0)
        if "fusion_weight" in values:
            values.setdefault("fusion_choice", "config")  # a weight that is asked for is not chosen again
        if "backbone" in values:
            values = self._brought_along(architectures.find(values["backbone"])) | values
        if inner:
            values["alignment"] = dataclasses.replace(self.alignment, **inner)
        return self.replace(**values)


# How a film is prepared before it is aligned: the same when the alignment is fitted and when it is used.
PREPARATION = ("intensity", "resize", "low_percentile", "high_percentile", "clahe", "clahe_clip", "clahe_tiles")


def preparation_difference(fitted: Mapping[str, Any], config: PipelineConfig) -> tuple[str, Any, Any] | None:
    """The first setting of `PREPARATION` that differs: its name, its value in the config ``fitted`` (JSON) of an
    alignment, and in ``config``; None where none does. One that an older alignment does not name is passed over, but
    for CLAHE, which it did without."""
    made_with = {"clahe": False} | dict(fitted)
    for name in PREPARATION:
        if name in made_with and made_with[name] != getattr(config, name):
            return name, made_with[name], getattr(config, name)
    return None


# What preset ``paper`` sets differently; a reason for each stands in METHOD.
PAPER: dict[str, Any] = {
    "intensity": "minmax",
    "resize": "stretch",
    "mask_keep": None,
    "mask_least": 0.0,
    "mask_most": 1.0,
    "halo": 0,
    "coreset_exact_limit": 0.0,
    "neighbours": 9,
    "distance": "squared",
    "fusion_choice": "config",
    "standardise": False,
    "image_score": "max",
    "threshold": "percentile",
    "cross_fit": False,
}


def _check_bounds(name: str, value: Any, facts: Any) -> None:
    choices, low, high = facts.get("choices"), facts.get("low"), facts.get("high")
    if choices and value not in choices and not facts.get("is_open"):
        raise InvalidConfig(f"{name} is {value!r}: choose one of {', '.join(choices)}.")
    if value is None or (low is None and high is None):
        return
    ends = f"from {low:g} to {high:g}" if high is not None else f"at least {low:g}"
    if not math.isfinite(value) or value < low or (high is not None and value > high):
        raise InvalidConfig(f"{name} is {value}: it must be {ends}.")
