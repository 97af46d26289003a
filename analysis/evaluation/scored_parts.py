"""What an evaluation stands on, kept beside the database: the films of each part and what takes long to work out.

An evaluation's labels stand at a cut-off, its split is frozen and its scores are written once, so none of it changes.
Whatever is missing is worked out again from the rows.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from django.conf import settings

from analysis import statistics
from analysis.evaluation import evaluate as evaluations
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.memory_cache import Remembered
from analysis.evaluation.run_results import results_of
from analysis.models import Evaluation
from ml_engine.core import files

FORMAT = 1  # grows with a change of what is kept, or of a statistic that is kept
_parts = Remembered(4)  # of 100,000 films each is 40 MB


def evaluated_part(evaluation: Evaluation, part: str) -> ScoredPart:
    """As `evaluation.scored_part` at the evaluation's cut-off. Raises CannotEvaluate when the run's folder is gone."""
    with results_of(evaluation.run) as folder:
        key = (evaluation.uuid, part, folder.sweep_written)
    return _parts(key, lambda: _read(evaluation, part) or _work_out(evaluation, part))


def forget() -> None:
    """Drop what this process remembers of parts; the files stay. For measurements."""
    _parts.clear()


def _file(evaluation: Evaluation, part: str) -> Path:
    return Path(settings.DATA_DIR) / "evaluations" / str(evaluation.uuid) / f"{part}.npz"


def _work_out(evaluation: Evaluation, part: str) -> ScoredPart:
    scored = evaluations.scored_part(evaluation.run, part=part, cutoff=evaluation.label_cutoff)
    if part in evaluations.EVALUATED_PARTS:
        _write(evaluation, scored)
    return scored


def _write(evaluation: Evaluation, scored: ScoredPart) -> None:
    weight = float(evaluation.metrics["weight"])
    said = {
        "format": FORMAT,
        "left_out": scored.left_out,
        "digest": scored.digest.hex(),
        "weight": weight,
        "sweep": _plain(evaluations.sweep_of(scored)),
        "band": _plain(evaluations.band_of(scored, weight=weight)),
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=np.array(scored.images, dtype="S36"),
        labels=scored.labels,
        patients=scored.patients,
        rows=scored.rows,
        said=np.frombuffer(json.dumps(said).encode(), dtype=np.uint8),
    )
    files.write_bytes(_file(evaluation, scored.part), buffer.getvalue())


def _read(evaluation: Evaluation, part: str) -> ScoredPart | None:
    """None where nothing is kept, or what is kept is of another release or damaged."""
    try:
        with np.load(io.BytesIO(_file(evaluation, part).read_bytes()), allow_pickle=False) as kept:
            said = json.loads(kept["said"].tobytes())
            arrays = {name: kept[name] for name in ("images", "labels", "patients", "rows")}
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
    if said.get("format") != FORMAT:
        return None
    scored = ScoredPart(
        part=part,
        images=[image.decode() for image in arrays["images"]],
        labels=arrays["labels"],
        patients=arrays["patients"],
        sweep=evaluations.sweep_rows(evaluation.run, arrays["rows"]),
        left_out=said["left_out"],
        rows=arrays["rows"],
    )
    if scored.digest.hex() != said["digest"]:  # the run's scores are others than those evaluated
        return None
    evaluations.remember(
        scored,
        weight=said["weight"],
        sweep=statistics.FusionSweep(**_arrays(said["sweep"])),
        band=statistics.RocBand(**_arrays(said["band"])),
    )
    return scored


def _plain(statistic: Any) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(statistic).items()
    }


def _arrays(plain: dict[str, Any]) -> dict[str, Any]:
    return {
        name: np.asarray(value, dtype=np.float64) if isinstance(value, list) else value for name, value in plain.items()
    }
