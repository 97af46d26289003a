"""A scored part -> the numbers and figures of the evaluation page at a weight."""

from collections.abc import Collection
from typing import Any

import numpy as np

from analysis import figures, statistics
from analysis.evaluation import blinding
from analysis.evaluation.evaluate import ScoredPart, aurocs, band_of, sweep_of
from analysis.evaluation.memory_cache import MemoryCache
from analysis.figures.palette import Kind, Theme
from portal.models import Part

BINS = 30
_drawn = MemoryCache(32)  # two hundred kilobytes each


def draw_part(
    scored: ScoredPart,
    *,
    weight: float,
    run_weight: float,
    chosen: float | None,
    theme: Theme,
    random_weights: bool,
    hidden: Collection[str] = (),
    unnamed: bool = False,
    moving: bool = False,
) -> dict[str, Any]:
    """`figures` (plain JSON for Plotly by name), `rows` (AUROC by kind of score), counts and sentences.

    While the weight is `moving` the ROC's band is left out, since a thousand resamples take a second. `hidden` films
    count in every curve and number, but are not named or drawn as marks; if the figures are `unnamed`, no film is. The
    returned dict is cached and shared: do not change it.
    """
    left_out = tuple(sorted(scored.left_out.items()))
    key = (
        scored.digest,
        left_out,
        scored.part,
        weight,
        run_weight,
        chosen,
        theme,
        random_weights,
        frozenset(hidden),
        unnamed,
        moving,
    )

    def compute() -> dict[str, Any]:
        return _draw_part(
            scored,
            weight=weight,
            run_weight=run_weight,
            chosen=chosen,
            theme=theme,
            random_weights=random_weights,
            hidden=hidden,
            unnamed=unnamed,
            moving=moving,
        )

    return _drawn.get_or_compute(key, compute)


def _draw_part(
    scored: ScoredPart,
    *,
    weight: float,
    run_weight: float,
    chosen: float | None,
    theme: Theme,
    random_weights: bool,
    hidden: Collection[str],
    unnamed: bool,
    moving: bool,
) -> dict[str, Any]:
    sweep = sweep_of(scored)
    areas = aurocs(scored, sweep, weight=weight)
    fused = scored.scores_at(weight)
    style: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    shown = [None if unnamed or image in hidden else image for image in scored.images]
    omitted = blinding.sentence(len(set(hidden).intersection(scored.images)), scored.part)
    return {
        "figures": {
            "roc": figures.as_json(_roc(scored, shown, areas, weight=weight, moving=moving, style=style)),
            "sweep": _sweep(scored, sweep, run_weight, chosen, style),
            "histogram": figures.as_json(_histogram(scored, shown, fused, style)),
        },
        "rows": [
            {
                "kind": kind,
                "value": auroc.auroc,
                "text": figures.format_auroc(auroc),
                "method": auroc.method,
                "reason": auroc.reason,
            }
            for kind, auroc in areas.items()
        ],
        "shown_weight": weight,
        "normal": int((scored.labels == 0).sum()),
        "abnormal": int((scored.labels == 1).sum()),
        "patients": len(np.unique(scored.patients)),
        "left_out": scored.left_out,
        "hidden": f"{omitted} {blinding.UNNAMED}" if unnamed else omitted,
    }


def _sweep(
    scored: ScoredPart,
    sweep: statistics.FusionSweep,
    run_weight: float,
    chosen: float | None,
    style: dict[str, Any],
) -> dict[str, Any]:
    """Cached separately, since it does not depend on the weight."""
    on_test = scored.part == Part.TEST
    key = ("sweep", scored.digest, run_weight, chosen, on_test, *style.values())
    return _drawn.get_or_compute(
        key,
        lambda: figures.as_json(
            figures.sweep_figure(sweep, run_weight=run_weight, chosen_weight=chosen, on_test=on_test, **style)
        ),
    )


def _roc(
    scored: ScoredPart,
    shown: list[str | None],
    areas: dict[Kind, statistics.Auroc],
    *,
    weight: float,
    moving: bool,
    style: dict[str, Any],
) -> Any:
    at: dict[Kind, float] = {"global": 0.0, "region": 1.0, "fused": weight}
    kinds = [
        figures.KindOfScore(kind, statistics.roc_curve(scored.labels, scored.scores_at(at[kind])), auroc)
        for kind, auroc in areas.items()
    ]
    band = None if moving else band_of(scored, weight=weight)
    return figures.roc_figure(kinds, image_ids=shown, band=band, band_follows=moving, point_follows=True, **style)


def _histogram(scored: ScoredPart, shown: list[str | None], fused: Any, style: dict[str, Any]) -> Any:
    words = np.where(scored.labels == 1, "abnormal", "normal")
    return figures.histogram_figure(
        statistics.histogram(fused, words, bins=BINS), scores=fused, groups=words, image_ids=shown,
        threshold_follows=True, **style,
    )  # fmt: skip
