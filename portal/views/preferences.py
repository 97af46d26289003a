"""Preferences for labelling: a person's keys and a site's list of findings."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.labels.findings import InvalidFindings, set_findings
from portal.labels.key_table import CHOOSABLE
from portal.labels.keys import NAMED, InvalidKeys, choose_keys, commands_of
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
