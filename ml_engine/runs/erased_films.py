"""Erase films from the runs of a site: their rows in scored folders, other folders as a whole, and models fitted on
them, which are withdrawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine.run_folder import INPUTS
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import (
    AlignmentModel,
    CanonicalBoard,
    DetectorModel,
    HandMadeCanonical,
    HeadModel,
    Run,
    RunKind,
    RunState,
    WithdrawnModel,
)
from ml_engine.runs import canonical_files, paths, run_bucket
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, request_alignment, request_detector
from ml_engine.runs.withdrawn import withdrawn_models
from portal.intake.erased_patients import without
from portal.models import Erasure, Image, Part, Patient, Site, User

M = TypeVar("M", AlignmentModel, DetectorModel, HeadModel)
FOLDER_DELETED = "Its folder was deleted when a patient was erased; clone the run to compute it again without them."
_KEPT_OF_SCORED = ("run.json", "images.csv", "files", "inputs", run_bucket.STAMP)  # beside the results


@dataclass(frozen=True)
class RunsOfFilms:
    """`scored`: runs from whose results the films are taken; `deleted`: those whose folder is deleted."""

    scored: list[Run]
    deleted: list[Run]
    canonicals: list[HandMadeCanonical]
    alignments: list[AlignmentModel]
    detectors: list[DetectorModel]
    heads: list[HeadModel]

    @property
    def runs(self) -> list[Run]:
        return [*self.scored, *self.deleted]

    @property
    def models(self) -> list[AlignmentModel | DetectorModel | HeadModel]:
        return [*self.alignments, *self.detectors, *self.heads]


def under_way(site: Site) -> int:
    """How many runs of the site may be using films."""
    return Run.objects.filter(site=site, state__in=[RunState.QUEUED, RunState.RUNNING]).count()


def runs_of(patient: Patient) -> RunsOfFilms:
    films = list(patient.images.all())
    runs = [run for run in Run.objects.filter(site=patient.site).order_by("pk") if _holds(run, patient, films)]
    scored = [run for run in runs if run.kind == RunKind.SCORE and run.state == RunState.DONE]
    fits = [run.pk for run in runs]
    canonicals = HandMadeCanonical.objects.filter(board__films__image__in=films).distinct()
    alignments = AlignmentModel.objects.filter(run__in=fits) | AlignmentModel.objects.filter(
        run__canonical__in=canonicals
    )
    detectors = DetectorModel.objects.filter(run__in=fits) | DetectorModel.objects.filter(alignment__in=alignments)
    heads = HeadModel.objects.filter(run__in=fits) | HeadModel.objects.filter(detector__in=detectors)
    return RunsOfFilms(
        scored=scored,
        deleted=[run for run in runs if run not in scored],
        canonicals=list(canonicals.select_related("board")),
        alignments=_in_use(alignments.select_related("run", "split")),
        detectors=_in_use(detectors.select_related("run", "split", "alignment")),
        heads=_in_use(heads.select_related("run", "split")),
    )


def _in_use(models: Iterable[M]) -> list[M]:
    """Without those that were withdrawn before."""
    return [model for model in models if not withdrawn_models([model])]


def _holds(run: Run, patient: Patient, films: Sequence[Image]) -> bool:
    """By the run's list of films, which is fixed when its folder is written; without a folder, by its split."""
    try:
        listed = run_bucket.read_text(run, "images.csv")
    except OSError:
        is_scored = run.scores.filter(image__patient=patient).exists()
        is_read = run.reads.filter(image__patient=patient).exists()
        return is_scored or is_read or _is_in_split(run, patient)
    return any(str(film.uuid) in listed for film in films)


def _is_in_split(run: Run, patient: Patient) -> bool:
    """Whether the run may have taken the patient's films from its split; of test, only studies take some."""
    if run.split is None or run.kind == RunKind.SCORE:
        return False
    members = run.split.members.filter(patient=patient)
    return (members if run.facts.is_study else members.exclude(part=Part.TEST)).exists()


def delete_files(affected: RunsOfFilms, patient: Patient) -> None:
    """Running it twice is harmless."""
    films = list(patient.images.all())
    for run in affected.scored:
        with run_bucket.changing(run) as folder:
            _forget(folder, films)
    for run in affected.deleted:
        run_bucket.delete_folder(run)
        shutil.rmtree(paths.picture_path(run.uuid, "x").parent, ignore_errors=True)
        Run.objects.filter(pk=run.pk).update(message=FOLDER_DELETED, detail="")
    for model in affected.models:
        paths.model_path(model.sha256).unlink(missing_ok=True)
        name = {AlignmentModel: "alignment", DetectorModel: "detector", HeadModel: "head"}[type(model)]
        for run in model.used_by.all():
            run_bucket.forget_file(run, INPUTS[name])
    for canonical in affected.canonicals:
        _delete_canonical(canonical)
    for board in CanonicalBoard.objects.filter(films__image__in=films).distinct():
        shutil.rmtree(paths.board_folder(board.uuid), ignore_errors=True)
    for alignment in affected.alignments:
        for run in Run.objects.filter(detector__alignment=alignment):
            run_bucket.forget_file(run, INPUTS["alignment"])


def _delete_canonical(canonical: HandMadeCanonical) -> None:
    """The mean of the films of a board, and every copy of it in a run's folder."""
    canonical_files.delete(canonical)
    for run in canonical.used_by.all():
        run_bucket.forget_file(run, INPUTS["canonical"])


def _forget(folder: Path, films: Sequence[Image]) -> None:
    """Keep of a scored folder its request, the films of others and the results, in which these films are blanked."""
    if not folder.is_dir():
        return
    results = ScoredFolder(folder)
    names = {str(film.uuid) for film in films}
    try:
        results.forget(names)
    except EngineError:  # files are missing: nothing can be read from the rest
        shutil.rmtree(folder, ignore_errors=True)
        return
    request = folder / "run.json"  # it names the films that its bank was grown by
    if request.is_file():
        asked = without(json.loads(request.read_text(encoding="utf-8")), sorted(names))
        _forget_hand_affines(folder, asked, names)
        paths.write_text(request, json.dumps(asked, indent=2))
    kept = {*_KEPT_OF_SCORED, *results.file_names()}
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for name in names:
        for path in (folder / "files").glob(f"{name}.*"):
            path.unlink()


def _forget_hand_affines(folder: Path, asked: dict[str, Any], names: set[str]) -> None:
    """Take the films out of the hand-made affines of a run, and name the changed file in its request."""
    path = folder / INPUTS["hand_affines"]
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        values["films"] = {name: affine for name, affine in values["films"].items() if name not in names}
        path.unlink()  # a hard link may be elsewhere
        paths.write_text(path, json.dumps(values))
        asked["inputs"]["hand_affines"]["sha256"] = paths.file_sha256(path)


def withdraw(erasure: Erasure, affected: RunsOfFilms) -> None:
    for model in affected.models:
        name = {AlignmentModel: "alignment", DetectorModel: "detector", HeadModel: "head"}[type(model)]
        if not withdrawn_models([model]):
            WithdrawnModel.objects.create(erasure=erasure, **{name: model})


def _alignment_again(request: RunRequest, model: AlignmentModel, config: PipelineConfig) -> Run:
    canonical = model.run.canonical
    if canonical is not None:
        config = config.replace_fields({"alignment.canonical": "groupwise"})  # the request says again what it is
    return request_alignment(request, split=model.split, config=config, canonical=canonical)


def fit_again(erasure: Erasure, actor: User | None) -> list[str]:
    """Queue the fits of the withdrawn alignments and detectors again, without the erased films. Returns why some could
    not be queued, and which heads need a request of their own."""
    refused = []
    alignments: dict[int, Run] = {}
    for withdrawn in erasure.withdrawn_models.select_related("alignment__run", "detector__run", "head__run"):
        model = withdrawn.model
        if isinstance(model, HeadModel):
            refused.append(f"The head “{model.run.name}” is fitted again from its detector's page.")
            continue
        request = RunRequest(
            site=erasure.site,
            name=f"{model.run.name[:88]} (again)",
            requested_by=actor,
            clone_of=model.run,
            note="Fitted again, since a patient was erased.",
        )
        config = PipelineConfig.from_json(model.config)
        try:
            if isinstance(model, AlignmentModel):
                run = alignments[model.pk] = _alignment_again(request, model, config)
            else:
                run = request_detector(
                    request,
                    split=model.split,
                    config=config,
                    alignment=None if model.alignment_id in alignments else model.alignment,
                    after=alignments.get(model.alignment_id) if model.alignment_id else None,
                )
        except RunRefused as refusal:
            refused.append(f"“{model.run.name}”: {refusal}")
            continue
        WithdrawnModel.objects.filter(pk=withdrawn.pk).update(fitted_again=run)
    return refused
