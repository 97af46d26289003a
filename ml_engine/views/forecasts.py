"""The forecast of a run, updated while its form is filled in."""

from django.http import Http404, HttpResponse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.forecast import sentence
from ml_engine.forms import embeddings
from ml_engine.forms import runs as run_forms
from ml_engine.forms.runs import FitForm, RunForm
from ml_engine.runs import run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from portal.people.access import require
from portal.people.signed_in import SignedInRequest

FORMS: dict[str, type[RunForm]] = {form.kind: form for module in (run_forms, embeddings) for form in module.FORMS}


@require_POST
def run_forecast(request: SignedInRequest, kind: str) -> HttpResponse:
    """A sentence with the memory, disk and time of the run, or why it cannot fit. Empty while the form has errors that
    the forecast depends on: they show on submit."""
    if kind not in FORMS:
        raise Http404(f"Runs of kind {kind} are not forecast.")
    site = require(request.user, "request runs", request.hilum_site)
    form = FORMS[kind](request.POST, site=site, user=request.user)
    form.is_valid()
    faults = form.config_faults if isinstance(form, FitForm) else {}
    if set(form.errors) - {"name", "note"} - set(faults):
        return HttpResponse("")
    if faults:
        return _warning(" ".join(faults.values()))
    try:
        made, config = form.run_forecast()
        run_forecasts.require_room(made, config)
    except (RunRefused, InvalidConfig) as refusal:
        return _warning(str(refusal))
    return HttpResponse(format_html("{}", sentence(made) if made else run_forecasts.NOT_MEASURED))


def _warning(sentence: str) -> HttpResponse:
    return HttpResponse(format_html('<span class="hilum-warning">{}</span>', sentence))
