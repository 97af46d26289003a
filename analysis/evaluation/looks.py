"""Looks at the test part of a split: they are counted, audited, and printed on every figure of test films.

A look is the first disclosure of a run's results on test at one setting, by whatever way: an evaluation at a fusion
weight and a cut-off of labels, a worklist, a study, or the archive, which holds the scores at every weight. What was
disclosed before is recorded in the audit and not counted again. Pages of single films disclose nothing by themselves:
they need a look of before.
"""

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from analysis.evaluation.analysis_plan import approval_of, current_plan, is_intact, plan_contents, why_sealed
from analysis.models import Evaluation, TestLook, Worklist
from ml_engine.models import Run
from portal.models import Part, Split, SplitImage, User
from portal.people import audit
from portal.people.access import require
from portal.sets.film_copies import divided_note

ARCHIVE = "run archive downloaded"  # the reason of a look at every fusion weight
_SAME_WEIGHT = 0.005  # scores are stored at hundredths


class CannotEvaluate(Exception):
    """The message is a sentence for the user."""

    status = 400  # HTTP status of the response that shows it


class ResultsGone(CannotEvaluate):
    """The files of the run are no longer in the data folder."""

    status = 410


def look(
    *,
    split: Split,
    author: User,
    reason: str,
    run: Run | None = None,
    evaluation: Evaluation | None = None,
    weight: float | None = None,
) -> TestLook:
    """Count a look at the test part; the caller draws the figures after it.

    Raises PermissionDenied, and CannotEvaluate while the part is sealed.
    """
    require(author, "evaluate runs", split.site)
    with transaction.atomic():
        Split.objects.select_for_update(no_key=True).get(pk=split.pk)  # so that no plan is locked at the same time
        sealed = why_sealed(split)
        if sealed:
            raise CannotEvaluate(sealed)
        test_look = TestLook.objects.create(
            split=split,
            actor=author,
            reason=reason,
            run=run,
            evaluation=evaluation,
            fusion_weight=weight,
            plan=current_plan(split),
        )
        audit.record(
            verb="look at test",
            site=split.site,
            actor=author,
            target=evaluation or run or split,
            after={"reason": reason} | ({} if weight is None else {"weight": weight}),
        )
    return test_look


def look_once(
    *,
    split: Split,
    author: User,
    reason: str,
    run: Run,
    evaluation: Evaluation | None = None,
    weight: float | None = None,
) -> TestLook | None:
    """`look`, unless these results were disclosed before: then that they are seen again is recorded in the audit, and
    None is returned. Raises as `look`, and nothing for what was disclosed before the part was sealed."""
    with transaction.atomic():
        Split.objects.select_for_update(no_key=True).get(pk=split.pk)  # two simultaneous requests count as one look
        if not is_disclosed(run, reason=reason, evaluation=evaluation, weight=weight):
            return look(split=split, author=author, reason=reason, run=run, evaluation=evaluation, weight=weight)
        audit.record(
            verb="see test again",
            site=split.site,
            actor=author,
            target=evaluation or run,
            after={"reason": reason} | ({} if weight is None else {"weight": weight}),
        )
    return None


def is_disclosed(
    run: Run, *, reason: str = ARCHIVE, evaluation: Evaluation | None = None, weight: float | None = None
) -> bool:
    """Whether the run's results on test at this setting were seen before: of an evaluation, at this weight with labels
    at its cut-off; without one, by the same way. The archive holds every weight, to be joined with the split's labels.
    """
    looks = TestLook.objects.filter(run=run)
    if evaluation is None or weight is None:
        return looks.filter(reason=reason).exists()
    of_weight = Q(fusion_weight__gt=weight - _SAME_WEIGHT, fusion_weight__lt=weight + _SAME_WEIGHT)
    before = Q(evaluation=evaluation) & of_weight
    if evaluation.label_cutoff == evaluation.split.label_cutoff:
        before |= Q(reason=ARCHIVE)
    return looks.filter(before).exists()


def scored_test(run: Run) -> bool:
    """Whether the run scored a film of the test part of its detector's split."""
    if run.detector is None:
        return False
    members = SplitImage.objects.filter(member__split_id=run.detector.split_id, member__part=Part.TEST)
    return members.filter(image__scores__run=run).exists()


def runs_looked_at(runs: QuerySet[Run]) -> set[int]:
    """The primary keys of those of the runs whose test results were looked at in any way: also by a worklist of a
    release that did not count it as a look, whose readers see its films of test with their scores."""
    worklists = Worklist.objects.filter(run__in=runs).values_list("run", "parts")
    by_worklist = {run for run, parts in worklists if not parts or Part.TEST in parts}
    return by_worklist | set(TestLook.objects.filter(run__in=runs).values_list("run", flat=True))


def require_look(run: Run) -> None:
    """Raises PermissionDenied, with what to do, while nobody has looked at the run's results on test."""
    if runs_looked_at(Run.objects.filter(pk=run.pk)):
        return
    assert run.detector is not None  # only scored runs have films of test
    sealed = why_sealed(run.detector.split)
    raise PermissionDenied(
        f"This film is in test, and nobody has looked at the results of the run {run.name!r} there: "
        f"{sealed[:1].lower() + sealed[1:] if sealed else 'evaluate the run first, which is a counted look at test.'}"
    )


def looks_at_test(split: Split) -> int:
    """How often the test part of a split was looked at, over all its evaluations and studies."""
    return TestLook.objects.filter(split=split).count()


def with_looks(evaluations: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    """The evaluations annotated with `looks_of_split`, which is `looks_at_test` of their split, in one query."""
    of_split = TestLook.objects.filter(split=OuterRef("split")).order_by()
    counted = of_split.values("split").annotate(looks=Count("pk")).values("looks")
    return evaluations.annotate(looks_of_split=Coalesce(Subquery(counted), 0))


def note_of(split: Split, part: str) -> str:
    """What every figure of a part prints: for test the sentence on looks, and for all parts of an old split that copies
    of a film are in two of them; "" if there is nothing to say."""
    sentences = [_looks_of(split) if part == Part.TEST else "", divided_note(split)]
    return " ".join(sentence for sentence in sentences if sentence)


def _looks_of(split: Split) -> str:
    looks, plan = looks_at_test(split), current_plan(split)
    if plan is None:
        return f"Looks at this test part: {looks}; no analysis plan was locked before the first."
    if not is_intact(plan):
        return f"Looks at this test part: {looks}; its analysis plan was changed after it was locked."
    planned = int(plan_contents(plan)["looks"])
    count = f"{looks} of {planned} planned" if looks <= planned else f"{looks}, more than the {planned} planned"
    approved = ", approved by a second person" if approval_of(plan) else ""
    return (
        f"Looks at this test part: {count}; analysis plan {plan.sha256[:12]} of {plan.created_at:%Y-%m-%d}{approved}."
    )
