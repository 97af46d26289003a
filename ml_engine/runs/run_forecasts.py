"""What a requested run will take on this machine, from its films in the database and the costs measured here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from django.conf import settings
from django.db.models import Avg, Count, F, FloatField, QuerySet

from ml_engine.core.config import PipelineConfig
from ml_engine.engine import forecast, unit_costs
from ml_engine.engine.forecast import CannotFit, Forecast, RunSize
from ml_engine.engine.unit_costs import UnitCosts
from ml_engine.models import DetectorModel, Run, RunKind
from ml_engine.runs import paths
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Dataset, Image, Part, Split

NOT_MEASURED = (
    "How long this takes on this machine is not known yet: the first run of a hundred films with these settings "
    "measures it, and so does python -m ml_engine forecast."
)
FITTING = (Part.FIT, Part.TUNE, Part.CALIBRATE)


def of_fit(split: Split, config: PipelineConfig, *, fits_alignment: bool) -> Forecast | None:
    """The forecast of a detector fit, and of an alignment fit before it; None where the costs were not measured."""
    costs = costs_of(config)
    if costs is None:
        return None
    made = [forecast.forecast(RunKind.FIT_DETECTOR, config, _size(split, FITTING), costs)]
    if fits_alignment:
        made.insert(0, _of_alignment(split, config, costs))
    return forecast.one_after_the_other(made)


def of_alignment(split: Split, config: PipelineConfig) -> Forecast | None:
    costs = costs_of(config)
    return None if costs is None else _of_alignment(split, config, costs)


def of_score(
    detector: DetectorModel, config: PipelineConfig, *, parts: Sequence[str], datasets: Iterable[Dataset]
) -> Forecast | None:
    costs = costs_of(config)
    if costs is None:
        return None
    size = _size(detector.split, parts) if parts else _size_of_images(Image.objects.filter(dataset__in=datasets))
    bank = detector.fit_report.bank
    size = RunSize(size.parts, megapixels=size.megapixels, bank_vectors=bank.whole if bank else 0)
    return forecast.forecast(RunKind.SCORE, config, size, costs)


def of_embedding(films: QuerySet[Image], config: PipelineConfig) -> Forecast | None:
    """The forecast of an embedding map of these films; None where the costs were not measured."""
    costs = costs_of(config)
    return None if costs is None else forecast.forecast(RunKind.EMBEDDING, config, _size_of_images(films), costs)


def of_chain(
    parts: Mapping[str, int], config: PipelineConfig, *, aligned: bool, scored: Sequence[str], megapixels: float
) -> Forecast | None:
    """The forecast of an alignment, if ``aligned``, a detector and a scoring run of these parts, one after the other,
    on a split that has these numbers of films; None where the costs were not measured."""
    costs = costs_of(config)
    if costs is None:
        return None
    fitting: dict[str, int] = {part: parts.get(part, 0) for part in FITTING}
    to_score = {part: parts.get(part, 0) for part in scored}
    made = [
        forecast.forecast(RunKind.FIT_DETECTOR, config, RunSize(fitting, megapixels), costs),
        forecast.forecast(
            RunKind.SCORE, config, RunSize(to_score, megapixels, fitted_films=parts.get(Part.FIT, 0)), costs
        ),
    ]
    if aligned:
        part = Part.ALIGN if parts.get(Part.ALIGN) else Part.FIT
        size = RunSize({part: parts.get(part, 0)}, megapixels)
        made.insert(0, forecast.forecast(RunKind.FIT_ALIGNMENT, config, size, costs))
    return forecast.one_after_the_other(made)


def of_queued(run: Run) -> Forecast | None:
    """The forecast of a run as it was requested; None for a kind that is not forecast, and where the costs were not
    measured."""
    config, split = PipelineConfig.from_json(run.config), run.split
    costs = costs_of(config)
    if run.kind == RunKind.EMBEDDING:
        return of_embedding(Image.objects.filter(dataset__in=run.datasets.all()), config)
    if costs is None or split is None or run.kind not in forecast.KINDS:
        return None
    if run.kind == RunKind.FIT_ALIGNMENT:
        return _of_alignment(split, config, costs)
    if run.kind == RunKind.FIT_DETECTOR:
        return forecast.forecast(RunKind.FIT_DETECTOR, config, _size(split, FITTING), costs)
    if run.detector is not None:
        return of_score(run.detector, config, parts=run.parts, datasets=run.datasets.all())
    # of a detector that is not fitted yet
    datasets = Image.objects.filter(dataset__in=run.datasets.all())
    size = _size(split, run.parts) if run.parts else _size_of_images(datasets)
    fitted = split.members.filter(part=Part.FIT).aggregate(films=Count("images"))
    return forecast.forecast(RunKind.SCORE, config, replace(size, fitted_films=fitted["films"]), costs)


def megapixels_of(images: QuerySet[Image]) -> float:
    """The films' average number of pixels, in millions; 0 without a film."""
    area = images.aggregate(area=Avg(F("rows") * F("columns"), output_field=FloatField()))["area"]
    return (area or 0) / 1e6


def _of_alignment(split: Split, config: PipelineConfig, costs: UnitCosts) -> Forecast:
    part = Part.ALIGN if split.members.filter(part=Part.ALIGN).exists() else Part.FIT
    return forecast.forecast(RunKind.FIT_ALIGNMENT, config, _size(split, [part]), costs)


def costs_of(config: PipelineConfig) -> UnitCosts | None:
    """The costs measured for these settings on the device that a worker would use."""
    device = config.device if config.device != "auto" else settings.RUN_DEVICE
    path = paths.weights_folder().parent / unit_costs.NAME
    devices = ("cuda", "cpu") if device == "auto" else (device,)
    kept = (unit_costs.stored(config.replace(device=name), path) for name in devices)
    return next((costs for costs in kept if costs is not None), None)


def require_room(made: Forecast | None, config: PipelineConfig) -> None:
    """Raises RunRefused where the run would need more memory or disk than there is. Where machines have data folders of
    their own, this is not the one that matters: the engine asks where the run is executed."""
    if made is None or settings.RUNS_IN_BUCKET:
        return
    try:
        forecast.require_room(made, config, folder=settings.DATA_DIR)
    except CannotFit as refusal:
        raise RunRefused(str(refusal)) from refusal


def _size(split: Split, parts: Sequence[str]) -> RunSize:
    members = split.members.filter(part__in=parts)
    counts = members.values_list("part").annotate(films=Count("images")).order_by("part")
    images = Image.objects.filter(split_images__member__split=split, split_images__member__part__in=parts)
    return RunSize({part: films for part, films in counts if films}, megapixels=megapixels_of(images))


def _size_of_images(images: QuerySet[Image]) -> RunSize:
    return RunSize({"": images.count()}, megapixels=megapixels_of(images))
