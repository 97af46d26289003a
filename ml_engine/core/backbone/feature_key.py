"""The key of a feature store: everything that the features of a film depend on. Does not import torch."""

from __future__ import annotations

from typing import Any

from ml_engine.core.config import PipelineConfig

VERSION = 1  # to be raised when the same config gives different features

# Settings that apply after the features, or that another entry of the key represents. Every other setting, also one
# added in future, is part of the key: a film is then computed again, but wrong features are never reused.
AFTERWARDS = frozenset(
    {
        "preset", "version", "align", "alignment", "weights", "seed", "device",
        "mask", "mask_keep", "mask_threshold", "mask_coverage", "mask_images", "mask_least", "mask_most",
        "grid", "halo", "rate", "coreset_start", "coreset_dimensions", "coreset_exact_limit",
        "detector", "neighbours", "film_neighbours", "padim_dimensions", "distance",
        "search", "fusion_weight", "fusion_choice", "standardise",
        "image_score", "top_share", "threshold", "false_alarm_rate", "threshold_percentile", "folds",
        "reweight", "neighbours_tried", "rate_tried", "image_score_tried", "top_share_tried", "cross_fit", "controls",
        "memory_gib",
    }
)  # fmt: skip

# Settings added since, with the value at which the features are as before: left out of the key then, so that features
# kept by an earlier release stay valid.
ADDED = {"precision": "float32", "kept_precision": "single"}


def key_of(
    config: PipelineConfig, *, weights: dict[str, Any], alignment_sha256: str | None, device: str
) -> dict[str, Any]:
    """Everything that the features of a film depend on, as JSON.

    It holds the settings of the config except `AFTERWARDS` and unchanged `ADDED`, the backbone's weights (their
    SHA-256, or their name and the seed if they are random), the SHA-256 of the alignment and the type of device.
    """
    before = AFTERWARDS | {name for name, value in ADDED.items() if getattr(config, name) == value}
    settings = {name: value for name, value in config.to_json().items() if name not in before}
    source = weights["sha256"] or f"{weights['name']}, seed {config.seed}"
    return {"version": VERSION, "settings": settings, "weights": source, "alignment": alignment_sha256, "on": device}
