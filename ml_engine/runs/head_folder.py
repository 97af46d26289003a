"""The reads of a semi-supervised head, and the scores of its known normals, as files of its run folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ml_engine.engine import fit_scores, reads
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reads import ReadFilm
from ml_engine.engine.run_folder import INPUTS
from ml_engine.models import Run
from ml_engine.runs import paths, run_bucket
from portal.models import Image


def write_reads(run: Run, rows: Sequence[ManifestRow], folder: Path) -> None:
    """Write inputs/reads.csv: what people said of the films of `rows`, and their groups."""
    of_run = {str(read.image.uuid): read for read in run.reads.select_related("image")}
    films = {}
    for start in range(0, len(rows), 500):
        uuids = [row.image for row in rows[start : start + 500]]
        for image in Image.objects.filter(uuid__in=uuids).select_related("dataset"):
            films[str(image.uuid)] = image
    lines = []
    for row in rows:
        read = of_run.get(row.image)
        lines.append(
            ReadFilm(
                filename=row.filename,
                is_in_pool=read is not None,
                verdict=read.verdict if read else "",
                weight=read.weight if read else 1.0,
                model_shown=read.model_shown if read else False,
                **groups_of(films[row.image]),
            )
        )
    (folder / "inputs").mkdir(exist_ok=True)
    reads.write(folder / INPUTS["reads"], lines)


def groups_of(image: Image) -> dict[str, str]:
    """The groups in which populations may differ. The day of a film is shifted by patient and tells no period, so the
    period is the month of its import."""
    scanner = " ".join(str(image.header.get(name) or "") for name in ("manufacturer", "model")).strip()
    return {
        "site": image.dataset.name,
        "scanner": scanner,
        "view": image.view_position,
        "period": f"imported {image.created_at:%Y-%m}",
    }


def head_inputs(run: Run, folder: Path, *, tick: Callable[[], None]) -> dict[str, tuple[str, Path]]:
    """Name -> (SHA-256, file) of the reads, and of the cross-fitted scores of the known normals if the detector's run
    still has them."""
    assert run.detector is not None  # constraint run_head_has_scored_run
    inputs = {}
    for name, source in (("reads", folder), ("fit_scores", run_bucket.here(run.detector.run, beat=tick))):
        kept = folder / INPUTS[name]
        path = kept if kept.exists() else source / fit_scores.SCORES
        if path.is_file():
            inputs[name] = (paths.file_sha256(path), path)
    return inputs
