"""Rows -> run folder: all inputs of the engine, as files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import INPUTS, write_run_folder
from ml_engine.engine.study_plans import LesionPlan
from ml_engine.models import AlignmentModel, DetectorModel, HeadModel, Run, RunKind
from ml_engine.runs import affine_decisions, canonical_files, head_folder, paths, run_bucket
from ml_engine.runs.copies_of_test import copies_left_out
from ml_engine.runs.embedding_requests import mapped_films
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.refused_views import left_out
from ml_engine.runs.requests import alignment_part, fit_report_of
from ml_engine.runs.withdrawn import refuse_withdrawn
from portal.intake.film_files import pixels_here
from portal.labels.events import labels_at
from portal.models import Image, LabelValue, Part, Split


@dataclass(frozen=True)
class RunFilm:
    """A line of images.csv. `label` is "" for a film whose label the engine must not see."""

    image: Image
    part: str
    label: str = ""

    @property
    def filename(self) -> str:
        return f"files/{self.image.uuid}.u16.gz"

    def to_row(self) -> ManifestRow:
        return ManifestRow(
            filename=self.filename,
            image=str(self.image.uuid),
            sha256=self.image.pixel_sha256,
            patient=str(self.image.patient.uuid),
            part=self.part,
            label=self.label,
        )


def write_folder(run: Run, *, tick: Callable[[], None]) -> Path:
    """Write the run's folder and return its path. A later attempt keeps the list of films of the first, so that it can
    continue the work. `tick` is called often. Raises RunRefused, BucketAway."""
    folder = run_bucket.here(run, beat=tick)
    (folder / "files").mkdir(parents=True, exist_ok=True)
    rows = None
    if not (folder / "images.csv").exists():
        films = films_of(run)
        if not films:
            raise RunRefused("There is no film to work on: the split or the dataset has become empty. Clone the run.")
        for film in films:
            _place_film(film, folder)
            tick()
        paths.flush(folder / "files")  # before images.csv, with which the list of films counts as whole
        rows = [film.to_row() for film in films]
        if run.kind == RunKind.FIT_HEAD:
            head_folder.write_reads(run, rows, folder)
        affine_decisions.write_hand_affines(run, _alignment(run), folder, names={row.image for row in rows})
    elif run_bucket.is_used() and not Run.with_children.filter(parent=run).exists():
        place_films(folder, tick=tick)
    inputs = _inputs(run, folder, tick=tick)
    missing = {name: path for name, (_, path) in inputs.items() if not (folder / INPUTS[name]).exists()}
    write_run_folder(folder, _run_json(run, folder, inputs), rows, inputs=missing)
    return folder


def place_films(folder: Path, images: Sequence[str] | None = None, *, tick: Callable[[], None] = lambda: None) -> None:
    """Give a folder that came from the bucket the films of its list, or only these (UUIDs), as they are now, but for
    erased ones. Without the bucket they are there. Raises RunRefused, BucketAway."""
    if not run_bucket.is_used():
        return
    uuids = [row.image for row in manifest.read(folder / "images.csv")] if images is None else images
    (folder / "files").mkdir(exist_ok=True)
    for start in range(0, len(uuids), 500):
        for image in Image.objects.filter(uuid__in=uuids[start : start + 500]):
            film = RunFilm(image, "")
            target, pixels = folder / film.filename, pixels_here(image.pixel_sha256)
            if target.exists() and pixels.exists() and not target.samefile(pixels):  # text was blacked out since
                target.unlink()
            _place_film(film, folder)
            tick()


def _place_film(film: RunFilm, folder: Path) -> None:
    try:
        paths.link(pixels_here(film.image.pixel_sha256), folder / film.filename)
    except FileNotFoundError:
        raise RunRefused(
            f"The pixel file of film {film.image.uuid} is missing from the data folder: restore it from a backup, "
            "or import the film again, then retry."
        ) from None
    facts = folder / "files" / f"{film.image.uuid}.json"
    if not facts.exists():
        paths.write_text(facts, json.dumps(film.image.facts, sort_keys=True), is_flushed=False)


def _run_json(run: Run, folder: Path, inputs: Mapping[str, tuple[str, Path]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": run.kind,
        "name": run.name,
        "config": run.config,
        "seed": run.seed,
        "code_version": code_version(),
        "weights": _weights(run, folder),
        "inputs": {name: {"file": INPUTS[name], "sha256": sha256} for name, (sha256, _) in inputs.items()},
    } | _settings(run)


def _settings(run: Run) -> dict[str, Any]:
    """What the run is asked for besides its config. The filter that chose the films of a map is not among it: the list
    of films is."""
    if run.facts.is_study:
        return dict(run.asked)
    return {name: run.asked[name] for name in run.facts.asked} | _grow(run)


def _grow(run: Run) -> dict[str, Any]:
    """The films that join the memory bank of a scoring run before it scores, if there are any."""
    images = [str(image) for image in run.grown_with.order_by("pk").values_list("uuid", flat=True)]
    if not images or run.detector is None:
        return {}
    return {"grow": {"images": images, "films_before": fit_report_of(run.detector).parts.fit}}


def _weights(run: Run, folder: Path) -> dict[str, Any]:
    """The backbone's weights, fixed by the first attempt: a later attempt refuses a file that was replaced."""
    config = PipelineConfig.from_json(run.config)
    current = weights.named(config.weights, config.backbone, folder=paths.weights_folder())
    try:
        pinned = json.loads((folder / "run.json").read_bytes())["weights"]
    except FileNotFoundError:
        return current
    return pinned if pinned["sha256"] else current


def _models(run: Run) -> dict[str, AlignmentModel | DetectorModel | HeadModel]:
    """The models that the run starts from."""
    models = {"alignment": _alignment(run), "detector": run.detector, "head": run.head}
    return {name: model for name, model in models.items() if model is not None}


def _alignment(run: Run) -> AlignmentModel | None:
    return run.detector.alignment if run.detector else run.alignment


def _inputs(run: Run, folder: Path, *, tick: Callable[[], None]) -> dict[str, tuple[str, Path]]:
    """Name -> (SHA-256, file) of everything that the run starts from. Raises RunRefused for a file that is gone."""
    inputs = {}
    refuse_withdrawn(*_models(run).values())
    for name, model in _models(run).items():
        inputs[name] = (model.sha256, run_bucket.model_here(model, beat=tick))
        if not (folder / INPUTS[name]).exists() and not inputs[name][1].exists():
            raise RunRefused(
                f"The file of the {name} “{model.run.name}” is missing from the data folder: restore it from a "
                "backup, or fit it again, then clone this run with the new one."
            )
    inputs |= affine_decisions.hand_affine_inputs(folder) | _canonical(run, folder)
    return inputs | (head_folder.head_inputs(run, folder, tick=tick) if run.kind == RunKind.FIT_HEAD else {})


def _canonical(run: Run, folder: Path) -> dict[str, tuple[str, Path]]:
    """The hand-made canonical image that an alignment is fitted to. Raises RunRefused for a file that is gone."""
    if run.canonical is None:
        return {}
    path = paths.canonical_path(run.canonical.sha256)
    canonical_files.place(run.canonical, folder / INPUTS["canonical"])
    if not (folder / INPUTS["canonical"]).exists() and not path.exists():
        raise RunRefused(
            f"The file of the canonical image “{run.canonical.name}” is missing from the data folder; it is deleted "
            "when a patient on its board is erased. Make it again on its board, then clone this run with the new one."
        )
    return {"canonical": (run.canonical.sha256, path)}


# Which films, in which part, with which label -------------------------------------------------------


def films_of(run: Run) -> list[RunFilm]:
    """The films of a run, in the order in which they were imported; those of an earlier run in that run's order."""
    if run.kind == RunKind.SCORE:
        return _films_to_score(run)
    if run.kind == RunKind.EMBEDDING:
        return _films_to_map(run)
    assert run.split is not None  # constraint run_fit_has_split
    if run.kind == RunKind.FIT_ALIGNMENT:
        return _labelled(run.split, [alignment_part(run.split)], allowed={})
    if run.kind in (RunKind.ABLATION, RunKind.SWEEP):
        return _films_of_experiments(run.split)
    if run.kind == RunKind.BANK_STUDY:
        return _films_of_banks(run.split)
    if run.kind == RunKind.BLIND_SPOTS:
        return _normals_to_paste_into(run)
    if run.kind == RunKind.FIT_HEAD:
        return _films_of_head(run)
    films = _labelled(run.split, [Part.FIT, Part.TUNE, Part.CALIBRATE], allowed={Part.TUNE: {LabelValue.ABNORMAL}})
    excluded = affine_decisions.excluded_films(run.alignment)  # of fit alone: tune and calibrate judge as test does
    return [film for film in films if film.part != Part.FIT or film.image.pk not in excluded]


def _films_of_experiments(split: Split) -> list[RunFilm]:
    """The films of every detector of an ablation or a sweep: those that it is fitted on with their labels, and all of
    test without labels."""
    parts = [Part.ALIGN, Part.FIT, Part.TUNE, Part.CALIBRATE]
    fitting = _labelled(split, [*parts], allowed={Part.TUNE: {LabelValue.ABNORMAL}})
    return [*fitting, *_in_parts(split, [Part.TEST])]


def _films_of_banks(split: Split) -> list[RunFilm]:
    """The normal films of fit and calibrate, the abnormal films of tune that may join a bank, and all of test without
    labels."""
    fitting = _labelled(split, [Part.FIT, Part.TUNE, Part.CALIBRATE], allowed={Part.TUNE: {LabelValue.ABNORMAL}})
    kept = [film for film in fitting if film.part != Part.TUNE or film.label == LabelValue.ABNORMAL]
    return [*kept, *_in_parts(split, [Part.TEST])]


def _normals_to_paste_into(run: Run) -> list[RunFilm]:
    """The normal films of the part, at most as many as requested, drawn with the run's seed."""
    assert run.split is not None  # constraint run_fit_has_split
    planned = LesionPlan.from_json(run.asked["lesions"])
    films = _labelled(run.split, [planned.part], allowed={})
    order = np.random.default_rng(run.seed).permutation(len(films))[: planned.films]
    return [RunFilm(films[k].image, films[k].part) for k in sorted(order.tolist())]


def _films_of_head(run: Run) -> list[RunFilm]:
    """The films of the detector's fit, then the films of the pool that are not among them."""
    assert run.split is not None
    own = _labelled(run.split, [Part.FIT, Part.TUNE, Part.CALIBRATE], allowed={Part.TUNE: {LabelValue.ABNORMAL}})
    names = {film.image.pk for film in own}
    in_tune = set(run.split.members.filter(part=Part.TUNE).values_list("patient_id", flat=True))
    pool = Image.objects.filter(pk__in=run.reads.values("image")).select_related("patient").order_by("pk")
    others = [image for image in pool if image.pk not in names]
    return [*own, *(RunFilm(image, Part.TUNE if image.patient_id in in_tune else "") for image in others)]


def _labelled(split: Split, parts: list[str], *, allowed: dict[str, set[LabelValue]]) -> list[RunFilm]:
    """The films of these parts that were normal at the split's cut-off, or had a label that is allowed in their
    part."""
    films = list(_in_parts(split, parts))
    labels = labels_at([film.image.pk for film in films], split.label_cutoff)
    kept = []
    for film in films:
        label = labels.get(film.image.pk)
        if label is not None and label.value in {LabelValue.NORMAL, *allowed.get(film.part, ())}:
            kept.append(RunFilm(film.image, film.part, str(label.value)))
    return kept


def _films_to_score(run: Run) -> list[RunFilm]:
    if run.rescores is not None:
        scores = run.rescores.scores.select_related("image__patient").order_by("row")
        return [RunFilm(score.image, score.part) for score in scores]
    if run.parts:
        assert run.split is not None  # a request with parts takes the detector's split
        refused = set(left_out(run).values_list("pk", flat=True))
        return [film for film in _in_parts(run.split, run.parts) if film.image.pk not in refused]
    part_of = _parts_by_image(run.split) if run.split else {}
    images = Image.objects.filter(dataset__in=run.datasets.all()).select_related("patient").order_by("pk")
    refused = {*left_out(run).values_list("pk", flat=True), *copies_left_out(run).values_list("pk", flat=True)}
    return [RunFilm(image, part_of.get(image.pk, "")) for image in images if image.pk not in refused]


def _films_to_map(run: Run) -> list[RunFilm]:
    films = mapped_films(list(run.datasets.all()), run.asked.get("filter", {}))
    return [RunFilm(image, "") for image in films.select_related("patient").order_by("pk").distinct()]


def _in_parts(split: Split, parts: list[str]) -> Iterator[RunFilm]:
    part_of = _parts_by_image(split, parts)
    images = Image.objects.filter(split_images__member__split=split, split_images__member__part__in=parts)
    for image in images.select_related("patient").order_by("pk"):
        yield RunFilm(image, part_of[image.pk])


def _parts_by_image(split: Split, parts: list[str] | None = None) -> dict[int, str]:
    members = split.members.filter(images__isnull=False)
    if parts is not None:
        members = members.filter(part__in=parts)
    return dict(members.values_list("images__image_id", "part"))
