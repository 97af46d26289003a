"""Request a bank study or a study of blind spots. Each function is one transaction with its audit event."""

from collections import Counter

from django.db import transaction

from ml_engine.core.backbone.weights import RANDOM
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import EngineError
from ml_engine.engine.study_plans import BankPlan, LesionPlan, check_reachable
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import (
    RunRequest,
    aligned_config,
    check_films,
    check_request,
    check_weights,
    fit_report_of,
    queue,
    request_alignment,
)
from portal.labels.events import labels_at
from portal.models import LabelValue, Part, Split, SplitImage


def request_bank_study(
    request: RunRequest,
    *,
    split: Split,
    config: PipelineConfig,
    planned: BankPlan,
    alignment: AlignmentModel | None = None,
    after: Run | None = None,
) -> Run:
    """Score the test part with banks of fewer normal films and with some abnormal ones: with `alignment`, with the
    alignment that the run `after` will make, or with none. Raises RunRefused."""
    check_request(request, split=split)
    check_films(split, [Part.FIT], why="the banks are made of its normal films")
    check_films(split, [Part.CALIBRATE], why="its normal films standardise the maps and fix the threshold")
    check_films(split, [Part.TEST], why="the banks are compared on its films")
    if config.detector != "patchcore":
        raise RunRefused(f"The detector is {config.detector}, which has no memory bank: choose patchcore.")
    check_weights(config)
    films = count_films(split)
    try:
        check_reachable(
            planned,
            normals=films[Part.FIT, LabelValue.NORMAL],
            abnormals=films[Part.TUNE, LabelValue.ABNORMAL],
        )
    except EngineError as problem:
        raise RunRefused(str(problem)) from problem
    config = aligned_config(config, split, alignment, after)
    return queue(
        request,
        kind=RunKind.BANK_STUDY,
        split=split,
        alignment=alignment,
        after=after if alignment is None else None,
        config=config.to_json(),
        asked={"bank": planned.to_json()},
        seed=config.seed,
        random_weights=config.weights == RANDOM,
    )


@transaction.atomic
def request_aligned_bank_study(request: RunRequest, *, split: Split, config: PipelineConfig, planned: BankPlan) -> Run:
    """Fit an alignment on the split, then run a bank study with it. Returns the study's run. Raises RunRefused."""
    first = RunRequest(
        site=request.site, name=f"{request.name[:88]}: alignment", requested_by=request.requested_by, tags=request.tags
    )
    alignment = request_alignment(first, split=split, config=config)
    return request_bank_study(request, split=split, config=config, planned=planned, after=alignment)


def request_blind_spots(request: RunRequest, *, detector: DetectorModel, planned: LesionPlan) -> Run:
    """Paste lesions into held-out normal films of the detector's split and score them. Raises RunRefused."""
    check_request(request, split=detector.split)
    normals = count_films(detector.split)[planned.part, LabelValue.NORMAL]
    if not normals:
        raise RunRefused(
            f"The split “{detector.split.name}” has no normal film in part {planned.part}: lesions are pasted into "
            "held-out normal films. Choose another part or detector."
        )
    threshold = fit_report_of(detector).threshold
    if threshold is not None and threshold.value is None:
        raise RunRefused(
            f"The detector “{detector.run.name}” has no threshold, so no lesion can count as detected. {threshold.note}"
        )
    return queue(
        request,
        kind=RunKind.BLIND_SPOTS,
        split=detector.split,
        detector=detector,
        parts=[planned.part],
        config=detector.config,
        asked={"lesions": planned.to_json()},
        seed=detector.config.get("seed", 0),
        random_weights=detector.random_weights,
    )


def count_films(split: Split) -> Counter[tuple[str, str]]:
    """The number of films by (part, label), with the labels at the split's cut-off."""
    part_of = dict(SplitImage.objects.filter(member__split=split).values_list("image_id", "member__part"))
    labels = labels_at(part_of, split.label_cutoff)
    return Counter((part_of[image], str(label.value)) for image, label in labels.items() if label is not None)
