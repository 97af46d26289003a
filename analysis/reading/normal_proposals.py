"""Flagged films that readers dismissed -> a proposal for the next version of the normal set.

Before the decision, a run scores the same films with the memory bank grown by the proposed films, and the page lists
the alarms that vanish and the true positives that would be lost. Acceptance freezes a cohort; it changes no detector
and no split.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone

from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.looks import CannotEvaluate, look, scored_test
from analysis.models import NormalDecision, NormalProposal, Reading, Reason, ScoreKind, Stage, Verdict, Worklist
from analysis.reading.worklists import WorklistRefused, operating_point
from ml_engine.models import RunState, Score
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import MOST_GROWN, RunRequest, check_may_join, films_held_elsewhere, request_grown_score
from portal.labels.events import labels_at
from portal.models import Cohort, Image, LabelValue, Part, SplitImage, User
from portal.people import audit
from portal.people.access import may, require
from portal.people.blinding import without_withheld
from portal.sets.cohorts import ADDED_BY_SCORE, InvalidCohort, freeze_cohort, images_of

DISMISSED = (Reason.NORMAL_VARIANT, Reason.DEVICE, Reason.POSITIONING)
WORDS = "normal variant, device or positioning"


class ProposalRefused(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class Crossing:
    """A film that crosses the threshold when the memory bank grows."""

    image: Image
    label: str  # at the proposal's cut-off; "unlabelled" without one
    before: float
    after: float
    is_proposed: bool


@dataclass(frozen=True)
class ProposalEffect:
    """Before and after the bank grows. Films are flagged at or above a threshold that the same rule fixes on each run's
    scores."""

    threshold_before: float
    threshold_after: float
    films: int
    flagged_before: int
    flagged_after: int
    vanished: list[Crossing] = field(default_factory=list)  # flagged before, and labelled normal
    lost: list[Crossing] = field(default_factory=list)  # flagged before, and labelled abnormal: true positives
    unflagged: list[Crossing] = field(default_factory=list)  # flagged before, without a label that counts
    appeared: list[Crossing] = field(default_factory=list)  # flagged only with the grown bank
    hidden: Counter[str] = field(default_factory=Counter)  # crossings that the person may not see yet, by list


def propose(*, worklist: Worklist, author: User, readings: Sequence[Reading] | None = None) -> NormalProposal:
    """Propose the flagged films that all of their readers called normal because of a normal variant, a device or the
    positioning: the films of `readings`, or of the whole worklist. Queues the run. Raises ProposalRefused."""
    site = require(author, "propose normals", worklist.run.site)
    films, left_out = _eligible(worklist, readings)
    if not films:
        raise ProposalRefused(_nothing_left(left_out))
    try:
        with transaction.atomic():
            number = worklist.normal_proposals.count() + 1
            name = f"{worklist.name[:70]}: normals {number}"
            run = request_grown_score(
                RunRequest(site=site, name=name, requested_by=author), scored=worklist.run, films=films
            )
            proposal = NormalProposal.objects.create(
                worklist=worklist, run=run, left_out=left_out, label_cutoff=timezone.now(), proposed_by=author
            )
            proposal.films.set(films)
            if scored_test(worklist.run):  # which films of test cross the threshold is a result of the new run there
                assert worklist.run.detector is not None  # `scored_test`
                look(split=worklist.run.detector.split, author=author, reason=f"proposal {name}"[:200], run=run)
            audit.record(
                verb="propose normals",
                site=site,
                actor=author,
                target=proposal,
                after={"films": [str(film.uuid) for film in films], "left_out": left_out, "run": str(run.uuid)},
            )
    except (RunRefused, CannotEvaluate) as refusal:
        raise ProposalRefused(str(refusal)) from refusal
    return proposal


def _nothing_left(left_out: dict[str, int]) -> str:
    why = "; ".join(f"{films} {reason}" for reason, films in left_out.items())
    return (
        f"No film can be proposed{': ' + why if why else ''}. A film is proposed when it was flagged and its readers "
        f"called it normal for a {WORDS}, and when its patient is not in tune, calibrate or test."
    )


def _eligible(worklist: Worklist, readings: Sequence[Reading] | None) -> tuple[list[Image], dict[str, int]]:
    """The films that may be proposed, and the number of the others, by reason."""
    current = (
        Reading.objects.filter(item__worklist=worklist, replaced_by__isnull=True)
        .exclude(stage=Stage.UNAIDED)  # which gives no reason
        .select_related("item", "image__current_label")
    )
    if readings is not None:
        current = current.filter(image__in={reading.image_id for reading in readings})
    by_film: dict[int, list[Reading]] = defaultdict(list)
    for reading in current.order_by("image_id", "pk"):
        by_film[reading.image_id].append(reading)
    split = worklist.run.detector.split if worklist.run.detector else None
    assert split is not None  # a worklist belongs to a scored run
    images = [of_film[0].image for of_film in by_film.values()]
    held = films_held_elsewhere(split, images)
    fitted = set(SplitImage.objects.filter(member__split=split, member__part=Part.FIT).values_list("image", flat=True))
    films: list[Image] = []
    left_out: Counter[str] = Counter()
    for image in images:
        why = _why_not(by_film[image.pk], held=image.pk in held, fitted=image.pk in fitted)
        if why is None and len(films) < MOST_GROWN:
            films.append(image)
        else:
            left_out[why or f"beyond the first {MOST_GROWN}"] += 1
    if readings is None:
        del left_out["not flagged"]
    return films, dict(left_out)


def _why_not(of_film: list[Reading], *, held: bool, fitted: bool) -> str | None:
    item = of_film[0].item
    assert item is not None
    if not item.flagged:
        return "not flagged"
    if any(reading.verdict != Verdict.NORMAL or reading.reason not in DISMISSED for reading in of_film):
        return f"not called normal for a {WORDS} by every reader"
    if getattr(getattr(of_film[0].image, "current_label", None), "value", "") == LabelValue.ABNORMAL:
        return "labelled abnormal: settle the label first"
    if held:
        return "of patients in tune, calibrate or test of the detector's split, where they must stay"
    return "in the normal set already" if fitted else None


def compare(proposal: NormalProposal, *, viewer: User) -> ProposalEffect:
    """The films that cross the threshold, with their labels at the proposal's cut-off. Films whose scores the viewer
    may not see before labelling them are counted but not named. Films that the viewer has yet to read blinded are in no
    list and no count of a list. Raises ProposalRefused until the run is done."""
    worklist = proposal.worklist
    if proposal.run.state != RunState.DONE:
        raise ProposalRefused(
            f"The run “{proposal.run.name}” is not done yet: wait until it is, to see what would change."
        )
    point = worklist.operating_point
    name, value = f"{point['part']} {point['target']}", float(point["value"])
    try:
        after_point = operating_point(proposal.run, point=name, value=value)
        threshold_before = worklist.threshold
        # fixed by the rule of an earlier release, which flagged more films; or for a head, which a bank does not change
        if "patients" not in point or worklist.score != ScoreKind.ONE_CLASS:
            threshold_before = operating_point(worklist.run, point=name, value=value).threshold
    except WorklistRefused as refusal:
        raise ProposalRefused(str(refusal)) from refusal
    before = _scores(worklist.run_id)
    after = _scores(proposal.run_id)
    both = sorted(before.keys() & after.keys())
    was_flagged = {image: before[image] >= threshold_before for image in both}
    is_flagged = {image: after[image] >= after_point.threshold for image in both}
    effect = ProposalEffect(
        threshold_before=threshold_before,
        threshold_after=after_point.threshold,
        films=len(both),
        flagged_before=sum(was_flagged.values()),
        flagged_after=sum(is_flagged.values()),
    )
    crossed = [image for image in both if was_flagged[image] != is_flagged[image]]
    labels = labels_at(crossed, proposal.label_cutoff)
    proposed = set(proposal.films.values_list("pk", flat=True))
    hidden = _hidden(proposal, viewer, crossed)
    shown = without_withheld(Image.objects.filter(pk__in=crossed), viewer)
    for image in shown.select_related("dataset").order_by("pk"):
        label = labels[image.pk].value if image.pk in labels else "unlabelled"
        name = _list_of(label, is_flagged=is_flagged[image.pk])
        if image.pk in hidden:
            effect.hidden[name] += 1
            continue
        crossing = Crossing(image, label, before[image.pk], after[image.pk], image.pk in proposed)
        getattr(effect, name).append(crossing)
    return effect


def _list_of(label: str, *, is_flagged: bool) -> str:
    if is_flagged:
        return "appeared"
    words: dict[str, str] = {LabelValue.NORMAL: "vanished", LabelValue.ABNORMAL: "lost"}
    return words.get(label, "unflagged")


def _scores(run_id: int) -> dict[int, float]:
    rows = Score.objects.filter(run_id=run_id, error="").values_list("image_id", "fused_score")
    return {image: score for image, score in rows if score is not None}


def _hidden(proposal: NormalProposal, viewer: User, crossed: list[int]) -> set[int]:
    """The crossing films whose scores stay hidden from the viewer."""
    run = proposal.run
    if not may(viewer, "see scores", run.site):
        return set(crossed)
    hidden: set[str] = set()
    for part in Part.values:
        hidden |= hidden_films(viewer, run, part=part)
    return set(Image.objects.filter(pk__in=crossed, uuid__in=hidden).values_list("pk", flat=True))


def accept(*, proposal: NormalProposal, author: User, name: str, reason: str = "") -> NormalDecision:
    """Freeze the next version of the cohort `name`: the proposed films and those of its latest version, or those that
    the detector was fitted on if there is none. Raises ProposalRefused."""
    site = require(author, "accept normals", proposal.worklist.run.site)
    _check_open(proposal)
    if proposal.run.state != RunState.DONE:
        raise ProposalRefused(f"The run “{proposal.run.name}” is not done: accept once it shows what would change.")
    films = list(proposal.films.all())
    detector = proposal.run.detector
    assert detector is not None  # constraint run_rescore_is_score
    try:
        check_may_join(detector, films)
        with transaction.atomic():
            latest = Cohort.objects.filter(site=site, name=" ".join(name.split())).order_by("-version").first()
            fitted = Image.objects.filter(
                split_images__member__split=detector.split, split_images__member__part=Part.FIT
            )
            images = {image.pk: image for image in [*(images_of(latest) if latest else fitted), *films]}
            cohort = freeze_cohort(
                site=site,
                name=name,
                images=list(images.values()),
                author=author,
                note=f"{len(films)} films dismissed in the worklist {proposal.worklist.name!r}"[:500],
                filters={
                    "proposal": str(proposal.uuid),
                    ADDED_BY_SCORE: _added_by_score(latest) + [str(film.uuid) for film in films],
                },
            )
            return _decide(proposal, author, accepted=True, reason=reason, cohort=cohort)
    except (InvalidCohort, RunRefused) as refusal:
        raise ProposalRefused(str(refusal)) from refusal


def _added_by_score(latest: Cohort | None) -> list[str]:
    """The films that earlier proposals added to the cohort; films chosen by their score never calibrate."""
    return list(latest.filters.get(ADDED_BY_SCORE, [])) if latest else []


def refuse(*, proposal: NormalProposal, author: User, reason: str) -> NormalDecision:
    """Raises ProposalRefused."""
    require(author, "accept normals", proposal.worklist.run.site)
    _check_open(proposal)
    if not reason.strip():
        raise ProposalRefused(
            "Write why the proposal is refused, so that others know if these films are proposed again."
        )
    return _decide(proposal, author, accepted=False, reason=reason)


def _check_open(proposal: NormalProposal) -> None:
    if NormalDecision.objects.filter(proposal=proposal).exists():
        raise ProposalRefused("This proposal has been decided already; load the page again.")


def _decide(
    proposal: NormalProposal, author: User, *, accepted: bool, reason: str, cohort: Cohort | None = None
) -> NormalDecision:
    words = reason.strip()
    if len(words) > 500 or "\0" in words:
        raise ProposalRefused(f"The reason has {len(words)} characters; write at most 500, without a NUL character.")
    try:
        with transaction.atomic():
            decision = NormalDecision.objects.create(
                proposal=proposal, accepted=accepted, author=author, reason=words, cohort=cohort
            )
            audit.record(
                verb="accept normals" if accepted else "refuse normals",
                site=proposal.worklist.run.site,
                actor=author,
                target=proposal,
                after={"cohort": str(cohort.uuid)} if cohort else None,
                reason=words,
            )
    except IntegrityError as error:
        raise ProposalRefused("This proposal has been decided already; load the page again.") from error
    return decision
