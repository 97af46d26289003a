"""Request a semi-supervised head: the pool of a scored run, with what people said of its films."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import transaction

from ml_engine.core.errors import EngineError
from ml_engine.core.head.limits import LEAST_ABNORMAL
from ml_engine.engine.study_plans import HeadPlan, draw_films
from ml_engine.models import DetectorModel, HeadRead, ReadSource, Run, RunKind, RunState, Score
from ml_engine.runs.confirmed_reads import READINGS, SOURCES, ConfirmedRead, reads_of
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import RunRequest, check_films, check_request, queue
from portal.models import Image, Part, Split, SplitMember
from portal.people import blinding
from portal.sets.film_copies import FilmCopies

MOST_UNREAD = 1000  # films that nobody read, drawn by patient: the control compares at most 400
HELD_OUT = (Part.CALIBRATE, Part.TEST)
_BATCH = 1000


@dataclass(frozen=True)
class Pool:
    """Primary keys of the scored films that may train, with their patients; and how many films may not, by reason."""

    patients: dict[int, int]
    refused: dict[int, str]  # film -> reason


def request_head(request: RunRequest, *, scored: Run, plan: HeadPlan, sources: Collection[str] = (READINGS,)) -> Run:
    """Fit a head beside the detector of `scored`, on the films that it scored and people read. The reads are those of
    now. Raises RunRefused, and PermissionDenied while the person has yet to read one of the films blinded."""
    detector = scored.detector
    if scored.kind != RunKind.SCORE or scored.state != RunState.DONE or detector is None:
        raise RunRefused(f"“{scored.name}” has no scores: choose a scoring run that is done.")
    if scored.grown_with.exists():
        raise RunRefused(f"“{scored.name}” scored with a grown bank: choose a run of the detector as it was fitted.")
    check_request(request, split=detector.split)
    if scored.site_id != request.site.pk:
        raise RunRefused("This run belongs to another site; choose one of this site.")
    if request.requested_by is not None:  # the refusals and the run's page count verdicts
        films = Image.objects.filter(scores__run=scored)
        blinding.refuse_file(request.requested_by, films, what=f"The run {scored.name}")
    unknown = sorted(set(sources) - set(SOURCES))
    if unknown:
        raise RunRefused(f"There is no source “{unknown[0]}” of reads: choose from {', '.join(SOURCES)}.")
    if not sources:
        raise RunRefused("No source of reads is chosen: choose verdicts of worklists, labels of curators, or both.")
    _check_alignment(detector)
    check_films(detector.split, [Part.FIT], why="its normal films are the known normals")
    pool = pool_of(scored, detector.split)
    reads, left_out = _usable_reads(scored, pool, sources)
    _require_confirmed(reads, left_out)
    unread = _draw_unread(pool, reads, seed=int(detector.config.get("seed", 0)))
    with transaction.atomic():
        run = queue(
            request,
            kind=RunKind.FIT_HEAD,
            split=detector.split,
            detector=detector,
            scored=scored,
            config=detector.config,
            asked={"head": plan.to_json(), "reads": {"sources": sorted(sources), "left_out": left_out}},
            seed=detector.config.get("seed", 0),
            random_weights=detector.random_weights,
        )
        HeadRead.objects.bulk_create([*_rows(run, reads), *_unread_rows(run, unread)], batch_size=_BATCH)
    return run


def _check_alignment(detector: DetectorModel) -> None:
    alignment = detector.config.get("alignment") or {}
    if detector.config.get("align") == "network" and alignment.get("method") == "landmarks":
        raise RunRefused(
            f"The detector “{detector.run.name}” aligns films by landmarks, which read films do not have: choose a run "
            "of a detector with another alignment."
        )


def pool_of(scored: Run, split: Split) -> Pool:
    """The scored films: of tune of the split, or outside every split; the others are refused, and so are their copies.
    Patients who share a film with one who is held out are held out too."""
    scores = Score.objects.filter(run=scored, error="")
    rows = list(scores.values_list("image_id", "image__patient_id", "image__pixel_sha256"))
    copies = FilmCopies(scored.site)
    part_of = dict(split.members.values_list("patient_id", "part"))
    held_out = {copies.person(patient): part for patient, part in part_of.items() if part in HELD_OUT}
    members = SplitMember.objects.filter(split__site_id=scored.site_id, split__frozen_at__isnull=False)
    elsewhere = {copies.person(pk) for pk in members.filter(part__in=HELD_OUT).values_list("patient_id", flat=True)}
    fitted = Image.objects.filter(
        split_images__member__split=split, split_images__member__part__in=[Part.FIT, Part.ALIGN]
    )
    known_normals = {copies.film(pixels) for pixels in fitted.values_list("pixel_sha256", flat=True)}
    patients: dict[int, int] = {}
    refused: dict[int, str] = {}
    for image, patient, pixels in rows:
        person = copies.person(patient)
        if person in held_out:
            refused[image] = f"of patients in {held_out[person]} of the detector’s split, which stay held out"
        elif part_of.get(patient) != Part.TUNE and person in elsewhere:
            refused[image] = "of patients in calibrate or test of another split"
        elif copies.film(pixels) in known_normals:
            refused[image] = "known normals, which the detector was fitted on"
        else:
            patients[image] = patient
    return Pool(patients, refused)


def _usable_reads(scored: Run, pool: Pool, sources: Collection[str]) -> tuple[list[ConfirmedRead], dict[str, int]]:
    """The reads that may train, and the number of the others, by reason."""
    gathered = reads_of(scored, sources)
    left_out: Counter[str] = Counter(gathered.left_out)
    reads = []
    for read in gathered.reads:
        if read.image in pool.patients:
            reads.append(read)
        elif read.image in pool.refused:
            left_out[pool.refused[read.image]] += 1
    return reads, dict(left_out)


def _require_confirmed(reads: Sequence[ConfirmedRead], left_out: dict[str, int]) -> None:
    verdicts = Counter(read.verdict for read in reads)
    if verdicts["abnormal"] >= LEAST_ABNORMAL:
        return
    others = "; ".join(f"{films} {reason}" for reason, films in left_out.items())
    raise RunRefused(
        f"The reads hold {verdicts['abnormal']} films confirmed as abnormal and {verdicts['normal']} as normal, and a "
        f"semi-supervised head needs at least {LEAST_ABNORMAL} abnormal ones: read more films first."
        + (f" Left out: {others}." if others else "")
    )


def _draw_unread(pool: Pool, reads: Sequence[ConfirmedRead], *, seed: int) -> list[int]:
    """At most `MOST_UNREAD` films of the pool that nobody read: whole patients in a drawn order."""
    read = {each.image for each in reads}
    unread = sorted(image for image in pool.patients if image not in read)
    if len(unread) <= MOST_UNREAD:
        return unread
    chosen = draw_films([str(pool.patients[image]) for image in unread], MOST_UNREAD, (seed, 19))
    return [unread[k] for k in chosen.tolist()]


def _rows(run: Run, reads: Sequence[ConfirmedRead]) -> list[HeadRead]:
    return [
        HeadRead(
            run=run,
            image_id=read.image,
            verdict=read.verdict,
            source=read.source,
            weight=read.weight,
            model_shown=read.model_shown,
        )
        for read in sorted(reads, key=lambda read: read.image)
    ]


def _unread_rows(run: Run, images: Sequence[int]) -> list[HeadRead]:
    return [HeadRead(run=run, image_id=image, source=ReadSource.UNREAD) for image in images]


def plan_from(values: dict[str, object]) -> HeadPlan:
    """The plan of a form or an API request. Raises RunRefused."""
    try:
        return HeadPlan.from_json(values)
    except EngineError as problem:
        raise RunRefused(str(problem)) from problem
