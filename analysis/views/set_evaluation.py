"""From a dataset to its evaluation in one request: the form, and the page that shows how far it is."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from analysis.evaluation import set_evaluation
from analysis.evaluation.set_evaluation import ACTIONS, LONGEST_NAME, CannotEvaluateSet, SetRequest
from analysis.evaluation.set_progress import outlook, part_to_show, progress_of
from analysis.models import SetEvaluation
from ml_engine.core.config import PRESETS
from ml_engine.engine.forecast import sentence
from ml_engine.runs import run_forecasts
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import config_from
from ml_engine.runs.waiting import silent_since
from portal.models import Dataset, Split
from portal.people import blinding
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest

OPEN, CLOSED = "open", "closed"


class EvaluateSetForm(forms.Form):
    test = forms.ChoiceField(
        choices=[(OPEN, "Tune and test"), (CLOSED, "Tune alone; test stays closed")],
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
        initial=OPEN,
        label="Results of",
    )
    name = forms.CharField(
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"class": "form-control form-control-sm"}),
        help_text="Of the split; the runs are named after it.",
    )
    preset = forms.ChoiceField(
        choices=[(name, name) for name in PRESETS],
        widget=forms.Select(attrs={"class": "form-select form-select-sm"}),
        help_text="default is Hilum's; paper and paper-448 are the publication's, and take longer.",
    )
    aligned = forms.BooleanField(
        required=False,
        initial=True,
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
        label="Align the films to one position first",
    )


@require_http_methods(["GET", "POST"])
def evaluate_set(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    dataset = get_visible(Dataset.objects.select_related("site"), request.user, uuid)
    request.hilum_site = dataset.site
    for action in ACTIONS:
        require(request.user, action, dataset.site)
    form = EvaluateSetForm(request.POST or None, initial={"name": _free_name(dataset), "preset": PRESETS[0]})
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("analysis:set-evaluation", _start(request, dataset, form.cleaned_data).uuid)
        except CannotEvaluateSet as refusal:
            form.add_error(None, str(refusal))
    context = {
        "room": "data",
        "dataset": dataset,
        "form": form,
        "importing": set_evaluation.pending_imports(dataset).exists(),
        "sealed": dataset.site.plan_before_test or dataset.site.second_person_for_test,
        "omitted": blinding.omitted_among(dataset.images.all(), request.user),
        **_outlook(request, dataset),
    }
    return render(request, "analysis/evaluate_set.html", context, status=400 if form.errors else 200)


def _start(request: SignedInRequest, dataset: Dataset, values: dict[str, Any]) -> SetEvaluation:
    return set_evaluation.start(
        SetRequest(
            dataset=dataset,
            name=values["name"],
            author=request.user,
            config=config_from(values["preset"]),
            aligned=values["aligned"],
            opens_test=values["test"] == OPEN,
        )
    )


def _free_name(dataset: Dataset) -> str:
    """The dataset's name with the day, and a number where a split has that name already."""
    base = f"{dataset.name[: LONGEST_NAME - 16]} {timezone.localdate():%Y-%m-%d}"
    names = {base, *(f"{base} ({number})" for number in range(2, 100))}
    taken = set(Split.objects.filter(site=dataset.site, name__in=names).values_list("name", flat=True))
    taken |= set(
        SetEvaluation.objects.filter(dataset__site=dataset.site, name__in=names).values_list("name", flat=True)
    )
    return min(names - taken, key=lambda name: (len(name), name), default=base)


def _outlook(request: SignedInRequest, dataset: Dataset) -> dict[str, Any]:
    """The films and the forecast of the defaults."""
    expected = outlook(dataset, config_from(PRESETS[0]), aligned=True, opens_test=True, viewer=request.user)
    words = sentence(expected.forecast) if expected.forecast else run_forecasts.NOT_MEASURED
    return {"expected": expected, "forecast": words}


@require_GET
def progress(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The page, or its polled part. Once the evaluation is made, the polled part leads to its ROC curve."""
    row = get_visible(set_evaluation.rows(), request.user, uuid)
    request.hilum_site = row.dataset.site
    is_part = request.htmx and not request.htmx.boosted
    progress = progress_of(row)
    context = {
        "room": "results",
        "row": row,
        "progress": progress,
        "silent_since": None if row.evaluation else silent_since(),
        "results": _results(row) if may(request.user, "see scores", row.dataset.site) else "",
        "may_run": may(request.user, "request runs", row.dataset.site),
    }
    template = "analysis/_set_evaluation.html" if is_part else "analysis/set_evaluation.html"
    response = render(request, template, context)
    if is_part and (row.evaluation or progress.failed):
        outcome = "It is evaluated." if row.evaluation else "A step failed."
        trigger_client_event(response, "hilum:ended", {"title": row.name, "body": outcome})
    if is_part and context["results"]:
        response["HX-Redirect"] = str(context["results"])
    return response


def _results(row: SetEvaluation) -> str:
    """The address of the ROC curve; "" until there is one."""
    if row.evaluation is None:
        return ""
    part = part_to_show(row.evaluation, opens_test=row.opens_test)
    return reverse("analysis:evaluation", args=[row.evaluation.uuid], query={"part": part}, fragment="roc")


@require_POST
def try_again(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    row = get_visible(set_evaluation.rows(), request.user, uuid)
    try:
        set_evaluation.try_again(row=row, actor=request.user)
    except RunRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("analysis:set-evaluation", row.uuid)
