"""The forecast of a run, updated while its form is filled in."""

from django.http import Http404, HttpResponse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.forecast import sentence
from ml_engine.forms import runs as run_forms
from ml_engine.forms.runs import RunForm
from ml_engine.runs import run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from portal.people.access import require
from portal.people.signed_in import SignedInRequest

FORMS: dict[str, type[RunForm]] = {form.kind: form for form in run_forms.FORMS}


@require_POST
def run_forecast(request: SignedInRequest, kind: str) -> HttpResponse:
    """A sentence with the memory, disk and time of the run, or why it cannot fit. Empty while the form has errors that
    the forecast depends on: they show on submit."""
    if kind not in FORMS:
        raise Http404(f"Runs of kind {kind} are not forecast.")
    site = require(request.user, "request runs", request.hilum_site)
    form = FORMS[kind](request.POST, site=site, user=request.user)
    form.is_valid()
    if set(form.errors) - {"name", "note"}:
        return HttpResponse("")
    try:
        made, config = form.run_forecast()
        run_forecasts.require_room(made, config)
    except (RunRefused, InvalidConfig) as refusal:
        return HttpResponse(format_html('<span class="hilum-warning">{}</span>', str(refusal)))
    return HttpResponse(format_html("{}", sentence(made) if made else run_forecasts.NOT_MEASURED))
