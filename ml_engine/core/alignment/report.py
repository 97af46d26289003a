"""The measurements of an alignment on the films of its fit, as types. Does not import torch, since pages use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_engine.core.json_objects import OPTIONAL, from_json, to_json

FIT_AGAIN = "fit the alignment again"


@dataclass(frozen=True, kw_only=True)
class AffineErrors:
    """The differences of affines of the canonical frame from the identity, as medians (and a 95th percentile) of
    absolute values over films. The displacement of a grid of points of the frame and the shift of its centre are in
    canonical pixels of the network's side, the angle in degrees, the scale as its natural logarithm."""

    displacement_median_px: float
    displacement_p95_px: float
    shift_median_px: float
    angle_median_degrees: float
    log_scale_median: float


@dataclass(frozen=True, kw_only=True)
class KnownAffines:
    """The recovery of known affines on ``films`` films: the affines as drawn, and what remains after the alignment."""

    films: int
    before: AffineErrors
    after: AffineErrors


@dataclass(frozen=True, kw_only=True)
class KnownMeasures:
    """``consistency``: the difference between A · f(A x) and f(x) for known affines A. Both fields are None for an
    alignment by landmarks, and if no film passes the checks."""

    known: KnownAffines | None = field(default=None, metadata=OPTIONAL)
    consistency: AffineErrors | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))


@dataclass(frozen=True, kw_only=True)
class LandmarkResiduals:
    """The distances of the films' landmarks from the canonical ones, as a root mean square per film in canonical
    pixels of the network's side, over the ``aligned`` ones of ``films`` films. ``fit``, affine or perspective, is set
    only if the canonical image was made by landmarks."""

    films: int
    aligned: int
    residual_median_px: float
    residual_p95_px: float
    residual_most_px: float
    fit: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class AlignmentMeasures:
    """An alignment measured on its ``films``, before and after they were aligned, inside the valid area. NCC in [-1, 1]
    and SSIM are to the canonical image, as means over films. The variance is across films, in squared units of [0, 1],
    and None if no pixel is covered by half of them. ``share_...`` are the shares of films, in [0, 1], that failed a
    check. ``frame_filled`` is the mean share of the frame that a film fills, ``frame_filled_least`` the smallest.
    ``history`` has one object per epoch; ``initial_losses`` are the divisors of the losses."""

    films: int
    ncc_before: float
    ncc_after: float
    ssim_before: float
    ssim_after: float
    stack_variance_before: float | None
    stack_variance_after: float | None
    share_determinant_not_positive: float
    share_scale_outside: float
    share_valid_area_below: float
    share_flagged: float
    frame_filled: float | None = field(default=None, metadata=OPTIONAL)
    frame_filled_least: float | None = field(default=None, metadata=OPTIONAL)
    canonical_source: str | None = field(default=None, metadata=OPTIONAL)
    history: Sequence[Mapping[str, float]] | None = field(default=None, metadata=OPTIONAL)
    initial_losses: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)
    landmarks: LandmarkResiduals | None = field(default=None, metadata=OPTIONAL)
    known: KnownAffines | None = field(default=None, metadata=OPTIONAL)
    consistency: AffineErrors | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))

    @classmethod
    def from_json(cls, values: Any) -> AlignmentMeasures:
        """Raises IncompleteJson."""
        return from_json(cls, values, source="The alignment's report", advice=FIT_AGAIN)
