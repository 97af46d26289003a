"""The data of an evaluation: films by part and label, films left out by reason, the cut-off, looks at test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.evaluation.evaluate import parts_of
from analysis.evaluation.looks import looks_at_test, note_of
from analysis.models import Evaluation, TestLook
from portal.models import LabelValue, Part


def data_of(evaluation: Evaluation) -> dict[str, Any]:
    """JSON from the stored counts of split and evaluation; no file is opened."""
    split = evaluation.split
    summaries = evaluation.metrics["parts"]
    by_part = split.counts.get("parts", {})
    return {
        "split": str(split.uuid),
        "origin": split.get_origin_display(),
        "seed": split.seed,
        "label_cutoff": evaluation.label_cutoff.isoformat(),
        "split_label_cutoff": split.label_cutoff.isoformat(),
        "parts": {part: _in_order(counts) for part in Part.values if (counts := by_part.get(part)) is not None},
        "left_out_of_split": split.counts.get("left_out", {}),
        "evaluated": {
            part: {name: summaries[part][name] for name in ("normal", "abnormal", "patients", "left_out")}
            for part in parts_of(evaluation)
        },
        "looks_at_test": looks_at_test(split),
        "looks_at_this_evaluation": TestLook.objects.filter(evaluation=evaluation).count(),
        "note": note_of(split, Part.TEST),
    }


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """By label: normal, abnormal, then the others, whatever films came first."""
    order = [*LabelValue.values, *counts]
    return dict(sorted(counts.items(), key=lambda item: order.index(item[0])))
