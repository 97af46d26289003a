"""A scored run -> a worklist: films at or above a threshold, and a share of the others mixed in.

The threshold is fixed on calibrate or on tune, never on test. Each film keeps its sampling probability: without it,
films that were read because they were flagged would be a biased sample of all films.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.utils import timezone

from analysis import statistics
from analysis.evaluation.analysis_plan import why_sealed
from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.looks import CannotEvaluate, look, scored_test
from analysis.evaluation.score_kinds import FIELDS, calibration_of, nested_tune_scores, require_head
from analysis.evaluation.thresholds import (
    KINDS,
    ReferenceScores,
    promise_words,
    why_too_few,
)
from analysis.models import FlaggedBy, Reading, ScoreKind, StudyDesign, TestLook, Worklist, WorklistItem, WorklistReader
from analysis.reading import reader_studies
from analysis.reading.assignments import AssignmentRefused, assign, require_reader
from ml_engine.core.score.conformal import PromisedRate
from ml_engine.models import Run, RunKind, RunState, Score
from portal.labels.events import labels_at
from portal.models import Dataset, Image, LabelValue, Part, SplitImage, User
from portal.people import audit, blinding
from portal.people.access import require
from portal.people.exposure import WASHOUT_DAYS
from portal.people.retired import why_retired
from portal.sets.approvals import why_ended

POINTS = {
    "calibrate specificity": "Specificity on calibrate",
    "tune specificity": "Specificity on tune",
    "tune sensitivity": "Sensitivity on tune",
}
UNFLAGGED_SHARE = 0.2
DEFAULT_SPECIFICITY = 0.9
MOST_DAYS = 3650
_BATCH = 1000
_LARGEST_SEED = 2**31 - 1


class WorklistRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class WorklistThreshold:
    """A threshold for the `value` of `target` (sensitivity, specificity), fixed on `films` films of `patients` patients
    of `part`; `promised` and `promise` are what it promises for new films, as in `OperatingResult`."""

    part: str
    target: str
    value: float
    threshold: float
    films: int
    patients: int
    promised: PromisedRate | None
    promise: str

    def describe(self) -> str:
        return f"{self.target} {self.value:g} on {self.films} {KINDS[self.target]} films of {self.part}"

    def to_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "target": self.target,
            "value": self.value,
            "films": self.films,
            "patients": self.patients,
            "promised": asdict(self.promised) if self.promised else None,
            "promise": self.promise,
            "words": self.describe(),
        }


@dataclass(frozen=True, kw_only=True)
class WorklistRequest:
    """`point` is a key of POINTS and `value` its target, a share. `parts` are parts of the detector's split, empty for
    all films that the run scored; `most` is the maximum number of films, None for no limit. A `design` makes it a
    reader study, which is blinded and has one film per patient. `readers` are those to whom it is assigned; empty for
    every reader of the site."""

    run: Run
    name: str
    author: User
    point: str = "calibrate specificity"
    value: float = 0.9
    score: str = ScoreKind.ONE_CLASS
    parts: Sequence[str] = ()
    unflagged_share: float = UNFLAGGED_SHARE
    most: int | None = None
    blinded: bool = False
    seed: int = 0
    days_to_read: int = 28
    washout_days: int = WASHOUT_DAYS
    design: str = ""
    repeat_share: float | None = None  # None: the default of a reader study; a worklist without a design has no repeats
    readers: Sequence[User] = ()


def make_worklist(request: WorklistRequest) -> Worklist:
    """Draw the films and save the worklist; the first of a run with films of test is a look. Raises WorklistRefused,
    and PermissionDenied while the author has yet to read one of the scored films blinded."""
    require(request.author, "make worklists", request.run.site)
    _check(request)
    # which films are drawn, and how many, tells on which side of any threshold a film is
    films = Image.objects.filter(scores__run=request.run)
    blinding.refuse_file(request.author, films, what=f"The run {request.run.name}")
    assert request.run.detector is not None  # `_check`
    split, discloses_test = request.run.detector.split, _discloses_test(request)
    if discloses_test and (sealed := why_sealed(split)):
        raise WorklistRefused(f"{sealed} Until then choose other parts for the worklist.")
    point = operating_point(request.run, point=request.point, value=request.value, score=request.score)
    flagged_by = _flagged_by(request, point)
    scores, left_out = _scores(request.run, request.parts, request.score)
    generator = np.random.Generator(np.random.PCG64(request.seed))
    chances: dict[int, float] = {}
    if request.design:
        everything = len(scores)
        scores, chances = reader_studies.one_film_a_patient(scores, generator)
        if len(scores) < everything:
            left_out["further films of a patient"] = everything - len(scores)
    flagged = [image for image, score in scores if score >= point.threshold]
    unflagged = [image for image, score in scores if score < point.threshold]
    take_flagged, take_unflagged = _shares(request, len(flagged), len(unflagged), point)
    drawn = [
        *_draw(flagged, take_flagged, generator, flagged=True),
        *_draw(unflagged, take_unflagged, generator, flagged=False),
    ]
    drawn = [(image, flag, probability * chances.get(image, 1.0)) for image, flag, probability in drawn]
    drawn = [drawn[index] for index in generator.permutation(len(drawn))]
    repeats = reader_studies.draw_repeats(len(drawn), _repeat_share(request), generator)
    counts: dict[str, Any] = {
        "flagged": {"films": len(flagged), "drawn": take_flagged},
        "unflagged": {"films": len(unflagged), "drawn": take_unflagged},
        "left_out": left_out,
        **({"repeats": len(repeats)} if request.design else {}),
    }
    try:
        with transaction.atomic():
            worklist = Worklist.objects.create(
                run=request.run,
                name=request.name.strip(),
                operating_point=point.to_json(),
                score=request.score,
                threshold=point.threshold,
                parts=[part for part in Part.values if part in request.parts],
                unflagged_share=request.unflagged_share,
                most=request.most,
                blinded=request.blinded or bool(request.design),
                design=request.design,
                repeat_share=_repeat_share(request),
                days_to_read=request.days_to_read,
                washout_days=request.washout_days,
                seed=request.seed,
                counts=counts,
                created_by=request.author,
            )
            _save_items(worklist, drawn, repeats, flagged_by)
            if discloses_test:
                look(split=split, author=request.author, reason=f"worklist {worklist.name}"[:200], run=request.run)
            audit.record(
                verb="make worklist",
                site=request.run.site,
                actor=request.author,
                target=worklist,
                after={
                    "operating_point": worklist.operating_point,
                    "seed": worklist.seed,
                    "counts": counts,
                    **({"design": worklist.design} if worklist.design else {}),
                },
            )
            if request.readers:
                assign(worklist=worklist, readers=request.readers, author=request.author)
    except (AssignmentRefused, CannotEvaluate) as refusal:
        raise WorklistRefused(str(refusal)) from refusal
    except IntegrityError as error:
        raise WorklistRefused(
            f"The run {request.run.name!r} has a worklist {request.name.strip()!r} already; choose another name."
        ) from error
    return worklist


def _discloses_test(request: WorklistRequest) -> bool:
    """Whether films of test are drawn, and nobody has looked at the run's results there: which of them are flagged, and
    how many, is one."""
    of_test = (not request.parts or Part.TEST in request.parts) and scored_test(request.run)
    return of_test and not TestLook.objects.filter(run=request.run).exists()


def _check(request: WorklistRequest) -> None:
    run = request.run
    if run.kind != RunKind.SCORE or run.state != RunState.DONE or run.detector is None:
        raise WorklistRefused(f"The run {run.name!r} has no scores; choose a scoring run that is done.")
    if not request.name.strip() or len(request.name.strip()) > 100:
        raise WorklistRefused("Enter a name of 1 to 100 characters for the worklist.")
    if "\0" in request.name:
        raise WorklistRefused("The name contains a NUL character; remove it.")
    unknown = sorted(set(request.parts) - set(Part.values))
    if unknown:
        raise WorklistRefused(f"There is no part {unknown[0]!r}: the parts are {', '.join(Part.values)}.")
    if not 0 <= request.unflagged_share <= 0.9:
        raise WorklistRefused(
            f"The share of unflagged films is {request.unflagged_share:g}; enter a number from 0 to 0.9, such as 0.2."
        )
    if request.most is not None and request.most < 2:
        raise WorklistRefused(f"The worklist is limited to {request.most} films; allow at least 2.")
    for words, days, least in (("time to read", request.days_to_read, 1), ("washout", request.washout_days, 0)):
        if not least <= days <= MOST_DAYS:
            raise WorklistRefused(f"The {words} is {days} days; enter a whole number from {least} to {MOST_DAYS}.")
    if not 0 <= request.seed <= _LARGEST_SEED:
        raise WorklistRefused(f"The seed is {request.seed}; enter a whole number from 0 to {_LARGEST_SEED}.")
    scored = Image.objects.filter(scores__run=run).values("dataset")
    why = why_retired([run]) or why_ended(Dataset.objects.filter(pk__in=scored).select_related("site"))
    if why:
        raise WorklistRefused(why)
    _check_design(request)


def _check_design(request: WorklistRequest) -> None:
    if not request.design:
        if request.repeat_share:
            raise WorklistRefused("Only a reader study repeats films; choose a design, or leave the repeats out.")
        return
    if request.design not in StudyDesign.values:
        raise WorklistRefused(f"There is no design {request.design!r}: the designs are {', '.join(StudyDesign)}.")
    if not 0 <= _repeat_share(request) <= 1:
        raise WorklistRefused(
            f"The share of repeated films is {request.repeat_share:g}; enter a number from 0 to 1, such as 0.05."
        )
    if request.design == StudyDesign.CROSSOVER and request.washout_days < 1:
        raise WorklistRefused("A crossover study needs a washout of at least one day between its two sessions.")


def _repeat_share(request: WorklistRequest) -> float:
    if request.repeat_share is None:
        return reader_studies.REPEAT_SHARE if request.design else 0.0
    return request.repeat_share


def operating_point(run: Run, *, point: str, value: float, score: str = ScoreKind.ONE_CLASS) -> WorklistThreshold:
    """The threshold for `value`, fixed on calibrate or tune. Raises WorklistRefused."""
    try:
        require_head(run, score)
    except CannotEvaluate as error:
        raise WorklistRefused(str(error)) from error
    if point not in POINTS:
        raise WorklistRefused(f"There is no operating point {point!r}; choose one of {', '.join(POINTS)}.")
    if not 0 < value < 1:
        raise WorklistRefused(f"The {point.split()[1]} is {value:g}; enter a number between 0 and 1.")
    part, target = point.split()
    reference = _calibration_scores(run, score) if part == Part.CALIBRATE else _tune_scores(run, target, score)
    if too_few := why_too_few(reference, rule=target, target=value):
        raise WorklistRefused(too_few)
    scores, patients = reference.scores, reference.patients
    if target == "sensitivity":
        threshold = statistics.threshold_at_sensitivity(scores, sensitivity=value, patients=patients)
    else:
        threshold = statistics.threshold_at_specificity(scores, specificity=value, patients=patients)
    if threshold is None:
        raise WorklistRefused(
            f"The run {run.name!r} has no score of a {KINDS[target]} film of {part}, so no threshold can be fixed "
            "there; choose another operating point, or score that part too."
        )
    return WorklistThreshold(
        part=part,
        target=target,
        value=value,
        threshold=threshold,
        films=reference.films,
        patients=reference.patients_count,
        promised=reference.promised(target, value),
        promise=promise_words(reference, rule=target, target=value),
    )


def promise_on_calibrate(run: Run, *, value: float = DEFAULT_SPECIFICITY) -> str:
    """What a specificity fixed on calibrate promises for this run, or why it cannot be fixed, as a sentence."""
    try:
        return operating_point(run, point="calibrate specificity", value=value).promise
    except WorklistRefused as refusal:
        return str(refusal)


def _calibration_scores(run: Run, score: str) -> ReferenceScores:
    try:
        return calibration_of(run, score)
    except CannotEvaluate as error:
        raise WorklistRefused(str(error)) from error


def _tune_scores(run: Run, target: str, kind: str) -> ReferenceScores:
    """Scores of the normal tune films (for a sensitivity: the abnormal ones), by labels at the split's cut-off. Of a
    semi-supervised head, those by heads without reads of the film's patient."""
    assert run.detector is not None
    split = run.detector.split
    members = SplitImage.objects.filter(member__split=split, member__part=Part.TUNE)
    rows = Score.objects.filter(run=run, error="", image_id__in=members.values("image_id")).values_list(
        "image_id", "fused_score", "image__patient_id"
    )
    scored = {image: (score, patient) for image, score, patient in rows if score is not None}
    if kind == ScoreKind.COMBINED:
        scored = nested_tune_scores(run)
    value = LabelValue.ABNORMAL if target == "sensitivity" else LabelValue.NORMAL
    labels = labels_at(scored, split.label_cutoff)
    kept = [row for image, row in scored.items() if image in labels and labels[image].value == value]
    return ReferenceScores(
        np.array([score for score, _ in kept], dtype=np.float64),
        Part.TUNE,
        np.array([patient for _, patient in kept], dtype=np.int64),
    )


def _flagged_by(request: WorklistRequest, point: WorklistThreshold) -> dict[int, str]:
    """Which score reaches the operating point, the same for both, by primary key of the film; empty for a worklist of
    the one-class score."""
    if request.score == ScoreKind.ONE_CLASS:
        return {}
    alone = operating_point(request.run, point=request.point, value=request.value)
    calls: dict[int, str] = {}
    rows = Score.objects.filter(run=request.run, error="").values_list("image_id", "fused_score", "combined_score")
    for image, fused, combined in rows:
        by = (fused is not None and fused >= alone.threshold, combined is not None and combined >= point.threshold)
        calls[image] = {
            (True, True): FlaggedBy.BOTH.value,
            (True, False): FlaggedBy.ONE_CLASS.value,
            (False, True): FlaggedBy.COMBINED.value,
        }.get(by, "")
    return calls


def _scores(run: Run, parts: Sequence[str], kind: str) -> tuple[list[tuple[int, float]], dict[str, int]]:
    """(image id, score of the kind) of the films to draw from, by id; and the number of films left out, by reason."""
    assert run.detector is not None
    rows = Score.objects.filter(run=run).order_by("image_id")
    left_out: Counter[str] = Counter()
    if parts:
        members = SplitImage.objects.filter(member__split=run.detector.split, member__part__in=parts)
        inside = rows.filter(image_id__in=members.values("image_id"))
        left_out["in another part"] = rows.count() - inside.count()
        rows = inside
    left_out["unreadable"] = rows.exclude(error="").count()
    scores = [
        (image, score)
        for image, score in rows.filter(error="").values_list("image_id", FIELDS[ScoreKind(kind)])
        if score is not None
    ]
    return scores, {reason: films for reason, films in left_out.items() if films}


def _shares(request: WorklistRequest, flagged: int, unflagged: int, point: WorklistThreshold) -> tuple[int, int]:
    """The numbers of flagged and of unflagged films to draw."""
    if not flagged:
        raise WorklistRefused(
            f"No film of {request.run.name!r} reaches the threshold {point.threshold:.4g} ({point.describe()}); "
            "choose an operating point that flags more."
        )
    share = request.unflagged_share
    take = flagged
    if request.most is not None:
        take = min(flagged, max(1, round(request.most * (1 - share))))
    wanted = round(take * share / (1 - share))
    if share:
        wanted = max(1, wanted)
    return take, min(wanted, unflagged)


def _draw(
    images: list[int], count: int, generator: np.random.Generator, *, flagged: bool
) -> list[tuple[int, bool, float]]:
    """(image id, flagged, sampling probability): a simple random sample, each film with the same probability."""
    if not count:
        return []
    chosen = generator.choice(len(images), size=count, replace=False)
    return [(images[index], flagged, count / len(images)) for index in chosen]


def _save_items(
    worklist: Worklist,
    drawn: list[tuple[int, bool, float]],
    repeats: Sequence[int],
    flagged_by: Mapping[int, str],
) -> None:
    """`repeats` are indices of the films that are shown a second time."""
    showings = [(film, 0) for film in drawn] + [(drawn[index], 1) for index in repeats]
    WorklistItem.objects.bulk_create(
        [
            WorklistItem(
                worklist=worklist,
                image_id=image,
                repeat=repeat,
                position=position,
                flagged=flagged,
                flagged_by=flagged_by.get(image, ""),
                sampling_probability=probability,
            )
            for position, ((image, flagged, probability), repeat) in enumerate(showings)
        ],
        batch_size=_BATCH,
    )


def begin(*, worklist: Worklist, reader: User) -> WorklistReader:
    """Begin to read the worklist, or continue after handing it back or after its expiry: from now on, what is said
    about the unread films of a blinded worklist is withheld from the reader. Raises WorklistRefused."""
    require_reader(worklist, reader)
    if why := why_retired([worklist]):
        raise WorklistRefused(why)
    content = f"{worklist.uuid} {worklist.seed} {reader.uuid}".encode()
    seed = int.from_bytes(blake2b(content, digest_size=4).digest()) & _LARGEST_SEED
    with transaction.atomic():
        if worklist.design == StudyDesign.CROSSOVER:  # two who begin at once must not get the same order of sessions
            Worklist.objects.select_for_update(no_key=True).get(pk=worklist.pk)
        first = reader_studies.first_stage_of(worklist, seed) if worklist.design == StudyDesign.CROSSOVER else ""
        WorklistReader.objects.get_or_create(
            worklist=worklist, reader=reader, defaults={"seed": seed, "first_stage": first}
        )
        begun = WorklistReader.objects.select_for_update().get(worklist=worklist, reader=reader)
        if is_reading(begun):
            return begun
        begun.worklist = worklist
        left = unread(begun)
        if worklist.design:
            _check_may_be_revealed(worklist, reader, left)
        days = reader_studies.days_until_expiry(worklist)
        begun.expires_at = timezone.now() + timedelta(days=days)
        begun.handed_back_at = None
        begun.save(update_fields=["expires_at", "handed_back_at"])
        if worklist.blinded:
            blinding.open_for(
                person=reader,
                images={item.image_id: item.image for item in left}.values(),
                source=worklist.uuid,
                words=f"the worklist {worklist.name}",
                days=days,
            )
        audit.record(
            verb="begin worklist",
            site=worklist.run.site,
            actor=reader,
            target=worklist,
            after={"seed": begun.seed, "expires_at": begun.expires_at.isoformat()},
        )
    return begun


def _check_may_be_revealed(worklist: Worklist, reader: User, items: Sequence[WorklistItem]) -> None:
    """Raises WorklistRefused if the study would show the reader scores that are hidden from them elsewhere."""
    films = {str(item.image.uuid) for item in items}
    hidden = {film for part in Part.values for film in hidden_films(reader, worklist.run, part=part)} & films
    if hidden:
        which = "The score of 1 film of this study is" if len(hidden) == 1 else f"The scores of {len(hidden)} films are"
        raise WorklistRefused(
            f"{which} hidden from you, because you still label the film or read films of the patient blinded "
            "elsewhere, and this study shows you scores. Do that first, or leave the study to another reader."
        )


def begun_by(worklist: Worklist, reader: User) -> WorklistReader | None:
    """The reader's entry for this worklist, if they are reading it now."""
    begun = WorklistReader.objects.filter(worklist=worklist, reader=reader).first()
    return begun if begun is not None and is_reading(begun) else None


def is_reading(begun: WorklistReader) -> bool:
    """Whether the list is neither handed back nor expired; its films may all be read."""
    expires = begun.expires_at
    return expires is not None and expires > timezone.now() and begun.handed_back_at is None


def why_reading_is_over(begun: WorklistReader) -> str:
    """Why a reading of this list is not stored now, as a sentence; blank while its reader reads it. What is said about
    its films is not withheld from them any longer."""
    if is_reading(begun):
        return ""
    if begun.handed_back_at is not None:
        how = f"You handed this worklist back on {begun.handed_back_at:%Y-%m-%d}"
    elif begun.expires_at is not None:
        how = f"Your time to read this worklist ended on {begun.expires_at:%Y-%m-%d}"
    else:  # begun before lists expired
        how = "You have not begun this worklist since an upgrade"
    return f"{how}, so the reading is not stored. Begin the worklist again on its page, then save the reading again."


def hand_back(*, worklist: Worklist, reader: User) -> int:
    """Stop reading. Readings made so far stay; the number of films left unread is returned. Raises WorklistRefused."""
    with transaction.atomic():
        begun = WorklistReader.objects.select_for_update().filter(worklist=worklist, reader=reader).first()
        if begun is None or not is_reading(begun):
            raise WorklistRefused("You are not reading this worklist, so there is nothing to hand back.")
        left = len(unread(begun))
        begun.handed_back_at = timezone.now()
        begun.save(update_fields=["handed_back_at"])
        blinding.hand_back(person=reader, source=worklist.uuid)
        audit.record(
            verb="hand back worklist", site=worklist.run.site, actor=reader, target=worklist, after={"unread": left}
        )
    return left


def unread(begun: WorklistReader) -> list[WorklistItem]:
    """The items without a reading of this reader; in a reader study, without one in each of their stages."""
    if begun.worklist.design:
        return reader_studies.unread_items(begun)
    read = Reading.objects.filter(item__worklist_id=begun.worklist_id, reader_id=begun.reader_id).values("item_id")
    items = WorklistItem.objects.filter(worklist_id=begun.worklist_id).exclude(pk__in=read)
    return list(items.select_related("image"))


def in_order(begun: WorklistReader) -> list[WorklistItem]:
    """The items in this reader's order."""
    items = list(WorklistItem.objects.filter(worklist_id=begun.worklist_id).select_related("image"))
    generator = np.random.Generator(np.random.PCG64(begun.seed))
    return [items[index] for index in generator.permutation(len(items))]
