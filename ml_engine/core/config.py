"""All settings of the method as one validated value, and the three presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ml_engine.core import architectures, detector_kinds, published_weights
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.architectures import LAYERS as LAYERS
from ml_engine.core.errors import InvalidConfig
from ml_engine.core.fields import as_type, check_bounds, from_text, names_of, setting

DETECTORS = {name: kind.words for name, kind in detector_kinds.KINDS.items()}
PRESETS = ("default", "paper", "paper-448")
VERSION = 3  # of a stored config; to be raised when a default changes or a setting is added, see `BEFORE`
FILM_SCORES = ("mean+top", "mean", "top", "box", "max")
BACKBONES = architectures.NAMES  # offered by forms; timm:NAME is accepted as well


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """The settings of a run; the defaults are those of preset ``default``.

    Raises InvalidConfig for a value out of range, with the setting, its value and what is expected.
    """

    preset: str = setting("default", "The set of values that the others start from.", choices=PRESETS)
    seed: int = setting(0, "Seed of every random draw.", low=0, high=2**31 - 1)

    detector: str = setting(
        "patchcore",
        "What is fitted: PatchCore with global and region banks, or a published detector on the same features for "
        "comparison.",
        choices=tuple(DETECTORS),
    )

    intensity: str = setting(
        "window",
        "Gray scale: minmax = 8-bit films divided by 255, deeper ones minimum to maximum; window = the film's "
        "VOI LUT or window, or two percentiles where it has neither.",
        choices=("minmax", "window"),
    )
    low_percentile: float = setting(0.5, "Percentile that becomes black in a film without a window.", low=0, high=49)
    high_percentile: float = setting(
        99.5, "Percentile that becomes white in a film without a window.", low=51, high=100
    )
    clahe: bool = setting(False, "Equalise the contrast by CLAHE, inside the film only.")
    clahe_clip: float = setting(
        2.0, "Clip limit of CLAHE, as a multiple of a uniform histogram's count.", low=1, high=256
    )
    clahe_tiles: int = setting(8, "CLAHE tiles along each side of the film.", low=1, high=64)
    size: int = setting(
        224, "Side of the canonical image in pixels; a multiple of 32, or of a ViT's patch.", low=32, high=2048
    )
    resize: str = setting(
        "pad", "stretch = each axis on its own; pad = aspect ratio kept, the rest black.", choices=("stretch", "pad")
    )

    align: str = setting("network", "Whether films are aligned.", choices=("network", "none"))
    alignment: AlignmentConfig = field(
        default_factory=AlignmentConfig, metadata={"help": "The settings of the alignment.", "symbol": ""}
    )

    backbone: str = setting(
        "tf_efficientnet_lite2",
        "Network that extracts the patch features: EfficientNet-Lite, one of torchvision's, or timm:NAME for any of "
        "timm's.",
        symbol="f",
        choices=BACKBONES,
        is_open=True,
    )
    weights: str = setting(
        "imagenet",
        "imagenet = those of EfficientNet-Lite that come with Hilum, or torchvision's IMAGENET1K_V1; imagenet-v2 and "
        "dinov2 where they are published for the backbone; random = an untrained network, for trials only; or the name "
        "of an imported file.",
    )
    layers: str = setting(
        "layer2+layer3",
        "Layers of the backbone that are concatenated, joined by +: layer1 to layer4 have the strides 4, 8, 16 and 32; "
        "a ViT has block0, block1 and so on, or last.",
    )
    pool: int = setting(3, "Side of the neighbourhood averaged around each patch, in patches; odd.", low=1, high=15)
    pool_padding: str = setting(
        "excluded",
        "At the edge of the map, what that average counts outside it: counted = zeros, as both published codes of the "
        "method do; excluded = nothing.",
        choices=("excluded", "counted"),
    )

    precision: str = setting(
        "float32",
        "Numbers in which the backbone computes: bfloat16 has three digits and takes half the time on a GPU or a "
        "processor that multiplies it; it changes scores.",
        choices=("float32", "bfloat16"),
    )
    kept_precision: str = setting(
        "half",
        "Numbers in which films and features are kept and compared: half = films in 65,536 levels of gray, features in "
        "16 bits; single = 32 bits, in which detectors of 0.3 and before score as they did.",
        choices=("half", "single"),
    )

    mask: bool = setting(True, "Exclude patches that are black in the mean film.")
    mask_keep: float | None = setting(0.79, "Share of patches to keep; none = use mask_threshold.", low=0.01, high=1)
    mask_threshold: float = setting(
        10.0, "Intensity of the mean film above which a pixel counts, on the 8-bit scale.", low=0, high=255
    )
    mask_coverage: float = setting(
        0.5, "Share of a patch's pixels that must count for it to be kept.", low=0.01, high=1
    )
    mask_images: int = setting(500, "Maximum number of aligned films averaged for the mask.", low=1, high=10**6)
    mask_least: float = setting(0.55, "Refuse a mask that keeps less than this share.", low=0, high=1)
    mask_most: float = setting(0.95, "Refuse a mask that keeps more than this share.", low=0, high=1)

    grid: int = setting(
        4, "Region grid cells along each side; each cell has its own memory bank.", symbol="n", low=1, high=64
    )
    halo: int = setting(
        1,
        "Width in patches of the border around each cell that its bank is also selected from; tolerates small "
        "misalignment.",
        low=0,
        high=64,
    )
    rate: float = setting(0.01, "Share of patches selected for a memory bank.", symbol="s", low=1e-6, high=1)
    bank_most: int = setting(
        0, "Most vectors of a memory bank, where the share would be more; 0 = no limit.", low=0, high=10**8
    )
    coreset_start: str = setting(
        "first",
        "First pick of the greedy k-centre: first = patch 0; seeded = drawn by the seed.",
        choices=("first", "seeded"),
    )
    coreset_dimensions: int = setting(128, "Dimensions after the sparse random projection.", low=1, high=4096)
    coreset_exact_limit: float = setting(
        2e8, "Select in full dimension up to this product of patches and picks; 0 = always project.", low=0
    )
    neighbours: int = setting(
        1, "Number of nearest bank vectors over which a patch score is the mean.", symbol="K", low=1, high=1000
    )
    distance: str = setting(
        "l2", "squared = squared Euclidean distance (paper, Eq. 1); l2 = its square root.", choices=("squared", "l2")
    )

    reweight: int = setting(
        0,
        "Neighbours of the nearest bank vector by which a patch score is reweighted, as PatchCore does for a film's "
        "highest patch; 0 = none.",
        symbol="b",
        low=0,
        high=1000,
    )
    neighbours_tried: str = setting(
        "", "Further values of K to choose from on the tune part, such as 1,3,9; empty = none."
    )
    rate_tried: str = setting("", "Further rates s to choose from on the tune part, such as 0.001,0.1; empty = none.")
    image_score_tried: str = setting(
        "", "Further film scores to choose from on the tune part, such as mean,max; empty = none."
    )
    top_share_tried: str = setting(
        "", "Further shares of highest patches to choose from on the tune part, such as 0.01,0.05; empty = none."
    )

    film_neighbours: int = setting(
        0, "Number of nearest films for spade and dn2; 0 = as published, 50 and 2.", low=0, high=10**6
    )
    padim_dimensions: int = setting(100, "Feature dimensions that padim draws by the seed.", low=1, high=4096)

    search: str = setting(
        "torch",
        "Library for the nearest-neighbour search: torch, or faiss if installed; both give the same numbers.",
        choices=("torch", "faiss"),
    )

    fusion_weight: float = setting(
        0.6, "Weight of the region map; the global map has the remainder.", symbol="w", low=0, high=1
    )
    fusion_choice: str = setting(
        "tune",
        "config = use fusion_weight; tune = the weight with the highest AUROC on the tune part.",
        choices=("config", "tune"),
    )
    standardise: bool = setting(True, "Standardise both maps per position by the calibration films before fusion.")
    image_score: str = setting(
        "mean+top",
        "Film score: mean = the mean of its patches; top = that of its highest patches; mean+top = both, each "
        "standardised by the calibration films, and added; box = its highest 3 x 3 patches, less its median; max = its "
        "highest patch.",
        choices=FILM_SCORES,
    )
    top_share: float = setting(0.01, "Share of patches averaged for image_score = top.", low=1e-6, high=1)
    threshold: str = setting(
        "film",
        "Threshold of the fused map: film = at most the share false_alarm_rate of normal films is marked anywhere; "
        "percentile = the threshold_percentile of the patches of the calibration films.",
        choices=("film", "percentile"),
    )
    false_alarm_rate: float = setting(
        0.1, "Share of normal films that may be marked, for threshold = film.", low=1e-4, high=0.99
    )
    threshold_percentile: float = setting(
        99.5, "Percentile of the calibration films' patches, for threshold = percentile.", low=50, high=100
    )
    cross_fit: bool = setting(
        True,
        "Score each fit film by a model of other patients' films, to list suspect normals, and to calibrate where "
        "there is no calibrate part.",
    )
    folds: int = setting(10, "Folds of the fit part's patients, for cross_fit.", low=2, high=100)

    controls: int = setting(
        40,
        "Held-out normal films that a fit changes harmlessly, to report how many of them it then flags; 0 = none.",
        low=0,
        high=10**6,
    )

    device: str = setting("auto", "Device to compute on.", choices=("auto", "cpu", "cuda"))
    threads: int = setting(2, "CPU threads; results are byte-identical for an equal number.", low=1, high=256)
    batch: int = setting(8, "Films per pass of the backbone.", low=1, high=256)
    memory_gib: float = setting(
        0.0,
        "Memory that a run may use, in GiB, mapped files counted; it is refused where it needs more. 0 = what the "
        "machine has.",
        low=0,
        high=10**6,
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            check_bounds(f.name, getattr(self, f.name), f.metadata)
        self._check_backbone()
        self._check("pool", self.pool % 2 == 1, "odd, such as 3")
        self._check("grid", self.grid <= self.patches, f"at most {self.patches}, the patches along a side")
        hundredths = abs(self.fusion_weight * 100 - round(self.fusion_weight * 100)) < 1e-9
        self._check("fusion_weight", hundredths, "a whole number of hundredths, such as 0.6 or 0.25")
        self._check("reweight", self.reweight != 1, "0, or at least 2: with one vector every score would become 0")
        can_reweight = self.reweight == 0 or self.detector == "patchcore"
        self._check("reweight", can_reweight, "0: only detector=patchcore reweights")
        for name in ("neighbours", "rate", "image_score", "top_share"):
            self._check_tried(name)
        has_share = not self.top_share_tried.strip() or {"top", "max"} & {*self.tried("image_score")}
        self._check("top_share_tried", bool(has_share), "empty, since top is not among the film scores")
        self._check("mask_most", self.mask_most > self.mask_least, f"above mask_least ({self.mask_least})")

    def _check_backbone(self) -> None:
        """Check that layers, size and weights fit the backbone."""
        backbone = architectures.find(self.backbone)
        self._check("layers", backbone.has_layers(self.layer_names), backbone.layers_in_words)
        step = backbone.multiple
        near = max(1, round(224 / step)) * step
        of = f", the patch of {self.backbone}" if backbone.patch else ""
        self._check("size", self.size % step == 0, f"a multiple of {step}{of}, such as {near} or {2 * near}")
        published = published_weights.sets_of(self.backbone)
        ok = bool(self.weights.strip()) and (self.weights in published or self.weights not in published_weights.SETS)
        names = ", ".join([*published, "random"])
        self._check("weights", ok, f"{names} or the name of an imported file with backbone {self.backbone}")

    def _check(self, name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise InvalidConfig(f"{name} is {getattr(self, name)!r}: it must be {expected}.")

    def _check_tried(self, name: str) -> None:
        """Check that the candidates are valid values of the setting; only PatchCore has candidates."""
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
            check_bounds(shown, value, facts)

    def tried(self, name: str) -> tuple[Any, ...]:
        """The values of ``neighbours``, ``rate``, ``image_score`` or ``top_share`` to choose from on the tune part: the
        configured one, then the others in ascending order."""
        parsers: dict[str, Callable[[str], Any]] = {"neighbours": int, "image_score": str.strip}
        parse = parsers.get(name, float)
        configured = getattr(self, name)
        others = {parse(text) for text in getattr(self, f"{name}_tried").split(",") if text.strip()} - {configured}
        return (configured, *sorted(others))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names joined in ``layers``."""
        return tuple(self.layers.split("+"))

    @property
    def keeps_half(self) -> bool:
        """Whether films and features are kept and compared in 16 bits."""
        return self.kept_precision == "half"

    @property
    def stride(self) -> int:
        """The side of a patch in pixels of the canonical image: the stride of the first layer used."""
        return architectures.find(self.backbone).stride(self.layer_names[0])

    @property
    def patches(self) -> int:
        """Patches along a side of the canonical image."""
        return self.size // self.stride

    @classmethod
    def preset_values(cls, name: str, *, version: int = VERSION) -> dict[str, Any]:
        """The settings of preset ``name`` that differ from ``default``, with its name and its alignment settings.

        An earlier ``version`` gives the values that the preset had then, also of settings that were added since.
        """
        if name not in PRESETS:
            raise InvalidConfig(f"There is no preset {name!r}: choose one of {', '.join(PRESETS)}.")
        values = {"default": {}, "paper": PAPER, "paper-448": {**PAPER, "size": 448}}[name]
        alignment = AlignmentConfig.preset(name)
        if version < 2:
            values = BEFORE | (values | BEFORE_IN_PAPER if name != "default" else {})
            alignment = alignment if name != "default" else dataclasses.replace(alignment, method="network+search")
        if version < 3:
            values = values | BEFORE_3
        return {**values, "preset": name, "alignment": alignment}

    @classmethod
    def from_preset(cls, name: str) -> PipelineConfig:
        """The config of preset ``paper``, ``paper-448`` or ``default``. Raises InvalidConfig for another name."""
        return cls(**cls.preset_values(name))

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON types, those of the alignment nested, with the `VERSION`; `from_json` restores an equal
        config."""
        return asdict(self) | {"alignment": self.alignment.to_json(), "version": VERSION}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PipelineConfig:
        """The config with these stored settings, all others as their preset had them in the config's ``version``.

        A config without one was written by 0.2.0 or before. Raises InvalidConfig.
        """
        version = values.get("version", 1)
        if type(version) is not int or not 1 <= version <= VERSION:
            raise InvalidConfig(
                f"version is {version!r}: this Hilum knows the settings up to version {VERSION}. Run it with the Hilum "
                "that wrote them, or a later one."
            )
        given = {name: value for name, value in values.items() if name != "version"}
        unknown = sorted(set(given) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidConfig(f"{unknown[0]} is not a setting. The settings are: {names_of(cls)}.")
        settings = {name: as_type(cls, name, value, shown=name) for name, value in given.items()}
        base = cls.preset_values(settings.get("preset", "default"), version=version)
        if "alignment" in settings:
            settings["alignment"] = AlignmentConfig.from_json({**base["alignment"].to_json(), **settings["alignment"]})
        return cls(**{**base, **settings})

    def replace(self, **values: Any) -> PipelineConfig:
        """This config with some settings changed. Raises InvalidConfig."""
        return dataclasses.replace(self, **values)

    def _implied_by(self, backbone: architectures.Backbone) -> dict[str, Any]:
        """New values of ``layers`` and ``weights`` where those of this config do not fit another backbone."""
        published = published_weights.sets_of(backbone.name)
        implied: dict[str, Any] = {}
        if not backbone.has_layers(self.layer_names):
            implied["layers"] = backbone.usual_layers
        if self.weights in published_weights.SETS and self.weights not in published and published:
            implied["weights"] = published[0]
        return implied

    def replace_fields(self, texts: Mapping[str, str]) -> PipelineConfig:
        """This config with settings parsed from text by name, such as ``rate``, ``mask.keep`` or ``alignment.epochs``.

        They are checked together, so that settings that depend on each other may come in any order. Some imply
        others: a fusion weight implies ``fusion_choice=config``, a baseline the fusion weight 0, a backbone layers and
        weights that fit it. Raises InvalidConfig for an unknown name and for a text that is not a value of it.
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
            values.setdefault("fusion_choice", "config")  # an explicit weight is not chosen on tune
        if "backbone" in values:
            values = self._implied_by(architectures.find(values["backbone"])) | values
        if inner:
            values["alignment"] = dataclasses.replace(self.alignment, **inner)
        return self.replace(**values)


# How a film is prepared before it is aligned: the same when the alignment is fitted and when it is used.
PREPARATION = ("intensity", "resize", "low_percentile", "high_percentile", "clahe", "clahe_clip", "clahe_tiles")


def preparation_difference(fitted: Mapping[str, Any], config: PipelineConfig) -> tuple[str, Any, Any] | None:
    """The first setting of `PREPARATION` that differs: its name, its value in the config ``fitted`` (JSON) of an
    alignment, and its value in ``config``; None if none differs. Settings that an older alignment does not record are
    skipped, except CLAHE, which older alignments did not use."""
    made_with = {"clahe": False} | dict(fitted)
    for name in PREPARATION:
        if name in made_with and made_with[name] != getattr(config, name):
            return name, made_with[name], getattr(config, name)
    return None


# The settings of preset ``paper`` that differ from ``default``; docs/method.md describes both.
PAPER: dict[str, Any] = {
    "backbone": "wide_resnet50_2",
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
    "pool_padding": "counted",
    "threshold": "percentile",
    "cross_fit": False,
}

# Configs of version 2, of 0.3.
BEFORE_3: dict[str, Any] = {"kept_precision": "single"}
# Configs without a version, of 0.2.0 and before: the settings of all presets that were others then, and of ``paper``.
BEFORE: dict[str, Any] = {
    "backbone": "wide_resnet50_2",
    "pool_padding": "excluded",
    "image_score": "top",
    "folds": 5,
    "controls": 0,
}
BEFORE_IN_PAPER: dict[str, Any] = {"pool_padding": "excluded", "image_score": "max"}
