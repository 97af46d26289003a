"""What the portal opens of a folder that fit_head wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_engine.core import files
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest
from ml_engine.engine.head_folder import TUNE, TUNE_COLUMNS, HeadFolder
from ml_engine.engine.manifest import ManifestRow


def test_a_missing_or_damaged_summary_gets_a_sentence(tmp_path: Path) -> None:
    for content in (None, b"[1, 2]", b"{"):
        if content is not None:
            (tmp_path / "fit_head.json").write_bytes(content)
        with pytest.raises(EngineError, match="is missing or damaged: fit the semi-supervised head again"):
            _ = HeadFolder(tmp_path).summary


def test_the_control_is_none_before_it_was_made(tmp_path: Path) -> None:
    assert HeadFolder(tmp_path).control is None
    files.write_json(tmp_path / "population_control.json", {"auroc": 0.9})
    assert HeadFolder(tmp_path).control == {"auroc": 0.9}


def test_tune_scores_are_by_the_id_of_the_film(tmp_path: Path) -> None:
    assert HeadFolder(tmp_path).tune_scores() == {}
    rows = [ManifestRow(f"files/{k}.gz", image=f"film {k}", part="tune", label="normal") for k in range(2)]
    manifest.write(tmp_path / "images.csv", rows, with_labels=True)
    lines = [",".join(TUNE_COLUMNS), "files/1.gz,normal,0,0.5,-1.25,-0.75", "files/0.gz,normal,1,2.0,1.0,3.0"]
    (tmp_path / TUNE).write_text("\n".join(lines) + "\n")
    assert HeadFolder(tmp_path).tune_scores() == {"film 1": [0.5, -1.25, -0.75], "film 0": [2.0, 1.0, 3.0]}
