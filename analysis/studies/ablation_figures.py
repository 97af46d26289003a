"""An ablation drawn as the paper's Figs. 12 to 15, and what its alignments are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis import figures
from analysis.figures import CellMark
from analysis.figures.palette import Kind, Theme
from analysis.studies.ablation import AblationResult, CellResult

KINDS: dict[Kind, str] = {"global": "PatchCore", "region": "region-specific", "fused": "combined"}
BASE = "aligned-masked"


@dataclass(frozen=True)
class AblationFigure:
    """A figure with the number that it has in the paper, blank for one of ours, and what it shows."""

    name: str
    title: str
    caption: str
    figure: dict[str, Any]


def draw(found: AblationResult, *, theme: Theme, random_weights: bool) -> list[AblationFigure]:
    """Those that the run was asked for, in the paper's order."""
    asked = found.summary["figures"]
    by_name = {cell.name: cell for cell in found.cells}
    base = by_name[BASE]
    said: dict[str, Any] = {"theme": theme, "random_weights": random_weights}
    drawn = []
    if "12" in asked:
        marks = _against(base, by_name["unaligned-masked"], ("aligned", "not aligned"))
        drawn.append(_cells("12", "Aligned or not", marks, "Both with the hard mask.", said))
    if "13" in asked:
        marks = _against(base, by_name["aligned-unmasked"], ("masked", "not masked"))
        drawn.append(_cells("13", "Masked or not", marks, "Both aligned.", said))
    if "14" in asked and base.sweep is not None and base.weight is not None:
        chosen = base.weight if base.weight_source == "tune" else None
        figure = figures.sweep_figure(
            base.sweep, run_weight=base.weight, chosen_weight=chosen, title="Fig. 14: fusion weight", **said
        )
        caption = "Of the first detector. The weight was chosen on tune or configured, never by this figure."
        drawn.append(AblationFigure("14", "Fusion weight", caption, figures.as_json(figure)))
    if "15" in asked:
        fitted = [cell for cell in found.cells if not cell.refused]
        larger = [cell for cell in fitted if cell.name.startswith("size-")]
        marks = [_mark(cell, "fused", _BASELINES[cell.name]) for cell in fitted if cell.name in _BASELINES]
        marks.append(_mark(base, "fused", f"proposed, {found.summary['config']['size']} px"))
        marks += [_mark(cell, "fused", f"proposed, {cell.name.removeprefix('size-')} px") for cell in larger]
        caption = "The paper's baselines were other methods; these share its features, so that only the method differs."
        drawn.append(_cells("15", "Against baselines and twice the size", marks, caption, said))
    if "alignment" in asked:
        of_alignments = [cell for cell in found.cells if cell.name.startswith("aligned-") and cell.name not in _MASKS]
        marks = [_mark(base, "region", "as configured")]
        marks += [_mark(cell, "region", cell.words.removeprefix("alignment ")) for cell in of_alignments if cell.aurocs]
        caption = "Region alone, which depends on the alignment the most."
        drawn.append(_cells("", "Alignment backbone, loss and α", marks, caption, said))
    return drawn


_BASELINES = {"padim": "PaDiM", "spade": "SPADE", "dn2": "DN2", "clahe-global": "CLAHE + PatchCore"}
_MASKS = (BASE, "aligned-unmasked")


def _cells(number: str, title: str, marks: Sequence[CellMark], caption: str, said: dict[str, Any]) -> AblationFigure:
    shown = f"Fig. {number}: {title[0].lower()}{title[1:]}" if number else title
    figure = figures.cells_figure(marks, title=shown, **said)
    more = " p-values of no difference from the full mark of the same kind, after Holm over all detectors."
    return AblationFigure(number, title, caption + more, figures.as_json(figure))


def _against(base: CellResult, other: CellResult, words: tuple[str, str]) -> list[CellMark]:
    """The paper's order: without and with, for each kind of score."""
    marks = []
    for kind, name in KINDS.items():
        if other.aurocs:
            marks.append(_mark(other, kind, f"{words[1]}, {name}"))
        marks.append(_mark(base, kind, f"{words[0]}, {name}"))
    return marks


def _mark(cell: CellResult, kind: Kind, name: str) -> CellMark:
    p_value = cell.adjusted.get(kind)
    note = "" if p_value is None else "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return CellMark(name, kind, cell.aurocs[kind], note, is_base=cell.name == BASE)
