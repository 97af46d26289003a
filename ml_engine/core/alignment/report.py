"""What is measured of an alignment on the films of its fit, as types. No torch: pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_engine.core.json_objects import OPTIONAL, from_json, to_json

FIT_AGAIN = "fit the alignment again"


@dataclass(frozen=True, kw_only=True)
class AffineErrors:
    """How far affines of the canonical frame are from the identity, over films: the displacement of a grid of points
    of the frame and the shift of its centre in canonical pixels of the network's side, the angle in degrees, the
    natural logarithm of the scale. Medians (and a 95th percentile) of values without a sign."""

    displacement_median_px: float
    displacement_p95_px: float
    shift_median_px: float
    angle_median_degrees: float
    log_scale_median: float


@dataclass(frozen=True, kw_only=True)
class KnownAffines:
    """Affines drawn to be undone, on ``films`` films: as they were drawn, and what the alignment left of them."""

    films: int
    before: AffineErrors
    after: AffineErrors


@dataclass(frozen=True, kw_only=True)
class KnownMeasures:
    """``consistency``: how far A · f(A x) lies from f(x). Neither is there for an alignment by landmarks, or where no
    film passes the checks."""

    known: KnownAffines | None = field(default=None, metadata=OPTIONAL)
    consistency: AffineErrors | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        return dict(to_json(self))


@dataclass(frozen=True, kw_only=True)
class LandmarkResiduals:
    """How far the landmarks of the ``aligned`` films, of ``films``, lie from the canonical ones: root mean squares by
    film, in canonical pixels of the network's side. ``fit``, affine or perspective, of a canonical image made by
    landmarks."""

    films: int
    aligned: int
    residual_median_px: float
    residual_p95_px: float
    residual_most_px: float
    fit: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class AlignmentMeasures:
    """An alignment measured on its ``films``, as they came (before) and as they were aligned (after), inside the valid
    area: NCC in [-1, 1] and SSIM to the canonical image, means over films; the variance across films in squared units
    of [0, 1], None where no pixel is filled by half of them. Shares are of films, in [0, 1], that failed a check;
    ``frame_filled`` is the share of the frame that films fill, their mean and their least. ``history`` has one object
    an epoch, ``initial_losses`` what the losses are divided by."""

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
