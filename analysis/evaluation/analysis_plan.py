"""The analysis plan of a split, locked before the first look at its test part. Figures print its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from analysis.evaluation.operating_point import RequestedPoint
from analysis.models import AnalysisPlan, PlanApproval, TestLook
from ml_engine.models import Run, RunKind, RunState
from portal.models import Part, Split, User
from portal.people import audit
from portal.people.access import require

FORMAT = 1
METRICS = {
    "auroc": "AUROC of the fused score",
    "auroc_global": "AUROC of the global score",
    "auroc_region": "AUROC of the region score",
    "average_precision": "Average precision of the fused score",
    "partial_auroc": "Partial AUROC of the fused score, false-positive rate up to 0.2",
}
MOST_COMPARED = 5
MOST_LOOKS = 100
LONGEST_HYPOTHESIS = 2000  # characters


class CannotPlan(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What a person intends to evaluate. `primary` and `compared` are runs that fit detectors on the split: only the
    comparisons of `compared` with `primary` are tested. `looks` is the planned number of looks at test."""

    metric: str = "auroc"
    operating_point: RequestedPoint = field(default_factory=RequestedPoint)
    primary: Run | None = None
    compared: Sequence[Run] = ()
    looks: int = 1
    hypothesis: str = ""


def detectors_to_plan(split: Split) -> QuerySet[Run]:
    """The runs that a plan may name."""
    ended_badly = (RunState.FAILED, RunState.CANCELLED)
    return Run.objects.filter(split=split, kind=RunKind.FIT_DETECTOR).exclude(state__in=ended_badly)


def detector_at(split: Split, address: UUID | str) -> Run:
    """The run with this UUID, if a plan may name it. Raises CannotPlan."""
    try:
        run = detectors_to_plan(split).filter(uuid=UUID(str(address))).first()
    except ValueError:
        run = None
    if run is None:
        raise CannotPlan(
            f"No run {str(address)[:40]!r} fits a detector on the split “{split.name}”: choose a run that does."
        )
    return run


def lock_plan(*, split: Split, author: User, intent: Intent) -> AnalysisPlan:
    """Save the next version of the split's plan. Raises CannotPlan, in any case after the first look at test."""
    require(author, "plan analyses", split.site)
    _check(split, intent)
    with transaction.atomic():
        Split.objects.select_for_update(no_key=True).get(pk=split.pk)  # a first look waits, or is counted
        looks = TestLook.objects.filter(split=split).count()
        if looks:
            raise CannotPlan(
                f"The test part of “{split.name}” was already looked at {looks} time{'s' if looks > 1 else ''}, "
                "so no plan can be locked before the first look. Draw a new split with test films that nobody has seen "
                "scored."
            )
        before = current_plan(split)
        version = before.version + 1 if before else 1
        document = _document(split, author, intent, version=version, replaces=before.sha256 if before else None)
        plan = AnalysisPlan.objects.create(
            split=split, version=version, document=document, sha256=sha256_of(document), locked_by=author
        )
        audit.record(
            verb="lock analysis plan", site=split.site, actor=author, target=plan, after={"sha256": plan.sha256}
        )
    return plan


def _check(split: Split, intent: Intent) -> None:
    if not split.members.filter(part=Part.TEST).exists():
        raise CannotPlan(f"The split “{split.name}” has no test part, so there is nothing to plan.")
    if intent.metric not in METRICS:
        raise CannotPlan(f"The metric {intent.metric[:40]!r} is unknown; use one of {', '.join(METRICS)}.")
    if not 1 <= intent.looks <= MOST_LOOKS:
        raise CannotPlan(f"{intent.looks} looks are planned; enter a number from 1 to {MOST_LOOKS}.")
    if len(intent.hypothesis) > LONGEST_HYPOTHESIS:
        raise CannotPlan(
            f"The hypothesis has {len(intent.hypothesis)} characters; shorten it to {LONGEST_HYPOTHESIS} or fewer."
        )
    if intent.compared and intent.primary is None:
        raise CannotPlan(
            "No primary detector is chosen to compare the other detectors with: choose one, or compare none."
        )
    if len(intent.compared) > MOST_COMPARED:
        raise CannotPlan(f"{len(intent.compared)} detectors are to be compared; choose at most {MOST_COMPARED}.")
    if intent.primary in intent.compared:
        raise CannotPlan(f"“{intent.primary}” would be compared with itself: leave it out of the compared detectors.")
    allowed = set(detectors_to_plan(split))
    for run in [*([intent.primary] if intent.primary else []), *intent.compared]:
        if run not in allowed:
            raise CannotPlan(f"“{run.name}” fits no detector on the split “{split.name}”: choose a run that does.")


def _document(split: Split, author: User, intent: Intent, *, version: int, replaces: str | None) -> str:
    point = intent.operating_point
    contents = {
        "format": FORMAT,
        "version": version,
        "replaces": replaces,
        "site": split.site.name,
        "split": {"uuid": str(split.uuid), "name": split.name, "label_cutoff": split.label_cutoff.isoformat()},
        "primary_metric": intent.metric,
        "operating_point": {"rule": point.rule, "target": point.target, "prevalence": point.prevalence},
        "primary_detector": _named(intent.primary) if intent.primary else None,
        "compared_detectors": [_named(run) for run in intent.compared],
        "looks": intent.looks,
        "hypothesis": intent.hypothesis.strip(),
        "locked_by": author.username,
        "locked_at": timezone.now().isoformat(timespec="seconds"),
    }
    return json.dumps(contents, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _named(run: Run) -> dict[str, str]:
    return {"run": str(run.uuid), "name": run.name}


def sha256_of(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def approve_plan(*, plan: AnalysisPlan, approver: User) -> PlanApproval:
    """Record the approval. Raises CannotPlan for the approver's own plan, a replaced plan and an approved plan."""
    require(approver, "approve plans", plan.split.site)
    if approver.pk == plan.locked_by_id:
        raise CannotPlan("You locked this plan yourself: a second person approves it.")
    try:
        with transaction.atomic():
            Split.objects.select_for_update(no_key=True).get(pk=plan.split_id)
            current = current_plan(plan.split)
            if current != plan:
                raise CannotPlan(
                    f"This plan was replaced by version {current and current.version}: approve that version."
                )
            approval = PlanApproval.objects.create(plan=plan, approver=approver)
            audit.record(verb="approve analysis plan", site=plan.split.site, actor=approver, target=plan)
    except IntegrityError:
        raise CannotPlan("This plan is already approved.") from None
    return approval


def current_plan(split: Split) -> AnalysisPlan | None:
    plans = AnalysisPlan.objects.filter(split=split).select_related("approval__approver", "locked_by")
    return plans.order_by("-version").first()


def approval_of(plan: AnalysisPlan) -> PlanApproval | None:
    return getattr(plan, "approval", None)


def why_sealed(split: Split) -> str:
    """Why the test part may not be looked at yet, and what has to be done first; "" where it may."""
    site = split.site
    if not (site.plan_before_test or site.second_person_for_test):
        return ""
    plan = current_plan(split)
    if plan is None:
        return f"The test part of “{split.name}” is sealed: lock an analysis plan for the split first."
    if site.second_person_for_test and approval_of(plan) is None:
        return (
            f"The test part of “{split.name}” is sealed: a second person has to approve version {plan.version} of its "
            "analysis plan first."
        )
    return ""


@dataclass(frozen=True)
class DeclaredComparisons:
    """The comparisons that a plan names, as UUIDs of the runs that fit the detectors."""

    primary: UUID
    compared: frozenset[UUID]


def is_intact(plan: AnalysisPlan) -> bool:
    """Whether the plan matches its hash; if not, the database was changed by hand."""
    return sha256_of(plan.document) == plan.sha256


def plan_contents(plan: AnalysisPlan) -> dict[str, Any]:
    """The plan's document, parsed."""
    contents: dict[str, Any] = json.loads(plan.document)
    return contents


def in_words(plan: AnalysisPlan) -> list[tuple[str, str]]:
    """The plan as rows of (title, text), without links."""
    contents, approval = plan_contents(plan), approval_of(plan)
    point, primary = contents["operating_point"], contents["primary_detector"]
    others = ", ".join(run["name"] for run in contents["compared_detectors"])
    second = f"{approval.approver.username}, {approval.created_at:%Y-%m-%d %H:%M} UTC" if approval else "none"
    return [
        ("Version", f"{plan.version}, locked {plan.created_at:%Y-%m-%d %H:%M} UTC by {plan.locked_by.username}"),
        ("SHA-256", plan.sha256 if is_intact(plan) else f"{plan.sha256}, which no longer matches the document"),
        ("Primary metric", f"{METRICS[contents['primary_metric']]}, at the run's weight, on test"),
        (
            "Operating point",
            f"{point['rule']} of {point['target']:g}, fixed on calibrate or tune; prevalence {point['prevalence']:g}",
        ),
        ("Primary detector", primary["name"] if primary else "none named"),
        ("Compared with it", others or "none"),
        ("Looks planned", str(contents["looks"])),
        ("Hypothesis", contents["hypothesis"] or "none stated"),
        ("Second person", second),
    ]


def declared(plan: AnalysisPlan | None) -> DeclaredComparisons | None:
    """None without an intact plan, and for a plan that names no primary detector."""
    contents = plan_contents(plan) if plan and is_intact(plan) else {}
    if not contents.get("primary_detector"):
        return None
    return DeclaredComparisons(
        UUID(contents["primary_detector"]["run"]), frozenset(UUID(run["run"]) for run in contents["compared_detectors"])
    )


def planned_point(plan: AnalysisPlan | None) -> RequestedPoint:
    """The operating point of the plan; without a plan, the default."""
    return RequestedPoint(**plan_contents(plan)["operating_point"]) if plan else RequestedPoint()
