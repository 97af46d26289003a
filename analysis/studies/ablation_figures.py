"""An ablation drawn as the paper's Figs. 12 to 15, and a figure that compares its alignments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis import figures
from analysis.figures import ExperimentMark
from analysis.figures.palette import Kind, Theme
from analysis.studies.ablation import AblationResult, ExperimentResult

KINDS: dict[Kind, str] = {"global": "PatchCore", "region": "region-specific", "fused": "combined"}
BASE = "aligned-masked"


@dataclass(frozen=True)
class AblationFigure:
    """A figure; ``name`` is its number in the paper, blank for a figure that the paper does not have."""

    name: str
    title: str
    caption: str
    figure: dict[str, Any]


def draw(results: AblationResult, *, theme: Theme, random_weights: bool) -> list[AblationFigure]:
    """The figures requested with the run, in the paper's order."""
    requested = results.summary["figures"]
    by_name = {experiment.name: experiment for experiment in results.experiments}
    base = by_name[BASE]
    style: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    drawn = []
    if "12" in requested:
        marks = _against(base, by_name["unaligned-masked"], ("aligned", "not aligned"))
        drawn.append(_experiments_figure("12", "Aligned or not", marks, "Both with the hard mask.", style))
    if "13" in requested:
        marks = _against(base, by_name["aligned-unmasked"], ("masked", "not masked"))
        drawn.append(_experiments_figure("13", "Masked or not", marks, "Both aligned.", style))
    if "14" in requested and base.sweep is not None and base.weight is not None:
        chosen = base.weight if base.weight_source == "tune" else None
        figure = figures.sweep_figure(
            base.sweep, run_weight=base.weight, chosen_weight=chosen, title="Fig. 14: fusion weight", **style
        )
        caption = "Of the first detector. The weight was chosen on tune or configured, never by this figure."
        drawn.append(AblationFigure("14", "Fusion weight", caption, figures.as_json(figure)))
    if "15" in requested:
        fitted = [experiment for experiment in results.experiments if not experiment.refused]
        larger = [experiment for experiment in fitted if experiment.name.startswith("size-")]
        baselines = [experiment for experiment in fitted if experiment.name in _BASELINES]
        marks = [_mark(baseline, "fused", _BASELINES[baseline.name]) for baseline in baselines]
        marks.append(_mark(base, "fused", f"proposed, {results.summary['config']['size']} px"))
        marks += [_mark(other, "fused", f"proposed, {other.name.removeprefix('size-')} px") for other in larger]
        caption = "The paper's baselines were other methods; these share its features, so that only the method differs."
        drawn.append(_experiments_figure("15", "Against baselines and twice the size", marks, caption, style))
    if "alignment" in requested:
        aligned = [experiment for experiment in results.experiments if experiment.name.startswith("aligned-")]
        others = [experiment for experiment in aligned if experiment.name not in _MASKS and experiment.aurocs]
        marks = [_mark(base, "region", "as configured")]
        marks += [_mark(other, "region", other.words.removeprefix("alignment ")) for other in others]
        caption = "Region alone, which depends on the alignment the most."
        drawn.append(_experiments_figure("", "Alignment backbone, loss and α", marks, caption, style))
    return drawn


_BASELINES = {"padim": "PaDiM", "spade": "SPADE", "dn2": "DN2", "clahe-global": "CLAHE + PatchCore"}
_MASKS = (BASE, "aligned-unmasked")


def _experiments_figure(
    number: str, title: str, marks: Sequence[ExperimentMark], caption: str, style: dict[str, Any]
) -> AblationFigure:
    heading = f"Fig. {number}: {title[0].lower()}{title[1:]}" if number else title
    figure = figures.experiments_figure(marks, title=heading, **style)
    more = " p-values of no difference from the full mark of the same kind, after Holm over all detectors."
    return AblationFigure(number, title, caption + more, figures.as_json(figure))


def _against(base: ExperimentResult, other: ExperimentResult, words: tuple[str, str]) -> list[ExperimentMark]:
    """For each kind of score, the mark without and then the one with, as in the paper."""
    marks = []
    for kind, name in KINDS.items():
        if other.aurocs:
            marks.append(_mark(other, kind, f"{words[1]}, {name}"))
        marks.append(_mark(base, kind, f"{words[0]}, {name}"))
    return marks


def _mark(experiment: ExperimentResult, kind: Kind, name: str) -> ExperimentMark:
    p_value = experiment.adjusted.get(kind)
    note = "" if p_value is None else "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return ExperimentMark(name, kind, experiment.aurocs[kind], note, is_base=experiment.name == BASE)
