"""The forecast of a sweep, updated while its form is filled in."""

from django.http import HttpResponse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from ml_engine.core.errors import InvalidConfig
from ml_engine.forms.studies import SweepForm
from ml_engine.runs.lifecycle import RunRefused
from portal.people.access import require
from portal.people.signed_in import SignedInRequest


@require_POST
def sweep_forecast(request: SignedInRequest) -> HttpResponse:
    """A sentence with the fits that the sweep would make, or why its axes are refused. Other errors show on submit."""
    site = require(request.user, "request runs", request.hilum_site)
    form = SweepForm(request.POST, site=site, user=request.user)
    form.is_valid()
    if {"preset", "align", "weights", "advanced"} & set(form.errors):
        return HttpResponse("")
    try:
        return HttpResponse(format_html("This makes {}.", form.forecast()))
    except (RunRefused, InvalidConfig) as refusal:
        return HttpResponse(format_html('<span class="hilum-warning">{}</span>', str(refusal)))
