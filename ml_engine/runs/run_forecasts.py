"""What a requested run will take on this machine, from its films in the database and the costs measured here."""

from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db.models import Avg, Count, F, FloatField, QuerySet

from ml_engine.core.config import PipelineConfig
from ml_engine.engine import forecast, unit_costs
from ml_engine.engine.forecast import CannotFit, Forecast, RunSize
from ml_engine.engine.unit_costs import UnitCosts
from ml_engine.models import DetectorModel, RunKind
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
    """Raises RunRefused where the run would need more memory or disk than there is."""
    if made is None:
        return
    try:
        forecast.require_room(made, config, folder=settings.DATA_DIR)
    except CannotFit as refusal:
        raise RunRefused(str(refusal)) from refusal


def _size(split: Split, parts: Sequence[str]) -> RunSize:
    members = split.members.filter(part__in=parts)
    counts = members.values_list("part").annotate(films=Count("images")).order_by("part")
    images = Image.objects.filter(split_images__member__split=split, split_images__member__part__in=parts)
    return RunSize({part: films for part, films in counts if films}, megapixels=_megapixels(images))


def _size_of_images(images: QuerySet[Image]) -> RunSize:
    return RunSize({"": images.count()}, megapixels=_megapixels(images))


def _megapixels(images: QuerySet[Image]) -> float:
    area = images.aggregate(area=Avg(F("rows") * F("columns"), output_field=FloatField()))["area"]
    return (area or 0) / 1e6
