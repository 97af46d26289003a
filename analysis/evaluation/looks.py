"""Looks at the test part of a split: they are counted, audited, and printed on every figure of test films."""

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from analysis.evaluation.analysis_plan import approval_of, current_plan, is_intact, plan_contents, why_sealed
from analysis.models import Evaluation, TestLook
from ml_engine.models import Run
from portal.models import Part, Split, User
from portal.people import audit
from portal.people.access import require
from portal.sets.film_copies import divided_note


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
