"""The view positions of the films that a detector was fitted on: one of frontal films scores no laterals, which it
would call abnormal for their view. They come from the column projection of the CSV; without it nothing is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ml_engine.core import files
from ml_engine.engine.manifest import InvalidManifest, ManifestRow, Selection
from portal.imaging.views import FRONTAL, in_words, view_of_word

FILE = "views.json"  # of a model folder: films of the part fit by view
_COLUMN = "projection"


def write(model: Path, table: Sequence[dict[str, str]], rows: Sequence[ManifestRow]) -> None:
    """Keep the views of the rows that are in fit beside the model, where the CSV has them."""
    if _COLUMN in table[0]:
        view_of = _views(table)
        files.write_json(
            model / FILE, dict(sorted(Counter(view_of[r.filename] for r in rows if r.part == "fit").items()))
        )


def without_other_views(selection: Selection, table: Sequence[dict[str, str]], model: Path) -> Selection:
    """The selection without the films that a detector of frontal films refuses; they are counted as left out. Raises
    InvalidManifest if no other film is left."""
    if _COLUMN not in table[0] or not (model / FILE).is_file():
        return selection
    fitted = Counter(files.read_json(model / FILE))
    if not FRONTAL.issuperset(fitted):
        return selection
    view_of, on = _views(table), in_words(fitted)
    kept = [row for row in selection.rows if view_of[row.filename] in FRONTAL]
    refused = Counter(view_of[row.filename] for row in selection.rows if view_of[row.filename] not in FRONTAL)
    if not kept:
        raise InvalidManifest(
            f"None of these films ({in_words(refused)}) is frontal, and the detector was fitted on {on}: it would call "
            "them abnormal for their view. Fit a detector on such views, or choose frontal films."
        )
    if not refused:
        return selection
    reason = f"of another view ({in_words(refused)}) than the detector was fitted on ({on})"
    return replace(selection, rows=kept, left_out=selection.left_out | {reason: refused.total()})


def _views(table: Sequence[dict[str, str]]) -> dict[str, str]:
    """The view by file name; blank for a word that is no view."""
    return {line["filename"]: view_of_word(line[_COLUMN]) or "" for line in table}
