"""What a person or a site chooses for labelling: the keys, and the list of findings."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.labels.findings import InvalidFindings, set_findings
from portal.labels.keys import DEFAULTS, NAMED, InvalidKeys, choose_keys, commands_of
from portal.people.access import require
from portal.people.signed_in import SignedInRequest


@require_http_methods(["GET", "POST"])
def keys(request: SignedInRequest) -> HttpResponse:
    """The person's own keys of labelling, in a form; all of them are first ones again where `reset` is sent."""
    given = {one.name: one.key for one in commands_of(request.user)}
    faults: dict[str, str] = {}
    if request.method == "POST":
        sent = {} if "reset" in request.POST else {name: str(key) for name, key in request.POST.items()}
        sent.pop("csrfmiddlewaretoken", None)
        try:
            choose_keys(person=request.user, keys=sent)
        except InvalidKeys as refused:
            faults, given = refused.faults, given | sent
        else:
            messages.success(request, "Your keys are saved.")
            return redirect("portal:keys")
    rows = [
        {
            "name": one.name,
            "words": one.words,
            "key": given[one.name],
            "first": one.shown,
            "fault": faults.get(one.name),
        }
        for one in DEFAULTS
    ]
    others = [fault for name, fault in faults.items() if name not in given or name not in {one["name"] for one in rows}]
    context = {"room": "data", "rows": rows, "others": others, "named": NAMED}
    return render(request, "portal/keys.html", context, status=400 if faults else 200)


@require_http_methods(["GET", "POST"])
def findings(request: SignedInRequest) -> HttpResponse:
    """The site's list, one finding a line; everybody may read it, managers change it."""
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
