"""What people decided of films on the board of a fitted alignment, as later runs with that alignment take it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ml_engine.engine import hand_affines
from ml_engine.engine.run_folder import INPUTS
from ml_engine.models import AffineDecision, AffineVerdict, AlignmentModel, Run
from ml_engine.runs import paths

NAME = "hand_affines"


def current_decisions(alignment: AlignmentModel) -> dict[int, AffineDecision]:
    """The last decision on each film, by the primary key of the film."""
    rows = AffineDecision.objects.filter(alignment=alignment).select_related("image", "author").order_by("pk")
    return {row.image_id: row for row in rows}


def excluded_films(alignment: AlignmentModel | None) -> set[int]:
    """The primary keys of the films that no detector with this alignment is fitted on."""
    if alignment is None:
        return set()
    current = current_decisions(alignment)
    return {image for image, row in current.items() if row.verdict == AffineVerdict.EXCLUDE}


def write_hand_affines(run: Run, alignment: AlignmentModel | None, folder: Path, *, names: Collection[str]) -> None:
    """Write inputs/hand_affines.json with the hand-made affines of the films ``names`` (image ids); no file without
    any. A later attempt keeps what the first one wrote."""
    path = folder / INPUTS[NAME]
    if alignment is None or path.exists() or (folder / "run.json").exists():
        return
    by_hand = [row for row in current_decisions(alignment).values() if row.verdict == AffineVerdict.BY_HAND]
    mine = {str(row.image.uuid): row for row in by_hand if str(row.image.uuid) in names}
    sizes = {row.canonical_size for row in mine.values()}
    if mine:
        (size,) = sizes  # an alignment has one frame
        assert size is not None  # constraint decision_by_hand_has_affine
        path.parent.mkdir(parents=True, exist_ok=True)
        affines = {name: row.affine for name, row in mine.items() if row.affine is not None}
        paths.write_text(path, hand_affines.text_of(affines, canonical_size=size))


def hand_affine_inputs(folder: Path) -> dict[str, tuple[str, Path]]:
    """Name -> (SHA-256, file); empty for a run without hand-made affines."""
    path = folder / INPUTS[NAME]
    return {NAME: (paths.file_sha256(path), path)} if path.is_file() else {}
