"""The settings of the alignment stage, and its two presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ml_engine.core.errors import InvalidConfig
from ml_engine.core.fields import as_type, names_of, setting

BACKBONES = ("resnet18", "resnet34", "resnet50")
INITIALISATIONS = ("paper", "centred", "residual-bounded")
METHODS = ("network", "network+search", "search", "landmarks")
CANONICALS = ("groupwise", "landmarks", "file")
CANONICAL_FITS = ("affine", "perspective")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """All settings of the alignment (paper, section 3.1); the defaults are those of preset ``default``.

    Raises InvalidConfig, naming the setting, for a value out of range.
    """

    method: str = setting("search", "How the affine of a film is estimated (paper, Fig. 5).", choices=METHODS)
    canonical: str = setting(
        "groupwise",
        "What the network and the search align to: groupwise = the mean of the films, aligned and averaged again in "
        "each round; landmarks = the mean of films aligned by their landmarks, as the paper's hand-aligned ones; "
        "file = an uploaded image.",
        choices=CANONICALS,
    )
    canonical_fit: str = setting(
        "affine",
        "How films are aligned by their landmarks before they are averaged into that canonical image: affine = "
        "rotation, translation, scale and shear; perspective = perspective as well. Scored films are always aligned by "
        "an affine.",
        choices=CANONICAL_FITS,
    )
    backbone: str = setting("resnet18", "Network that predicts the affine.", symbol="Φ_A", choices=BACKBONES)
    initialisation: str = setting(
        "residual-bounded",
        "How the network starts near the identity: paper = Eq. 3-4 as printed; centred = the same minus the mid-range; "
        "residual-bounded = a bounded shift, log-scale, angle and shear that start at 0.",
        choices=INITIALISATIONS,
    )
    alpha: float = setting(10.0, "Divides the spread of the initial predictions in Eq. 4.", symbol="α")
    constancy: float = setting(1.0, "Weight of the constancy loss (L1).", symbol="L_C")
    ssim: float = setting(1.0, "Weight of the reversed SSIM loss.", symbol="L_S")
    perceptual: float = setting(1.0, "Weight of the VGG19 perceptual loss at relu5_4.", symbol="L_P")
    perceptual_precision: str = setting(
        "float32",
        "Numbers in which VGG19 computes the perceptual loss, most of the time of a fit: bfloat16 takes half where GPU "
        "or processor multiply it. The network that aligns stays float32.",
        choices=PRECISIONS,
    )
    local_ncc: float = setting(1.0, "Weight of 1 - local normalised cross-correlation.")
    consistency: float = setting(1.0, "Weight of the consistency loss: f(Ax)·A = f(x) under known affines A.")
    augmentation: float = setting(1.0, "Strength of the known affines applied to films in training; 0 = none.")
    normalise_losses: bool = setting(True, "Divide each loss by its value before the first step.")
    valid_only: bool = setting(True, "Compute losses only where the film has pixels.")
    coarse_to_fine: bool = setting(True, "Blur films and canonical image, less in each epoch.")
    learning_rate: float = setting(
        1e-3, "Learning rate of Adam; the bounded head tolerates ten times that of preset paper."
    )
    batch: int = setting(32, "Films per optimiser step.")
    epochs: int = setting(50, "Passes over the films, in all rounds together.")
    patience: int = setting(
        0,
        "End a round of the network's training when its loss, on some of its films, unblurred and as they are, has not "
        "fallen by half a percent for this many epochs; 0 = train all epochs.",
    )
    rounds: int = setting(3, "Groupwise rounds: average the films, align them to the mean, average again.")
    size: int = setting(224, "Side of the films as the network sees them, in pixels.")
    canonical_images: int = setting(500, "Maximum number of films averaged into the canonical image.", symbol="N")
    search_steps: int = setting(40, "Optimiser steps of the search that refines each film's affine.")
    least_valid_area: float = setting(
        0.8,
        "An affine fails its checks if film and canonical frame overlap by less than this share of the smaller area.",
    )
    fallback: bool = setting(True, "Leave a film unaligned where its affine fails the checks.")
    guard_valid_area: float = setting(
        0.5, "Stop the fit when the aligned films cover less of the frame than this share; 0 never stops."
    )

    def __post_init__(self) -> None:
        self._check_choice("method", METHODS)
        self._check_choice("canonical", CANONICALS)
        if self.method == "landmarks" and self.canonical != "groupwise":
            raise InvalidConfig(
                f"alignment.canonical is {self.canonical} and alignment.method is landmarks, which does not use a "
                "canonical image: choose another method, or leave alignment.canonical out."
            )
        self._check_choice("canonical_fit", CANONICAL_FITS)
        if self.canonical_fit == "perspective" and self.canonical != "landmarks":
            raise InvalidConfig(
                f"alignment.canonical_fit is perspective and alignment.canonical is {self.canonical}: only films "
                "with landmarks are averaged in perspective, so choose alignment.canonical=landmarks too."
            )
        self._check_choice("backbone", BACKBONES)
        self._check_choice("initialisation", INITIALISATIONS)
        self._check_choice("perceptual_precision", PRECISIONS)
        for name in ("constancy", "ssim", "perceptual", "local_ncc", "consistency", "augmentation"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        if self.constancy + self.ssim + self.perceptual + self.local_ncc == 0:
            raise InvalidConfig(
                "alignment.constancy, ssim, perceptual and local_ncc are all 0: give at least one a weight."
            )
        self._check("alpha", self.alpha > 1, "above 1")
        self._check("learning_rate", 0 < self.learning_rate <= 1, "above 0 and at most 1")
        for name, least in (("batch", 2), ("epochs", 1), ("rounds", 1), ("canonical_images", 1)):
            self._check(name, getattr(self, name) >= least, f"at least {least}")
        self._check("rounds", self.rounds <= self.epochs, f"at most alignment.epochs ({self.epochs})")
        self._check("size", self.size >= 32 and self.size % 32 == 0, "a multiple of 32, such as 224")
        # a last batch of one film would leave batch normalisation a single value per channel
        single_value = self.size == 32 and self.batch == 2
        self._check("batch", not single_value, "at least 3 where alignment.size is 32")
        self._check("patience", self.patience >= 0, "at least 0")
        self._check("search_steps", self.search_steps >= 0, "at least 0")
        self._check("least_valid_area", 0 <= self.least_valid_area <= 1, "a share from 0 to 1")
        self._check("guard_valid_area", 0 <= self.guard_valid_area < 1, "a share from 0 to below 1")

    def _check(self, name: str, ok: bool, expected: str) -> None:
        if not ok:
            raise InvalidConfig(f"alignment.{name} is {getattr(self, name)}: it must be {expected}.")

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        self._check(name, getattr(self, name) in choices, "one of " + ", ".join(choices))

    @property
    def uses_network(self) -> bool:
        """Whether the network is trained and used."""
        return self.method in ("network", "network+search")

    @property
    def uses_search(self) -> bool:
        """Whether affines are refined by the search."""
        return self.method in ("search", "network+search") and self.search_steps > 0

    @property
    def uses_landmarks(self) -> bool:
        """Whether a fit needs landmarks. The method ``landmarks`` needs them for each film it aligns as well."""
        return "landmarks" in (self.method, self.canonical)

    @classmethod
    def preset(cls, name: str) -> AlignmentConfig:
        """The settings of preset ``paper``, ``paper-448`` or ``default``. Raises InvalidConfig for another name."""
        if name in ("paper", "paper-448"):
            return cls(**PAPER)
        if name == "default":
            return cls()
        raise InvalidConfig(f"alignment has no preset {name!r}: choose paper or default.")

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON types; `from_json` restores an equal config."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> AlignmentConfig:
        """The config with these settings, all others as in preset ``default``. Raises InvalidConfig."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidConfig(
                f"alignment.{unknown[0]} is not a setting of the alignment. The settings are: {names_of(cls)}."
            )
        return cls(**{name: as_type(cls, name, value, shown=f"alignment.{name}") for name, value in values.items()})


# The settings of preset ``paper`` that differ from ``default``.
PAPER: dict[str, Any] = {
    "method": "network",
    "initialisation": "paper",
    "local_ncc": 0.0,
    "consistency": 0.0,
    "augmentation": 0.0,
    "normalise_losses": False,
    "valid_only": False,
    "coarse_to_fine": False,
    "learning_rate": 1e-4,
    "rounds": 1,
    "search_steps": 0,
    "fallback": False,
    "guard_valid_area": 0.0,
}
