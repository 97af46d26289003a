"""Preferences for labelling: a person's keys, a site's list of findings and its criteria of normal."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.grid.tiles import InvalidWidth, choose_width
from portal.labels.criteria import InvalidCriteria, TextLine, current_criteria, differences, write_criteria
from portal.labels.findings import InvalidFindings, set_findings
from portal.labels.key_table import CHOOSABLE
from portal.labels.keys import NAMED, InvalidKeys, choose_keys, commands_of
from portal.models import NormalCriteria, Site
from portal.people import mail_choice
from portal.people.access import require
from portal.people.signed_in import SignedInRequest


@require_http_methods(["GET", "POST"])
def keys(request: SignedInRequest) -> HttpResponse:
    """A form with the person's keys for labelling; `reset` restores the defaults."""
    shown_keys = {command.name: command.key for command in commands_of(request.user)}
    faults: dict[str, str] = {}
    if request.method == "POST":
        sent = {} if "reset" in request.POST else {name: str(key) for name, key in request.POST.items()}
        sent.pop("csrfmiddlewaretoken", None)
        try:
            choose_keys(person=request.user, keys=sent)
        except InvalidKeys as refused:
            faults, shown_keys = refused.faults, shown_keys | sent
        else:
            messages.success(request, "Your keys are saved.")
            return redirect("portal:keys")
    rows = [
        {
            "name": command.name,
            "words": command.words,
            "key": shown_keys[command.name],
            "first": command.shown,
            "fault": faults.get(command.name),
        }
        for command in CHOOSABLE
    ]
    others = [
        fault for name, fault in faults.items() if name not in shown_keys or name not in {row["name"] for row in rows}
    ]
    context = {"room": "data", "rows": rows, "others": others, "named": NAMED}
    return render(request, "portal/keys.html", context, status=400 if faults else 200)


@require_POST
def choose_mail(request: SignedInRequest) -> HttpResponse:
    """Whether the person gets mail at the end of their runs, and where."""
    wanted = request.POST.get("at_run_end") == "yes"
    try:
        mail_choice.choose_mail(person=request.user, email=request.POST.get("email", ""), at_run_end=wanted)
    except mail_choice.InvalidAddress as refusal:
        messages.warning(request, str(refusal))
        return redirect("change-password")
    messages.success(request, "Mail comes at the end of your runs." if wanted else "No mail comes from Hilum.")
    return redirect("change-password")


@require_POST
def choose_tiles(request: SignedInRequest) -> JsonResponse:
    """The `width` of the films in grids, for the person."""
    try:
        return JsonResponse({"width": choose_width(person=request.user, width=request.POST.get("width", ""))})
    except InvalidWidth as refused:
        return JsonResponse({"error": str(refused)}, status=400)


@require_http_methods(["GET", "POST"])
def findings(request: SignedInRequest) -> HttpResponse:
    """A form with the site's findings, one per line, which everyone may see and managers may change."""
    site = require(request.user, "see the site", request.hilum_site)
    text, fault = "\n".join(site.findings), ""
    if request.method == "POST":
        text = request.POST.get("findings", "")
        try:
            set_findings(site=site, findings=text.splitlines(), author=request.user)
        except InvalidFindings as refused:
            fault = str(refused)
        else:
            messages.success(request, "The list is saved.")
            return redirect("portal:findings")
    context = {"room": "data", "text": text, "fault": fault, "listed": site.findings}
    return render(request, "portal/findings.html", context, status=400 if fault else 200)


@require_http_methods(["GET", "POST"])
def criteria(request: SignedInRequest) -> HttpResponse:
    """What the site calls a normal film, for everybody to read, with all earlier versions; managers write the next."""
    site = require(request.user, "see the site", request.hilum_site)
    current = current_criteria(site)
    text, fault = current.text if current else "", ""
    if request.method == "POST":
        text = request.POST.get("text", "")
        try:
            written = write_criteria(site=site, text=text, author=request.user)
        except InvalidCriteria as refused:
            fault = str(refused)
        else:
            messages.success(request, f"Version {written.version} is in force: labels name it from now on.")
            return redirect("portal:criteria")
    context = {
        "room": "data",
        "criteria": current,
        "next_version": current.version + 1 if current else 1,
        "text": text,
        "fault": fault,
        "history": _history(site),
    }
    return render(request, "portal/criteria.html", context, status=400 if fault else 200)


def _history(site: Site) -> list[dict[str, Any]]:
    """Every version, newest first, with the lines that it changed and a summary of them."""
    history: list[dict[str, Any]] = []
    earlier: NormalCriteria | None = None
    for version in NormalCriteria.objects.filter(site=site).select_related("author").order_by("version"):
        lines = differences(earlier.text if earlier else version.text, version.text)
        history.append({"version": version, "lines": lines, "summary": _summary(lines) if earlier else "first version"})
        earlier = version
    return history[::-1]


def _summary(lines: Sequence[TextLine]) -> str:
    counts = Counter(line.change for line in lines if line.change)
    if not counts:
        return "spacing only"
    words = (f"{count} line{'s' if count > 1 else ''} {change}" for change, count in sorted(counts.items()))
    return ", ".join(words)
