"""The cells of an ablation, a sweep or a bank study in ranges, which many workers compute at once. Does not import
torch.

Every range needs what all cells share, `shared_stages`: the whole run computes it once, and each range starts from it.
Cells with equal features stay in one range, or follow the range that computes the features, its leader.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import shards
from ml_engine.engine.chunked_rows import JOURNAL
from ml_engine.engine.run_folder import RunFolder, RunSpec
from ml_engine.engine.run_kinds import KINDS, RunKind
from ml_engine.engine.shards import Shard
from ml_engine.engine.stages import ablation, sweep
from ml_engine.engine.stages.plans import BASE_ALIGNMENT, Experiment, ExperimentPlan, features_digest
from ml_engine.engine.study_plans import BankPlan

PLANS: dict[str, Callable[[RunSpec], ExperimentPlan]] = {
    RunKind.ABLATION: lambda spec: ablation.plan(spec.config, spec.figures),
    RunKind.SWEEP: lambda spec: sweep.plan(spec.config, spec.axes),
}
SHARED_BY_BANKS = ("films", "align", "mask", "features")  # stages
STORES = "stages/features"  # in a run folder: a store for each set of features, named by `Cell.features`
ALIGNMENTS = "alignments/*/alignment.safetensors"


@dataclass(frozen=True)
class Cell:
    """A cell by its ``name``. ``made`` maps each stage that it needs beside `shared_stages`, its own the last, to what
    the stage leaves in the run folder. ``features`` names the features that it computes or finds in `STORES`; "" where
    all cells share them."""

    name: str
    made: Mapping[str, tuple[str, ...]]
    features: str = ""


def is_divided(spec: RunSpec) -> bool:
    """Whether the run is a range of a study's cells."""
    return spec.shard is not None and KINDS[RunKind(spec.kind)].is_study


def cells_of(spec: RunSpec) -> list[Cell]:
    """The cells in the order of the results; none for a kind of run that has none. Raises EngineError."""
    if spec.kind == RunKind.BANK_STUDY:
        banks = BankPlan.from_json(spec.asked.get("bank", {})).banks
        return [
            Cell(
                bank.name,
                {f"bank-{bank.name}": tuple(f"stages/{words}-{bank.name}.npy" for words in ("scores", "calibration"))},
            )
            for bank in banks
        ]
    if spec.kind not in PLANS:
        return []
    return [_of_experiment(experiment, spec) for experiment in PLANS[spec.kind](spec).experiments]


def _of_experiment(experiment: Experiment, spec: RunSpec) -> Cell:
    own = experiment.alignment not in ("", BASE_ALIGNMENT)
    aligning = {f"alignment-{experiment.alignment}": (f"alignments/{experiment.alignment}",)} if own else {}
    made = aligning | {f"cell-{experiment.name}": (f"cells/{experiment.name}",)}
    return Cell(experiment.name, made, features_digest(experiment, spec.config))


def shared_stages(spec: RunSpec) -> tuple[str, ...]:
    """The stages that come before all cells."""
    if spec.kind == RunKind.BANK_STUDY:
        return SHARED_BY_BANKS
    is_aligned = spec.kind in PLANS and BASE_ALIGNMENT in PLANS[spec.kind](spec).alignments
    return (f"alignment-{BASE_ALIGNMENT}",) if is_aligned else ()


def stages_of_range(spec: RunSpec) -> set[str]:
    """The stages of a range of a study, without its last. Raises EngineError where the study has other cells."""
    assert spec.shard is not None
    cells = cells_of(spec)
    if (len(cells), digest(cells)) != (spec.shard.of, spec.shard.films):
        raise EngineError("The range is of another list of cells than the study has: request the run again.")
    chosen = cells[spec.shard.first : spec.shard.end]
    return {*shared_stages(spec), *(stage for cell in chosen for stage in cell.made)}


def digest(cells: Sequence[Cell]) -> str:
    """The SHA-256 of the names of all cells of a run."""
    return hashlib.sha256("".join(f"{cell.name}\n" for cell in cells).encode()).hexdigest()


def shard_of(spec: RunSpec, first: int, end: int) -> Shard:
    cells = cells_of(spec)
    return Shard(first, end, len(cells), digest(cells))


def ranges(cells: Sequence[Cell], most: int) -> list[tuple[int, int]]:
    """As few ranges (first, end) of at most ``most`` cells with the same features as possible. Where features are those
    of several ranges, the first of them is a single cell, for which the others wait (`leaders`)."""
    planned: list[tuple[int, int]] = []
    first = 0
    for features, group in groupby(cells, key=lambda cell: cell.features):
        end = first + len(list(group))
        is_new = all(cell.features != features for cell in cells[:first])
        is_used_again = any(cell.features == features for cell in cells[end:])
        if features and is_new and (is_used_again or end - first > most):
            planned.append((first, first + 1))
            first += 1
        if first < end:
            planned += [(first + a, first + b) for a, b in shards.ranges(end - first, most)]
        first = end
    return planned


def leaders(cells: Sequence[Cell], divided: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The place of each range that waits for another -> the place of the range that computes its features."""
    first_of: dict[str, int] = {}
    leader_of = {}
    for place, (first, _) in enumerate(divided):
        features = cells[first].features
        if features and first_of.setdefault(features, place) != place:
            leader_of[place] = first_of[features]
    return leader_of


def start_range(whole: Path, folder: Path, cell: Cell, *, leader: Path | None) -> None:
    """Give the ``folder`` of a range, whose first cell is ``cell``, what the run's folder ``whole`` has of its stages,
    and the features that its ``leader`` has computed. Files are linked."""
    sources = [path for path in sorted((whole / "stages").glob("*")) if path.is_file()]
    sources = [path for path in sources if not path.name.startswith(".") and not path.name.endswith(JOURNAL)]
    for path in [*sorted(whole.glob(ALIGNMENTS)), *sources]:
        _link(path, folder / path.relative_to(whole))
    if leader is not None and cell.features:
        for path in sorted((leader / STORES / cell.features).glob("*/*")):
            if not path.name.startswith("."):
                _link(path, folder / path.relative_to(leader))


def _link(source: Path, target: Path) -> None:
    """A link is not flushed to the disk: what a power cut takes is linked or computed again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # another file system, or one without hard links
        files.link_or_copy(source, target)


def take_cells(folder: RunFolder, path: Path, cells: Sequence[Cell]) -> None:
    """Move what the range at ``path`` has made of these cells into the whole run's folder, as if its stages had been
    those of the run. May be killed and run again."""
    for stage, left in (made for cell in cells for made in cell.made.items()):
        if folder.is_done(stage):
            continue
        for name in left:
            source, target = path / name, folder.path / name
            if source.exists():  # otherwise it was moved before a kill, or there is none: the stage was refused
                if target.is_dir():  # half made before the run was divided
                    shutil.rmtree(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
        folder.mark_done(stage, files.read_json(path / "stages" / f"{stage}.json"))
