"""What films' features depend on; without torch, so that a plan can be made where none is loaded."""

from __future__ import annotations

from typing import Any

from ml_engine.core.config import PipelineConfig

VERSION = 1  # raise it when the same config gives other features

# Settings that come after the features, or that something else in the key stands for. Any other setting, one
# that is added later too, makes a store of its own: a film is then computed again, never taken wrongly.
AFTERWARDS = frozenset(
    {
        "preset", "align", "alignment", "weights", "seed", "device",
        "mask", "mask_keep", "mask_threshold", "mask_coverage", "mask_images", "mask_least", "mask_most",
        "grid", "halo", "rate", "coreset_start", "coreset_dimensions", "coreset_exact_limit",
        "detector", "neighbours", "film_neighbours", "padim_dimensions", "distance",
        "search", "fusion_weight", "fusion_choice", "standardise",
        "image_score", "top_share", "threshold", "false_alarm_rate", "threshold_percentile", "folds",
        "reweight", "neighbours_tried", "rate_tried", "top_share_tried", "cross_fit",
    }
)  # fmt: skip


def key_of(
    config: PipelineConfig, *, weights: dict[str, Any], alignment_sha256: str | None, device: str
) -> dict[str, Any]:
    """All that a film's features depend on, as JSON: the config but for `AFTERWARDS`, the backbone's weights
    (``name`` and ``sha256``, the seed where they are random), the alignment and the kind of device."""
    settings = {name: value for name, value in config.to_json().items() if name not in AFTERWARDS}
    source = weights["sha256"] or f"{weights['name']}, seed {config.seed}"
    return {"version": VERSION, "settings": settings, "weights": source, "alignment": alignment_sha256, "on": device}
