"""The analysis plan of a split: its page, a new version, its exact bytes, a second person's approval."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from analysis.evaluation import analysis_plan
from analysis.evaluation.analysis_plan import METRICS, CannotPlan, Intent
from analysis.evaluation.looks import looks_at_test
from analysis.evaluation.operating_point import OFFERED, RULES, InvalidOperatingPoint
from analysis.models import AnalysisPlan
from analysis.views.operating import requested_point
from portal.models import Split, User
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest
from portal.sets.sealing import TestRules, set_test_rules


@require_http_methods(["GET", "POST"])
def plan(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    split = _split(request.user, uuid)
    request.hilum_site = split.site
    fault, status = "", 200
    if request.method == "POST":
        try:
            locked = analysis_plan.lock_plan(split=split, author=request.user, intent=intent_from(split, request.POST))
        except (CannotPlan, InvalidOperatingPoint) as refusal:
            fault, status = str(refusal), 400
        else:
            messages.success(request, f"Version {locked.version} of the plan is locked.")
            return redirect("analysis:plan", split.uuid)
    current = analysis_plan.current_plan(split)
    looks = looks_at_test(split)
    context = {
        "room": "data",
        "split": split,
        "plan": current,
        "said": analysis_plan.plan_contents(current) if current else None,
        "intact": current is None or analysis_plan.is_intact(current),
        "approval": analysis_plan.approval_of(current) if current else None,
        "versions": AnalysisPlan.objects.filter(split=split).count(),
        "looks": looks,
        "sealed": analysis_plan.why_sealed(split),
        "metrics": METRICS,
        "rules": RULES,
        "targets": OFFERED,
        "detectors": analysis_plan.detectors_to_plan(split),
        "fault": fault,
        "given": request.POST if request.method == "POST" else _start(current),
        "may_plan": may(request.user, "plan analyses", split.site) and not looks,
        "may_approve": may(request.user, "approve plans", split.site)
        and current is not None
        and current.locked_by_id != request.user.pk,
        "may_set_rules": may(request.user, "set rules for test", split.site),
    }
    return render(request, "analysis/plan.html", context, status=status)


@require_GET
def plan_document(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The exact bytes whose SHA-256 is that of the plan."""
    plan = get_visible(AnalysisPlan.objects.select_related("split__site"), request.user, uuid)
    response = HttpResponse(plan.document.encode(), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="analysis-plan-{plan.sha256[:12]}.json"'
    return response


@require_POST
def approve(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    plan = get_visible(AnalysisPlan.objects.select_related("split__site"), request.user, uuid)
    try:
        analysis_plan.approve_plan(plan=plan, approver=request.user)
    except CannotPlan as refusal:
        return render(request, "portal/error.html", {"title": "Not approved", "sentence": str(refusal)}, status=400)
    messages.success(request, f"Version {plan.version} of the plan is approved.")
    return redirect("analysis:plan", plan.split.uuid)


@require_POST
def set_rules(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Save the site's rules for test, from the page of one of its splits."""
    split = _split(request.user, uuid)
    rules = TestRules(plan="plan" in request.POST, second_person="second_person" in request.POST)
    set_test_rules(site=split.site, rules=rules, author=request.user)
    messages.success(request, f"The rules of {split.site.name} are saved.")
    return redirect("analysis:plan", split.uuid)


def _split(user: User, uuid: UUID) -> Split:
    split = get_visible(Split.objects.select_related("site"), user, uuid)
    require(user, "see the site", split.site)
    return split


def _start(current: AnalysisPlan | None) -> dict[str, object]:
    """Initial values of the form for a new version."""
    point = analysis_plan.planned_point(current)
    return {"rule": point.rule, "target": f"{point.target:g}", "prevalence": f"{point.prevalence:g}"}


def intent_from(split: Split, form: QueryDict) -> Intent:
    """Raises CannotPlan and InvalidOperatingPoint."""
    primary = form.get("primary")
    return Intent(
        metric=form.get("metric", ""),
        operating_point=requested_point(form),
        primary=analysis_plan.detector_at(split, primary) if primary else None,
        compared=[analysis_plan.detector_at(split, address) for address in form.getlist("compared")],
        looks=_looks(form.get("looks", "1")),
        hypothesis=form.get("hypothesis", ""),
    )


def _looks(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise CannotPlan(f"The looks planned are {text[:20]!r}: give a whole number.")
    return int(text)
