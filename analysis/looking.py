"""Looks at the test part of a split: counted, audited, and printed on every figure of test films."""

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from analysis.models import Evaluation, TestLook
from ml_engine.models import Run
from portal import audit
from portal.access import require
from portal.models import Part, Split, User


class CannotEvaluate(Exception):
    """A sentence for the user."""


def look(
    *,
    split: Split,
    author: User,
    reason: str,
    run: Run | None = None,
    evaluation: Evaluation | None = None,
    weight: float | None = None,
) -> TestLook:
    """Count a look at the test part. The figures are the caller's to draw, after this.

    Raises PermissionDenied.
    """
    require(author, "evaluate runs", split.site)
    with transaction.atomic():
        made = TestLook.objects.create(
            split=split, actor=author, reason=reason, run=run, evaluation=evaluation, fusion_weight=weight
        )
        audit.record(
            verb="look at test",
            site=split.site,
            actor=author,
            target=evaluation or run or split,
            after={"reason": reason} | ({} if weight is None else {"weight": weight}),
        )
    return made


def looks_at_test(split: Split) -> int:
    """How often the test part of a split was looked at, over all its evaluations and studies."""
    return TestLook.objects.filter(split=split).count()


def with_looks(evaluations: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    """The evaluations with `looks_of_split`: what `looks_at_test` tells of their split, in the same query."""
    of_split = TestLook.objects.filter(split=OuterRef("split")).order_by()
    counted = of_split.values("split").annotate(looks=Count("pk")).values("looks")
    return evaluations.annotate(looks_of_split=Coalesce(Subquery(counted), 0))


def note_of(split: Split, part: str) -> str:
    """What every figure of this part says of the looks at it; "" for a part that may be looked at freely."""
    if part != Part.TEST:
        return ""
    looks = looks_at_test(split)
    return f"Look {looks} at this test part."
