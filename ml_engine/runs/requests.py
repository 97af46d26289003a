"""Request runs. Every request is checked here, so that a run that was stored can be carried out.

Each function is one transaction with its audit event, and publishes the run to the queue on commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from ml_engine.core.backbone.weights import RANDOM
from ml_engine.core.config import PipelineConfig, preparation_difference
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine import manifest
from ml_engine.engine.reports import DetectorReport
from ml_engine.engine.run_kinds import DIVIDED, STUDIES
from ml_engine.engine.stages import needed_weights
from ml_engine.engine.stages.plans import ExperimentPlan
from ml_engine.models import AlignmentModel, DetectorModel, HandMadeCanonical, HeadModel, Run, RunKind, RunState
from ml_engine.runs import canonical_files, paths, run_forecasts
from ml_engine.runs.copies_of_test import refuse_copies_alone
from ml_engine.runs.lifecycle import RunRefused, publish_on_commit
from ml_engine.runs.refused_views import films_named, refuse_other_views_alone
from ml_engine.runs.withdrawn import refuse_withdrawn
from portal.intake.quotas import QuotaReached, require_room
from portal.models import Dataset, Image, Part, Site, Split, User
from portal.people import audit
from portal.people.access import require
from portal.people.retired import why_retired
from portal.sets.approvals import why_ended
from portal.sets.film_copies import FilmCopies

_LONGEST_NAME = 100
MOST_GROWN = 200  # films whose features fit into memory at once


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What every run has. `requested_by` is None for a command on the server."""

    site: Site
    name: str
    requested_by: User | None = None
    note: str = ""
    tags: Sequence[str] = ()
    clone_of: Run | None = None


@dataclass(frozen=True)
class Chain:
    """An alignment, a detector and a scoring run requested at once: each waits for the one before."""

    alignment: Run | None
    detector: Run
    score: Run


def config_from(preset: str, changes: Mapping[str, str] | None = None) -> PipelineConfig:
    """The preset with single fields changed; the changes are text: {"size": "64", "alignment.epochs": "2"}.

    It includes the machine's number of threads, since results are byte-identical only for the same number.
    Raises InvalidConfig.
    """
    config = PipelineConfig.from_preset(preset).replace(threads=settings.ENGINE_THREADS)
    return config.replace_fields(changes or {})


def changes_from_preset(config: Mapping[str, Any]) -> dict[str, str]:
    """Where a stored config differs from its preset, in the form that `config_from` takes. Without the fields that a
    request sets by itself: threads, and whether films are aligned."""
    preset = _flat(PipelineConfig.from_preset(config.get("preset", "default")).to_json())
    stored = _flat(PipelineConfig.from_json(dict(config)).to_json())
    set_by_request = {"preset", "threads", "align"}
    return {
        name: as_text(value) for name, value in stored.items() if name not in set_by_request and value != preset[name]
    }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    alignment = {f"alignment.{name}": value for name, value in values["alignment"].items()}
    return {name: value for name, value in values.items() if name != "alignment"} | alignment


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def request_alignment(
    request: RunRequest, *, split: Split, config: PipelineConfig, canonical: HandMadeCanonical | None = None
) -> Run:
    """Fit an alignment to a hand-made `canonical` image, or to the one that the config makes. Raises RunRefused."""
    check_request(request, split=split)
    config = config.replace(align="network")
    check_needs_no_file(config)
    if canonical is not None:
        config = _with_canonical(config, canonical, request.site)
    part = alignment_part(split)
    check_films(split, [part], why="an alignment is fitted on normal films of part align, or fit where there is none")
    run_forecasts.require_room(run_forecasts.of_alignment(split, config), config)
    return queue(
        request,
        kind=RunKind.FIT_ALIGNMENT,
        split=split,
        canonical=canonical,
        config=config.to_json(),
        seed=config.seed,
    )


def _with_canonical(config: PipelineConfig, canonical: HandMadeCanonical, site: Site) -> PipelineConfig:
    _check_site(canonical, site, "canonical image")
    if not canonical_files.is_there(canonical):
        raise RunRefused(
            f"The file of the canonical image “{canonical.name}” is gone; it is deleted when a patient on its board is "
            "erased. Make it again on its board.",
            field="canonical",
        )
    try:
        return config.replace_fields({"alignment.canonical": "file"})
    except InvalidConfig as refusal:
        raise RunRefused(str(refusal), field="canonical") from refusal


def request_detector(
    request: RunRequest,
    *,
    split: Split,
    config: PipelineConfig,
    alignment: AlignmentModel | None = None,
    after: Run | None = None,
) -> Run:
    """Fit a detector with `alignment`, with the alignment that the run `after` will make, or with none.

    Raises RunRefused.
    """
    check_request(request, split=split)
    check_films(split, [Part.FIT], why="a detector is fitted on its normal films")
    check_weights(config)
    config = aligned_config(config, split, alignment, after)
    run_forecasts.require_room(run_forecasts.of_fit(split, config, fits_alignment=False), config)
    return queue(
        request,
        kind=RunKind.FIT_DETECTOR,
        split=split,
        alignment=alignment,
        after=after if alignment is None else None,
        config=config.to_json(),
        seed=config.seed,
        random_weights=config.weights == RANDOM,
    )


def request_score(
    request: RunRequest,
    *,
    detector: DetectorModel | None = None,
    after: Run | None = None,
    parts: Sequence[str] = (),
    datasets: Sequence[Dataset] = (),
    head: HeadModel | None = None,
) -> Run:
    """Score parts of the split that the detector was fitted on, or whole datasets, with `detector` or with the detector
    that the run `after` will make, and beside it with the semi-supervised `head`. Raises RunRefused."""
    source = _detector_source(detector, after)
    check_request(request, split=source.split)
    if head is not None and head.detector_id != (detector.pk if detector else None):
        raise RunRefused(
            f"The semi-supervised head “{head.run.name}” was fitted beside the detector “{head.detector.run.name}”: "
            "choose that detector, or no head.",
            field="head",
        )
    if bool(parts) == bool(datasets):
        raise RunRefused("Choose what to score: parts of the detector's split, or datasets.", field="parts")
    unknown = sorted(set(parts) - set(Part.values))
    if unknown:
        raise RunRefused(f"There is no part “{unknown[0]}”: the parts are {', '.join(Part.values)}.")
    if parts:
        check_films(source.split, list(parts), why="a scoring run needs films")
    for dataset in datasets:
        _check_site(dataset, request.site, "dataset")
        if not dataset.images.exists():
            raise RunRefused(f"The dataset “{dataset.name}” has no film: import some first.")
    refuse_other_views_alone(films_named(source.split, parts, datasets), source.split)
    refuse_copies_alone(source.split, datasets)
    if detector is not None:
        fitted = PipelineConfig.from_json(source.config)
        made = run_forecasts.of_score(detector, fitted, parts=parts, datasets=datasets)
        run_forecasts.require_room(made, fitted)
    return queue(
        request,
        kind=RunKind.SCORE,
        split=source.split,
        detector=detector,
        after=after if detector is None else None,
        head=head,
        parts=[part for part in Part.values if part in parts],
        datasets=datasets,
        config=source.config,
        seed=source.config.get("seed", 0),
        random_weights=source.random_weights,
    )


def request_grown_score(request: RunRequest, *, scored: Run, films: Sequence[Image]) -> Run:
    """Score the films of `scored` again with its detector's memory bank grown by `films`, which are among them.

    Raises RunRefused, also for films of patients in tune, calibrate or test.
    """
    detector = scored.detector
    if scored.kind != RunKind.SCORE or scored.state != RunState.DONE or detector is None:
        raise RunRefused(f"“{scored.name}” has no scores: choose a scoring run that is done.")
    check_request(request, split=detector.split)
    _check_site(scored, request.site, "run")
    check_may_join(detector, films)
    scored_films = set(scored.scores.filter(image__in=films, error="").values_list("image_id", flat=True))
    if {film.pk for film in films} - scored_films:
        raise RunRefused(f"A film that is to join the bank has no score in “{scored.name}”: leave it out.")
    with transaction.atomic():
        run = queue(
            request,
            kind=RunKind.SCORE,
            split=detector.split,
            detector=detector,
            parts=scored.parts,
            datasets=list(scored.datasets.all()),
            rescores=scored,
            config=detector.config,
            seed=detector.config.get("seed", 0),
            random_weights=detector.random_weights,
        )
        run.grown_with.set(films)
    return run


def check_may_join(detector: DetectorModel, films: Sequence[Image]) -> None:
    """Raises RunRefused unless `films` may join the fit part of the detector's split."""
    if not films:
        raise RunRefused("No film is chosen to join the bank: choose at least one.")
    if len(films) > MOST_GROWN:
        raise RunRefused(f"{len(films)} films are to join the bank: at most {MOST_GROWN} can join at once.")
    if fit_report_of(detector).bank is None:
        raise RunRefused(f"The detector “{detector.run.name}” has no memory bank that could grow: only PatchCore has.")
    held_out = films_held_elsewhere(detector.split, films)
    if held_out:
        raise RunRefused(
            f"{len(held_out)} of {len(films)} films are of patients in tune, calibrate or test of the split "
            f"“{detector.split.name}”: they stay there, or the detector would be judged on films that it was fitted "
            "on. Leave them out."
        )


def fit_report_of(detector: DetectorModel) -> DetectorReport:
    """Raises RunRefused where the report of an older detector lacks a value that this release needs."""
    try:
        return detector.fit_report
    except IncompleteJson as problem:
        raise RunRefused(f"The detector “{detector.run.name}” cannot be used: {problem}") from problem


def films_held_elsewhere(split: Split, films: Sequence[Image]) -> set[int]:
    """The primary keys of the films whose patients, or others who share a film with them, are in tune, calibrate or
    test of the split."""
    copies = FilmCopies(split.site)
    members = split.members.filter(part__in=[Part.TUNE, Part.CALIBRATE, Part.TEST])
    held_out = {copies.person(patient) for patient in members.values_list("patient_id", flat=True)}
    return {film.pk for film in films if copies.person(film.patient_id) in held_out}


@transaction.atomic
def request_aligned_detector(
    request: RunRequest, *, split: Split, config: PipelineConfig, canonical: HandMadeCanonical | None = None
) -> Run:
    """Fit an alignment on the split, to a hand-made `canonical` image if there is one, then a detector with it. Returns
    the detector's run. Raises RunRefused."""
    first = _rename(replace(request, clone_of=None), "alignment")
    alignment = request_alignment(first, split=split, config=config, canonical=canonical)
    return request_detector(request, split=split, config=config, after=alignment)


@transaction.atomic
def request_chain(
    request: RunRequest,
    *,
    split: Split,
    config: PipelineConfig,
    aligned: bool,
    parts: Sequence[str],
) -> Chain:
    """Request an alignment (if `aligned`), a detector with it and a scoring run with that. Raises RunRefused."""
    alignment = None
    if aligned:
        alignment = request_alignment(_rename(request, "alignment"), split=split, config=config)
    detector = request_detector(_rename(request, "detector"), split=split, config=config, after=alignment)
    score = request_score(_rename(request, "scores"), after=detector, parts=parts)
    return Chain(alignment, detector, score)


def check_can_run(config: PipelineConfig, *, aligned: bool) -> None:
    """Raises RunRefused where an alignment (if `aligned`) or a detector with these settings would be refused on any
    split, for lack of a file on this machine."""
    if aligned:
        check_needs_no_file(config)
    check_weights(config)
    kinds = [RunKind.FIT_ALIGNMENT] * aligned + [RunKind.FIT_DETECTOR]
    for kind in kinds:
        _require_weights(kind, config)


def _require_weights(kind: RunKind, config: PipelineConfig, *, planned: ExperimentPlan | None = None) -> None:
    try:
        needed_weights.require(kind, config, planned=planned, folder=paths.weights_folder())
    except EngineError as refusal:
        field = "alignment.perceptual" if kind == RunKind.FIT_ALIGNMENT else "weights"
        raise RunRefused(str(refusal), field=field) from refusal


def alignment_part(split: Split) -> str:
    """The part of the split that an alignment is fitted on: `manifest.alignment_part`."""
    return manifest.alignment_part(split.members.filter(part=Part.ALIGN).values_list("part", flat=True)[:1])


def check_needs_no_file(config: PipelineConfig) -> None:
    for name, value in (("method", config.alignment.method), ("canonical", config.alignment.canonical)):
        if value in ("landmarks", "file"):
            raise RunRefused(
                f"alignment.{name} is {value}, which needs a file that only the command line takes: choose another, or "
                "fit with python -m ml_engine fit."
            )


def _rename(request: RunRequest, what: str) -> RunRequest:
    name = f"{request.name[: _LONGEST_NAME - len(what) - 2]}: {what}"
    return replace(request, name=name)


def check_request(request: RunRequest, *, split: Split | None) -> None:
    if request.requested_by is not None:
        require(request.requested_by, "request runs", request.site)
    if not request.name.strip():
        raise RunRefused("The run has no name: give it one by which colleagues will find it.", field="name")
    if len(request.name) > _LONGEST_NAME:
        raise RunRefused(f"The name has {len(request.name)} characters: use at most {_LONGEST_NAME}.", field="name")
    if split is None:
        return
    _check_site(split, request.site, "split")
    if split.frozen_at is None:
        sentence = f"The split “{split.name}” is not frozen: freeze it first, so that the run can be repeated."
        raise RunRefused(sentence, field="split")


def _check_site(
    thing: Split | Dataset | AlignmentModel | DetectorModel | HandMadeCanonical | Run, site: Site, word: str
) -> None:
    if thing.site_id != site.pk:
        raise RunRefused(f"This {word} belongs to another site; choose one of this site.")


def check_films(split: Split, parts: list[str], *, why: str) -> None:
    for part in parts:
        if not split.members.filter(part=part, images__isnull=False).exists():
            sentence = f"The split “{split.name}” has no film in part {part}; {why}. Choose another split."
            raise RunRefused(sentence, field="split")


def check_weights(config: PipelineConfig) -> None:
    """Raises RunRefused for weights of another backbone. (`queue` refuses missing ones.)"""
    for file in paths.stored_weights():
        if file.name == config.weights and file.architecture not in ("", config.backbone):
            raise RunRefused(
                f"The weights {file.name} are of {file.architecture}, and the backbone is {config.backbone}: choose "
                "weights of the backbone.",
                field="weights",
            )


def _alignment_before(split: Split, alignment: AlignmentModel | None, after: Run | None) -> dict[str, Any] | None:
    """The config of the alignment that the detector will use, None without alignment. Raises RunRefused."""
    if alignment is None and after is None:
        return None
    if alignment is not None:
        fitted_on, name, config = alignment.split, alignment.run.name, alignment.config
    else:
        assert after is not None
        if after.kind != RunKind.FIT_ALIGNMENT:
            raise RunRefused(f"“{after.name}” makes no alignment: choose a run that fits one.")
        _check_not_failed(after)
        assert after.split is not None  # constraint run_fit_has_split
        fitted_on, name, config = after.split, after.name, after.config
    if fitted_on != split:
        raise RunRefused(
            f"The alignment “{name}” was fitted on the split “{fitted_on.name}”, where this split's test films may "
            "have been among them: choose one that was fitted on this split.",
            field="alignment",
        )
    return config


def aligned_config(
    config: PipelineConfig, split: Split, alignment: AlignmentModel | None, after: Run | None
) -> PipelineConfig:
    """The config with the settings of `alignment`, of the alignment that the run `after` will make, or without
    alignment. Raises RunRefused."""
    fitted = _alignment_before(split, alignment, after)
    if fitted is None:
        return config.replace(align="none")
    return _with_alignment(config, PipelineConfig.from_json(fitted))


def _with_alignment(config: PipelineConfig, fitted: PipelineConfig) -> PipelineConfig:
    """The detector's config with the settings that the alignment was fitted with, since the detector uses that
    alignment."""
    if difference := preparation_difference(fitted.to_json(), config):
        name, theirs, ours = difference
        raise RunRefused(
            f"{name} is {ours} here and was {theirs} when the alignment was fitted: set it to {theirs}, or fit "
            "another alignment.",
            field=name,
        )
    return config.replace(align="network", alignment=fitted.alignment)


@dataclass(frozen=True)
class _DetectorSource:
    split: Split
    config: dict[str, Any]
    random_weights: bool


def _detector_source(detector: DetectorModel | None, after: Run | None) -> _DetectorSource:
    if detector is not None:
        return _DetectorSource(detector.split, detector.config, detector.random_weights)
    if after is None:
        raise RunRefused("Choose the detector that is to score.", field="detector")
    if after.kind != RunKind.FIT_DETECTOR or after.split is None:
        raise RunRefused(f"“{after.name}” makes no detector: choose a run that fits one.")
    _check_not_failed(after)
    return _DetectorSource(after.split, after.config, after.random_weights)


def _check_not_failed(run: Run) -> None:
    if run.state in (RunState.FAILED, RunState.CANCELLED):
        raise RunRefused(f"“{run.name}” is {run.get_state_display().lower()}: retry it first.")


@transaction.atomic
def queue(
    request: RunRequest,
    *,
    kind: RunKind,
    datasets: Sequence[Dataset] = (),
    planned: ExperimentPlan | None = None,
    **fields: Any,
) -> Run:
    """Store the run and publish it. `planned` are the experiments of an ablation or a sweep. Raises RunRefused for a
    dataset whose approval has ended, for what is retired, for models that an erasure has withdrawn, and for weights
    that are not on this machine, whose weights folder the workers share."""
    split: Split | None = fields.get("split")
    if why := why_ended([*datasets, *(split.datasets.select_related("site") if split else ())]):
        raise RunRefused(why)
    try:
        require_room(request.site, 0, what="This run")
    except QuotaReached as refusal:
        raise RunRefused(str(refusal)) from refusal
    models = [fields[name] for name in ("alignment", "detector", "head") if fields.get(name) is not None]
    refuse_withdrawn(*models)
    earlier = [fields[name] for name in ("rescores", "scored", "after") if fields.get(name) is not None]
    if why := why_retired([*(model.run for model in models), *earlier]):
        raise RunRefused(why)
    try:
        config = PipelineConfig.from_json(fields["config"])
    except EngineError as refusal:
        raise RunRefused(str(refusal)) from refusal
    _require_weights(kind, config, planned=planned)
    run = Run.objects.create(
        site=request.site,
        name=request.name.strip(),
        note=request.note.strip(),
        tags=list(request.tags),
        requested_by=request.requested_by,
        clone_of=request.clone_of,
        kind=kind,
        most_a_child=_most_a_child(kind),
        **fields,
    )
    run.datasets.set(datasets)
    requested = {"kind": run.kind, "name": run.name, "parts": run.parts, "config": run.config}
    requested |= {"asked": run.asked} if run.asked else {}
    audit.record(verb="request run", site=run.site, actor=request.requested_by, target=run, after=requested)
    publish_on_commit(run)
    return run


def _most_a_child(kind: RunKind) -> int:
    if kind not in DIVIDED:
        return 0
    return int(settings.SHARD_CELLS if kind in STUDIES else settings.SHARD_FILMS)


def find_model(kind: type[AlignmentModel] | type[DetectorModel] | type[HeadModel], site: Site, uuid: UUID | str) -> Any:
    """The site's model with this UUID, or the model that the run with this UUID made. Raises RunRefused."""
    models = kind.objects.filter(site=site)
    try:
        model = models.filter(Q(uuid=uuid) | Q(run__uuid=uuid)).first()
    except ValidationError:  # not a UUID
        model = None
    if model is None:
        words = {AlignmentModel: "alignment", DetectorModel: "detector", HeadModel: "semi-supervised head"}
        word = words[kind]
        raise RunRefused(f"There is no {word} {uuid} at {site.name}: the run's page shows its UUID.")
    return model
