"""Pages for those who make worklists: the form, the summary, the readings as CSV."""

import csv
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.figures import NOTICE, RANDOM_WEIGHTS
from analysis.models import Reading, ScoreKind, StudyDesign, Worklist
from analysis.reading import verdicts
from analysis.reading.assignments import possible_readers
from analysis.reading.reader_studies import REPEAT_SHARE
from analysis.reading.verdicts import ReadingRefused, usable_as_reference, why_no_reference
from analysis.reading.worklist_summary import counted_readings, readings_of, require_summary, summarise
from analysis.reading.worklists import (
    DEFAULT_SPECIFICITY,
    MOST_DAYS,
    POINTS,
    UNFLAGGED_SHARE,
    WorklistRefused,
    WorklistRequest,
    make_worklist,
    promise_on_calibrate,
)
from analysis.report.csv_tables import escape_formula
from analysis.views.reader_studies import assignment_context
from ml_engine.models import Run, RunKind, RunState
from portal.models import Image, Part, Site, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require
from portal.people.blinding import omitted, refuse_file, withheld_images, withheld_patients
from portal.people.exposure import WASHOUT_DAYS
from portal.people.retired import retired_row, without_retired
from portal.people.signed_in import SignedInRequest

_COLUMNS = [
    "image", "patient", "reader", "repeat", "stage", "verdict", "rating", "agreement", "reason", "findings",
    "comment", "boxes", "flagged", "score", "flagged_by",
    "sampling_probability", "model_shown", "heatmap_shown", "label_shown", "exposure_known",
    "reference", "reference_note", "active_seconds", "total_seconds", "time", "notice",
]  # fmt: skip


def _labelled(run: Run) -> str:
    return f"{run.name} · {RANDOM_WEIGHTS}" if run.random_weights else run.name


class WorklistForm(forms.Form):
    run = forms.ModelChoiceField(Run.objects.none(), to_field_name="uuid", empty_label="choose a scored run")
    name = forms.CharField(max_length=100)
    point = forms.ChoiceField(choices=list(POINTS.items()), label="Operating point")
    score = forms.ChoiceField(
        required=False,
        choices=ScoreKind.choices,
        label="Score",
        help_text="The combined score only for a run that scored with a semi-supervised head.",
    )
    value = forms.FloatField(initial=DEFAULT_SPECIFICITY, min_value=0, max_value=1, label="Reached there")
    parts = forms.MultipleChoiceField(
        required=False,
        choices=[(part.value, part.label) for part in Part],
        widget=forms.CheckboxSelectMultiple,
        label="Only films of these parts",
    )
    unflagged_percent = forms.FloatField(
        initial=100 * UNFLAGGED_SHARE, min_value=0, max_value=90, label="Unflagged films mixed in, %"
    )
    most = forms.IntegerField(required=False, min_value=2, label="Films at most")
    blinded = forms.BooleanField(required=False, label="Read without the model: no heatmap")
    days_to_read = forms.IntegerField(
        required=False, initial=28, min_value=1, max_value=MOST_DAYS, label="Days to read it"
    )
    washout_days = forms.IntegerField(
        required=False,
        initial=WASHOUT_DAYS,
        min_value=0,
        max_value=MOST_DAYS,
        label="Days after which a label is forgotten",
    )
    design = forms.ChoiceField(
        required=False, choices=[("", "No: one reading a film"), *StudyDesign.choices], label="Reader study"
    )
    repeat_percent = forms.FloatField(
        required=False,
        initial=100 * REPEAT_SHARE,
        min_value=0,
        max_value=100,
        label="Films of a study shown twice, %",
    )
    readers = forms.ModelMultipleChoiceField(
        User.objects.none(),
        required=False,
        to_field_name="username",
        widget=forms.CheckboxSelectMultiple,
        label="Assigned to",
    )
    seed = forms.IntegerField(initial=0, min_value=0, max_value=2**31 - 1)

    def __init__(self, *args: Any, site: Site, **options: Any) -> None:
        super().__init__(*args, **options)
        scored = Run.objects.filter(site=site, kind=RunKind.SCORE, state=RunState.DONE, detector__isnull=False)
        runs = without_retired(scored)
        self.fields["run"].queryset = runs  # type: ignore[attr-defined]
        self.fields["run"].label_from_instance = _labelled  # type: ignore[attr-defined]
        self.fields["readers"].queryset = possible_readers(site)  # type: ignore[attr-defined]
        for name, field in self.fields.items():
            if name not in ("parts", "blinded", "readers"):
                control = "form-select" if name in ("run", "point", "score", "design") else "form-control"
                field.widget.attrs["class"] = control + (" is-invalid" if self.errors.get(name) else "")
            elif name == "blinded":
                field.widget.attrs["class"] = "form-check-input"

    def request(self, author: Any) -> WorklistRequest:
        values = dict(self.cleaned_data)
        share = values.pop("unflagged_percent") / 100
        repeats = values.pop("repeat_percent")
        if values["design"] and repeats is not None:
            values["repeat_share"] = repeats / 100
        values["score"] = values["score"] or ScoreKind.ONE_CLASS
        for name in ("days_to_read", "washout_days"):
            if values[name] is None:  # blank: the default of WorklistRequest
                del values[name]
        return WorklistRequest(author=author, unflagged_share=share, **values)


@require_http_methods(["GET", "POST"])
@accepts_query("run")
def new(request: SignedInRequest) -> HttpResponse:
    site = request.hilum_site
    requested = request.GET.get("run")
    run = get_visible(Run.objects.select_related("site"), request.user, requested) if requested else None
    site = require(request.user, "make worklists", run.site if run else site)
    request.hilum_site = site
    form = WorklistForm(request.POST or None, site=site, initial={"run": requested})
    if request.method == "POST" and form.is_valid():
        try:
            worklist = make_worklist(form.request(request.user))
        except WorklistRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("analysis:worklist", worklist.uuid)
    promise = promise_on_calibrate(run) if run else ""
    context = {
        "room": "reading",
        "form": form,
        "promise": promise,
        "specificity": DEFAULT_SPECIFICITY,
        "random_weights": run is not None and run.random_weights,
    }
    return render(request, "analysis/new_worklist.html", context, status=400 if form.errors else 200)


@require_GET
def summary(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    worklist = _worklist(request, uuid)
    request.hilum_site = worklist.run.site
    disputed = _disputed(worklist, request.user)
    record_verdicts(request.user, worklist, disputed)
    context = {
        "room": "reading",
        "worklist": worklist,
        "retired": retired_row(worklist),
        "run": worklist.run,
        "summary": summarise(worklist),
        "disputed": _with_notes(disputed),
        "omitted": omitted(withheld_images(request.user).filter(worklist_items__worklist=worklist).count()),
        **assignment_context(worklist),
    }
    return render(request, "analysis/worklist.html", context)


def _disputed(worklist: Worklist, viewer: User) -> list[Reading]:
    """Readings that disagree with the model, false alarms and misses, which may be proposed for adjudication; without
    those of films that the viewer has yet to read blinded."""
    withheld = withheld_patients(viewer)
    return [
        reading
        for reading in counted_readings(worklist)
        if reading.image.patient_id not in withheld
        and reading.item
        and verdicts.agrees(flagged=reading.item.flagged, verdict=reading.verdict) is False
    ]


def _with_notes(readings: Sequence[Reading]) -> list[tuple[Reading, str]]:
    """Readings with the reason why they are no reference labels."""
    usable = usable_as_reference(readings)
    return [(reading, why_no_reference(reading, usable=reading.pk in usable)) for reading in readings]


def refuse_verdicts(person: User, readings: Sequence[Reading]) -> None:
    """Raises PermissionDenied if a file with these readings would hold a film that is withheld from the person."""
    refuse_file(person, Image.objects.filter(pk__in={reading.image_id for reading in readings}))


def record_verdicts(person: User, worklist: Worklist, readings: Sequence[Reading]) -> None:
    """Record that the person is shown these verdicts of others, and which of the films are flagged."""
    record_shown(person, (row.image.uuid for row in readings), [SCORE], runs=[worklist.run.uuid])
    record_shown(person, (row.image.uuid for row in readings if row.reader_id != person.pk), [LABEL])


@require_GET
def table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The current readings, as CSV; refused whole while a film of them is withheld from the person."""
    worklist = _worklist(request, uuid)
    notice = ". ".join([*([RANDOM_WEIGHTS] if worklist.run.random_weights else []), NOTICE])
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="readings-{worklist.uuid}.csv"'
    writer = csv.writer(response)
    writer.writerow(_COLUMNS)
    readings = readings_of(worklist)
    refuse_verdicts(request.user, readings)
    record_verdicts(request.user, worklist, readings)
    usable = usable_as_reference(readings)
    codes = {patient: code for code, patient in enumerate(sorted({reading.image.patient_id for reading in readings}))}
    for reading in readings:
        values = _row(reading, codes[reading.image.patient_id], reading.pk in usable, notice)
        writer.writerow([escape_formula(value) for value in values])
    return response


def _row(reading: Reading, patient: int, usable: bool, notice: str) -> list[Any]:
    assert reading.item is not None
    boxes = "; ".join(
        f"{b['x']:g} {b['y']:g} {b['width']:g} {b['height']:g} {b['finding']}".strip() for b in reading.boxes
    )
    return [
        reading.image.uuid, patient, reading.reader.username, reading.item.repeat, reading.stage, reading.verdict,
        "" if reading.confidence is None else reading.confidence, reading.agreement, reading.reason,
        "; ".join(reading.findings), reading.comment, boxes, reading.item.flagged,
        _score_words(reading), reading.item.flagged_by, reading.sampling_probability,
        reading.model_shown, reading.heatmap_shown, reading.label_shown, reading.exposure_known, usable,
        why_no_reference(reading, usable=usable), f"{reading.active_seconds:.1f}", f"{reading.total_seconds:.1f}",
        reading.created_at.isoformat(), notice,
    ]  # fmt: skip


def _score_words(reading: Reading) -> str:
    assert reading.item is not None
    is_combined = reading.item.worklist.score == ScoreKind.COMBINED
    return "semi-supervised combined" if is_combined else "one-class"


@require_POST
def propose_adjudication(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Propose the readings in `reading` (repeated) for a blinded adjudication."""
    worklist = _worklist(request, uuid)
    named = Reading.objects.filter(item__worklist=worklist, uuid__in=_uuids(request.POST.getlist("reading")))
    try:
        for reading in named.select_related("image__dataset__site"):
            verdicts.propose_adjudication(reading=reading, author=request.user)
    except ReadingRefused as refusal:
        messages.warning(request, str(refusal))
    else:
        count = named.count()
        words = f"{count} film{'' if count == 1 else 's'} proposed for a blinded adjudication."
        messages.success(request, words if count else "No reading was chosen; tick some first.")
    return redirect("analysis:worklist", worklist.uuid)


def _uuids(texts: list[str]) -> list[UUID]:
    uuids = []
    for text in texts:
        try:
            uuids.append(UUID(text))
        except ValueError:  # text that is not a UUID names no reading
            continue
    return uuids


def _worklist(request: SignedInRequest, uuid: UUID) -> Worklist:
    rows = Worklist.objects.select_related("run__site", "run__detector__split", "created_by")
    worklist = get_visible(rows, request.user, uuid)
    require_summary(request.user, worklist)
    return worklist
