"""The films of each part of an evaluation and their slow statistics, cached in files of the data folder.

They never change: an evaluation has a label cut-off, a frozen split and scores that are written once. A missing or
outdated file is computed again from the database and the run's folder.
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
from analysis.evaluation.evaluate import (
    EVALUATED_PARTS,
    ScoredPart,
    band_of,
    cache_statistics,
    scored_part,
    sweep_of,
    sweep_rows,
)
from analysis.evaluation.memory_cache import MemoryCache
from analysis.evaluation.run_results import results_of
from analysis.models import Evaluation
from ml_engine.core import files

FORMAT = 1  # increase it when the stored arrays or a stored statistic change
_parts = MemoryCache(4)  # 40 MB each for 100,000 films


def evaluated_part(evaluation: Evaluation, part: str) -> ScoredPart:
    """`evaluate.scored_part` at the evaluation's cut-off. Raises CannotEvaluate when the run's folder is gone."""
    with results_of(evaluation.run) as folder:
        key = (evaluation.uuid, part, folder.sweep_written)
    return _parts.get_or_compute(key, lambda: _load(evaluation, part) or _compute(evaluation, part))


def clear_memory() -> None:
    """Empty the cache of this process; the files stay. For tests and benchmarks."""
    _parts.clear()


def _file(evaluation: Evaluation, part: str) -> Path:
    return Path(settings.DATA_DIR) / "evaluations" / str(evaluation.uuid) / f"{part}.npz"


def _compute(evaluation: Evaluation, part: str) -> ScoredPart:
    scored = scored_part(evaluation.run, part=part, cutoff=evaluation.label_cutoff)
    if part in EVALUATED_PARTS:
        _store(evaluation, scored)
    return scored


def _store(evaluation: Evaluation, scored: ScoredPart) -> None:
    weight = float(evaluation.metrics["weight"])
    header = {
        "format": FORMAT,
        "left_out": scored.left_out,
        "digest": scored.digest.hex(),
        "weight": weight,
        "sweep": _plain(sweep_of(scored)),
        "band": _plain(band_of(scored, weight=weight)),
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=np.array(scored.images, dtype="S36"),
        labels=scored.labels,
        patients=scored.patients,
        rows=scored.rows,
        said=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
    )
    files.write_bytes(_file(evaluation, scored.part), buffer.getvalue())


def _load(evaluation: Evaluation, part: str) -> ScoredPart | None:
    """None if there is no file, or it is damaged, of another FORMAT, or of other scores."""
    try:
        with np.load(io.BytesIO(_file(evaluation, part).read_bytes()), allow_pickle=False) as stored:
            header = json.loads(stored["said"].tobytes())
            arrays = {name: stored[name] for name in ("images", "labels", "patients", "rows")}
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
    if header.get("format") != FORMAT:
        return None
    scored = ScoredPart(
        part=part,
        images=[image.decode() for image in arrays["images"]],
        labels=arrays["labels"],
        patients=arrays["patients"],
        sweep=sweep_rows(evaluation.run, arrays["rows"]),
        left_out=header["left_out"],
        rows=arrays["rows"],
    )
    if scored.digest.hex() != header["digest"]:  # the run's scores differ from those that were evaluated
        return None
    cache_statistics(
        scored,
        weight=header["weight"],
        sweep=statistics.FusionSweep(**_arrays(header["sweep"])),
        band=statistics.RocBand(**_arrays(header["band"])),
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
