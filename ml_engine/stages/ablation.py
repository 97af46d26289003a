"""The paper's experiments as one run: each cell a detector fit and a scoring, in folders of their own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ml_engine import manifest
from ml_engine.core import feature_store, files
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.version import FORMAT, code_version
from ml_engine.folder import Report, Request
from ml_engine.stages.work import Work

BASE = "aligned-masked"
SET_BY_CELLS = {
    "detector": "patchcore",
    "clahe": False,
    "align": "network",
    "mask": True,
}  # and the first cell's values
FIGURES = ("12", "13", "14", "15", "alignment")
Stage = Callable[[Work, Report], dict[str, Any]]


class Interrupted(EngineError):
    """A child was stopped by what passes, a full disk say: no finding, and tried again with the next attempt."""


@dataclass(frozen=True)
class Cell:
    """A row of the ablation's tables: ``changes`` to the run's config as text, and the ``alignment`` it uses, empty
    for films as they lie."""

    name: str
    words: str
    changes: dict[str, str] = field(default_factory=dict)
    alignment: str = "base"

    def config(self, base: PipelineConfig) -> PipelineConfig:
        return base.replace_fields(self.changes | {"align": "network" if self.alignment else "none"})


@dataclass(frozen=True)
class Plan:
    """``alignments``: name to the changes of its settings; ``cells`` in the order of the tables."""

    alignments: dict[str, dict[str, str]]
    cells: tuple[Cell, ...]


BASELINES = (
    Cell("padim", "PaDiM", {"detector": "padim"}),
    Cell("spade", "SPADE", {"detector": "spade"}),
    Cell("dn2", "DN2", {"detector": "dn2"}),
    Cell("clahe-global", "CLAHE + global PatchCore, not aligned", {"clahe": "yes", "fusion_weight": "0"}, ""),
)
_ONLY = {f"alignment.{name}": "0" for name in ("constancy", "ssim", "perceptual", "local_ncc")}
ALIGNMENTS = {
    "resnet34": {"alignment.backbone": "resnet34"},
    "resnet50": {"alignment.backbone": "resnet50"},
    "constancy": _ONLY | {"alignment.constancy": "1"},
    "ssim": _ONLY | {"alignment.ssim": "1"},
    "constancy-ssim": _ONLY | {"alignment.constancy": "1", "alignment.ssim": "1"},
    "alpha-2": {"alignment.initialisation": "centred", "alignment.alpha": "2"},
    "alpha-10": {"alignment.initialisation": "centred", "alignment.alpha": "10"},
    "alpha-50": {"alignment.initialisation": "centred", "alignment.alpha": "50"},
}


def plan(config: PipelineConfig, figures: tuple[str, ...]) -> Plan:
    """What the figures of the paper need: Fig. 12 aligned or not; Fig. 13 masked or not; Fig. 14 the weights from 0 to
    1, which any cell's sweep holds; Fig. 15 twice the side, and the baselines; ``alignment`` its backbones, losses and
    α, one changed at a time.

    Raises EngineError for a figure that is none of these, InvalidConfig where the config sets what the cells' names
    say.
    """
    for name, first in SET_BY_CELLS.items():
        if getattr(config, name) != first:
            raise InvalidConfig(
                f"{name} is {getattr(config, name)!r}: an ablation sets it cell by cell, from {first}. Leave it out."
            )
    unknown = [name for name in figures if name not in FIGURES]
    if unknown:
        raise EngineError(f"figures is {unknown[0]!r}: choose from {', '.join(FIGURES)}, joined by commas.")
    cells = [Cell(BASE, "aligned, masked")]
    if "12" in figures:
        cells.append(Cell("unaligned-masked", "not aligned, masked", {}, ""))
    if "13" in figures:
        cells.append(Cell("aligned-unmasked", "aligned, not masked", {"mask": "no"}))
        cells.append(Cell("unaligned-unmasked", "not aligned, not masked", {"mask": "no"}, ""))
    if "15" in figures:
        double = 2 * config.size
        cells.append(Cell(f"size-{double}", f"aligned, masked, {double} px", {"size": str(double)}))
        cells += BASELINES
    alignments: dict[str, dict[str, str]] = {"base": {}}
    if "alignment" in figures:
        alignments |= ALIGNMENTS
        cells += [Cell(f"aligned-{name}", f"alignment {name}", {}, name) for name in ALIGNMENTS]
    for cell in cells:
        cell.config(config)  # a change that the config does not bear is refused here, not after hours
    return Plan(alignments, tuple(cells))


def stages(request: Request) -> tuple[tuple[str, Stage], ...]:
    """The stages of an ablation: its alignments, its cells, its summary."""
    planned = plan(request.config, request.figures)
    aligning = [(f"alignment-{name}", partial(_align, name, changes)) for name, changes in planned.alignments.items()]
    cells = [(f"cell-{cell.name}", partial(_cell, cell, planned)) for cell in planned.cells]
    return (*aligning, *cells, ("results", partial(_results, planned)))


def unreadable(work: Work) -> int:
    """How many films of the whole ablation could not be read."""
    aligned = work.folder.summary("alignment-base").get("unreadable", 0)  # those of fit are among the cell's
    return int(work.folder.summary(f"cell-{BASE}")["unreadable"]) + (
        int(aligned) if _align_part(work) == "align" else 0
    )


def _align_part(work: Work) -> str:
    """The part that alignments are fitted on."""
    return "align" if any(row.part == "align" for row in work.rows) else "fit"


def alignment_folder(path: Path, name: str) -> Path:
    return path / "alignments" / name


def cell_folder(path: Path, name: str) -> Path:
    return path / "cells" / name


def _align(name: str, changes: dict[str, str], work: Work, report: Report) -> dict[str, Any]:
    part = _align_part(work)
    folder = alignment_folder(work.folder.path, name)
    request = Request("fit_alignment", work.config.replace_fields(changes), name=name)
    _lay(folder, request, [row for row in work.rows if row.part == part], {})
    try:
        return {"unreadable": _run_child(folder, work, report, f"alignment {name}")}
    except EngineError as refusal:  # a loss alone may well collapse: that is a finding
        if name == "base" or isinstance(refusal, Interrupted):
            raise
        work.folder.log(f"Alignment {name} was refused: {refusal}")
        return {"refused": str(refusal)}


def _cell(cell: Cell, planned: Plan, work: Work, report: Report) -> dict[str, Any]:
    """Fit and score a cell. A cell that is refused, a baseline that needs too much memory say, is a sentence in the
    table; the first one, which all others are compared with, ends the run."""
    store = _store(cell, work)
    without = work.folder.summary(f"alignment-{cell.alignment}").get("refused") if cell.alignment else None
    if without:
        return {"refused": without}
    try:
        found = _fit_and_score(cell, store, work, report)
    except EngineError as refusal:
        if cell.name == BASE or isinstance(refusal, Interrupted):
            raise
        work.folder.log(f"Cell {cell.name} was refused: {refusal}")
        found = {"refused": str(refusal)}
    later = planned.cells[planned.cells.index(cell) + 1 :]
    if store not in [_store(other, work) for other in later]:
        shutil.rmtree(store, ignore_errors=True)
    return found


def _fit_and_score(cell: Cell, store: Path, work: Work, report: Report) -> dict[str, Any]:
    folder, config = cell_folder(work.folder.path, cell.name), cell.config(work.config)
    weights = work.request.weights
    inputs = {}
    if cell.alignment:
        inputs["alignment"] = alignment_folder(work.folder.path, cell.alignment) / "alignment.safetensors"
    fitting = [row for row in work.rows if row.part in ("fit", "tune", "calibrate")]
    request = Request("fit_detector", config, name=cell.name, weights=weights, inputs=_hashes(inputs))
    _lay(folder / "detector", request, fitting, inputs)
    missed = _run_child(folder / "detector", work, report, cell.words, store)
    inputs["detector"] = folder / "detector" / "detector.safetensors"
    test = [row for row in work.rows if row.part == "test"]
    request = Request("score", config, name=cell.name, weights=weights, inputs=_hashes(inputs))
    _lay(folder / "scores", request, test, inputs)
    return {"unreadable": missed + _run_child(folder / "scores", work, report, cell.words, store)}


def _store(cell: Cell, work: Work) -> Path:
    """Where the features of a cell are kept: shared by the cells whose films come out the same."""
    key = feature_store.key_of(
        cell.config(work.config),
        weights={"name": work.config.weights, "sha256": None},
        alignment_sha256=cell.alignment,
        device="",
    )
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return work.folder.stages / feature_store.FOLDER / digest


def _hashes(inputs: dict[str, Path]) -> dict[str, str]:
    return {name: files.sha256_of(path) for name, path in inputs.items()}


def _lay(folder: Path, request: Request, rows: list[manifest.Row], inputs: dict[str, Path]) -> None:
    """Write a child's run folder unless it is there: its request is fixed by the ablation's."""
    if (folder / "run.json").exists():
        return
    for name, source in inputs.items():
        files.link_or_copy(source, folder / "inputs" / f"{name}.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder / "images.csv", rows, with_labels=request.kind != "score")
    files.write_json(folder / "run.json", request.to_json())


def _run_child(folder: Path, work: Work, report: Report, words: str, store: Path | None = None) -> int:
    """Run a child's folder to its end and return how many of its films could not be read."""
    from ml_engine.stages.runner import OK, REFUSED, UNREADABLE, run_folder

    def relay(event: dict[str, Any]) -> None:
        if "stage" in event:
            report(event["done"], event["total"], f"{words}: {event['stage']}")

    outcome = run_folder(folder, images=work.images, device=work.device_name, listener=relay, features=store)
    if outcome.passing:
        raise Interrupted(outcome.sentence)
    if outcome.status == REFUSED:
        raise EngineError(outcome.sentence)
    if outcome.status not in (OK, UNREADABLE):
        raise RuntimeError(f"{folder.relative_to(work.folder.path)} ended with a bug: see its log.txt")
    return outcome.unreadable


def _results(planned: Plan, work: Work, report: Report) -> dict[str, Any]:
    """ablation.json: what each cell changes, where its scores are, its fusion weight; the alignments' reports."""
    path = work.folder.path
    cells = []
    for cell in planned.cells:
        found = work.folder.summary(f"cell-{cell.name}")
        facts: dict[str, Any] = {"name": cell.name, "words": cell.words, "changes": cell.changes}
        facts |= {"alignment": cell.alignment, "refused": found.get("refused", "")}
        if not facts["refused"]:
            scores = cell_folder(path, cell.name) / "scores"
            facts |= {"scores": str(scores.relative_to(path))}
            facts |= {"fusion_weight": files.read_json(scores / "score.json")["fusion_weight"]}
        cells.append(facts)
    alignments = {}
    for name, changes in planned.alignments.items():
        made = alignment_folder(path, name) / "alignment.json"
        refused = work.folder.summary(f"alignment-{name}").get("refused", "")
        measured = None if refused else files.read_json(made)["report"]
        alignments[name] = {"changes": changes, "refused": refused, "report": measured}
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": work.request.weights or {"name": work.config.weights, "sha256": None},
        "config": work.config.to_json(),
        "figures": list(work.request.figures),
        "cells": cells,
        "alignments": alignments,
    }
    files.write_json(path / "ablation.json", summary)
    return {}
