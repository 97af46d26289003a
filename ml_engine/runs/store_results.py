"""Results of a finished run folder -> rows. Call inside the transaction that ends the run."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from ml_engine.core import files
from ml_engine.engine import manifest
from ml_engine.engine.embedding_folder import EmbeddingFolder
from ml_engine.engine.head_folder import HeadFolder
from ml_engine.engine.reports import AlignmentReport, DetectorReport
from ml_engine.engine.scored_folder import FilmScore, ScoredFolder
from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunKind, Score
from ml_engine.runs import paths
from portal.models import Image
from portal.sets import training_films

_BATCH = 1000


def store_results(run: Run, folder: Path) -> None:
    if run.kind == RunKind.FIT_HEAD:
        _store_head(run, folder)
        return
    if run.facts.is_study:
        files.read_json(folder / f"{run.kind}.json")  # a study's results stay in its folder
        return
    {
        RunKind.FIT_ALIGNMENT: _store_alignment,
        RunKind.FIT_DETECTOR: _store_detector,
        RunKind.SCORE: _store_scores,
        RunKind.EMBEDDING: _check_embedding,
    }[RunKind(run.kind)](run, folder)


def _check_embedding(run: Run, folder: Path) -> None:
    """A map stays in its folder."""
    EmbeddingFolder(folder).check()


def _store_alignment(run: Run, folder: Path) -> None:
    assert run.split is not None  # constraint run_fit_has_split
    report = AlignmentReport.read(folder)
    for name in report.pictures:
        paths.keep_picture(run.uuid, folder / "pictures" / name)
    AlignmentModel.objects.create(
        site=run.site,
        run=run,
        split=run.split,
        sha256=paths.keep_model(folder / "alignment.safetensors"),
        config=run.config,
        report=report.to_json(),
        random_weights=run.random_weights,
    )


def _store_detector(run: Run, folder: Path) -> None:
    assert run.split is not None  # constraint run_fit_has_split
    report = DetectorReport.read(folder)
    DetectorModel.objects.create(
        site=run.site,
        run=run,
        split=run.split,
        alignment=run.alignment,
        sha256=paths.keep_model(folder / "detector.safetensors"),
        config=run.config,
        summary=report.to_json(),
        fusion_weight=report.fusion_weight,
        random_weights=run.random_weights,
    )


def _store_head(run: Run, folder: Path) -> None:
    """The head's row; from now on its training films never enter an evaluation."""
    assert run.split is not None and run.detector is not None  # constraints
    results = HeadFolder(folder)
    summary = results.summary
    head = HeadModel.objects.create(
        site=run.site,
        run=run,
        split=run.split,
        detector=run.detector,
        sha256=paths.keep_model(results.head),
        summary=summary,
        tune=results.tune_scores(),
        random_weights=run.random_weights,
    )
    trained = run.reads.filter(verdict__in=["normal", "abnormal"] if summary["asked"]["read_normals"] else ["abnormal"])
    training_films.remember(images=trained.values_list("image_id", flat=True), source=head.uuid)


def _store_scores(run: Run, folder: Path) -> None:
    scored = ScoredFolder(folder)
    scored.check()
    normals = scored.summary.calibration_scores
    parts = {row.image: row.part for row in manifest.read(folder / "images.csv")}
    ids = _image_ids([film.image for film in scored.films])
    beside = scored.semi_supervised.columns.tolist() if scored.is_semi_supervised else None
    scores = []
    for row, film in enumerate(scored.films):
        image_id = ids.get(film.image)
        if image_id is not None:  # None if erased during the run; its row stays in the arrays
            score = _score(run, film, row=row, image_id=image_id, part=parts[film.image], normals=normals)
            if beside:
                _add_head(score, beside[row])
            scores.append(score)
    Score.objects.bulk_create(scores, batch_size=_BATCH)


def _score(run: Run, film: FilmScore, *, row: int, image_id: int, part: str, normals: Sequence[float]) -> Score:
    fused = _number(film.fused)
    return Score(
        run=run,
        image_id=image_id,
        part=part,
        row=row,
        global_score=_number(film.whole),
        region_score=_number(film.region),
        fused_score=fused,
        mean_z=_number(film.mean_z),
        top_z=_number(film.top_z),
        percentile=percentile(fused, normals),
        error=film.error[:500],
    )


def _add_head(score: Score, columns: Sequence[float]) -> None:
    """The scores of a semi-supervised head, in the order of `scored_folder.SEMI_SUPERVISED`."""
    score.one_class_z, score.head_score, score.head_z, score.combined_score, score.combined_p_value = map(
        _number, columns
    )


def percentile(score: float | None, normals: Sequence[float]) -> float | None:
    """The share of calibration normals at or below the score, 0-100; `normals` is sorted. None without them."""
    if score is None or not normals:
        return None
    return 100.0 * bisect_right(normals, score) / len(normals)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _image_ids(uuids: list[str]) -> dict[str, int]:
    ids = {}
    for chunk in _chunks(uuids):
        for address, image_id in Image.objects.filter(uuid__in=chunk).values_list("uuid", "pk"):
            ids[str(address)] = image_id
    return ids


def _chunks(uuids: list[str]) -> Iterator[list[UUID]]:
    for start in range(0, len(uuids), 500):  # SQLite allows 999 parameters on old builds
        yield [UUID(text) for text in uuids[start : start + 500]]
