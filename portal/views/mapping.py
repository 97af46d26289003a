"""What the columns of an upload's tables mean: the page of an upload that waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.intake.column_questions import Question, QuestionTable, answer, discard, open_question, require_answer
from portal.intake.csv_columns import may_be_kept
from portal.intake.csv_labels import InvalidCsv
from portal.intake.further_columns import LONGEST_LEVEL, MOST_LEVELS, RARE_ROWS, SIGNIFICANT_DIGITS, ColumnKind
from portal.intake.import_preview import MappingPreview
from portal.intake.mapping.guesses import guess_meanings
from portal.intake.mapping.meaning import FIELDS, InvalidMapping, TableKind, TableMapping
from portal.intake.remembered_mappings import made_words
from portal.intake.zip_uploads import InvalidUpload
from portal.models import Upload
from portal.people.access import get_visible, may, require
from portal.people.signed_in import SignedInRequest

VALUES_SHOWN = 30
ROWS_COUNTED_AT_ONCE = 20_000  # after each change; counting more takes seconds
KINDS = ((TableKind.LABELS, "labels of films"), (TableKind.BOXES, "boxes"), (TableKind.ASIDE, "left aside"))
FIELD_WORDS = {
    "filename": "File name",
    "image": "UUID of a film in Hilum",
    "label": "Label",
    "finding": "Findings",
    "patient_id": "Patient",
    "projection": "View",
    "split": "Split",
    "attributes": "Attributes of normals",
    "sex": "Sex",
    "age": "Age",
    "x": "x, left",
    "y": "y, top",
    "width": "Width",
    "height": "Height",
    "x_min": "x_min, left",
    "y_min": "y_min, top",
    "x_max": "x_max, right",
    "y_max": "y_max, bottom",
}
# The values of the choices; a text that is not empty, since an empty one means that no choice was made.
_NO_LABEL = "none"
CHOICES = (
    *(("normal", "normal"), ("abnormal", "abnormal"), ("unsure", "unsure"), ("exclude", "excluded")),
    (_NO_LABEL, "not a label"),
)


@dataclass(frozen=True)
class FieldChoice:
    name: str
    words: str
    chosen: int | None  # place of the column


@dataclass(frozen=True)
class ValueChoice:
    name: str
    value: str
    rows: int
    chosen: str


@dataclass(frozen=True)
class TableForm:
    """A table of the question as the page shows it."""

    number: int
    table: QuestionTable
    mapping: TableMapping

    @property
    def prefix(self) -> str:
        return f"t{self.number}-"

    @property
    def fields(self) -> list[FieldChoice]:
        columns = self.table.facts.columns
        return [
            FieldChoice(
                f"{self.prefix}field-{name}",
                FIELD_WORDS[name],
                columns.index(self.mapping.columns[name]) if name in self.mapping.columns else None,
            )
            for name in FIELDS[self.mapping.kind]
        ]

    @property
    def columns(self) -> list[tuple[int, str, str]]:
        """Place and name of each column, and what it is used for."""
        uses: dict[str, list[str]] = {column: [] for column in self.table.facts.columns}
        for field, column in self.mapping.columns.items():
            uses[column].append(FIELD_WORDS[field])
        kept = self.mapping.keep if self.mapping.kind == TableKind.LABELS else {}
        return [
            (place, column, ", ".join(uses[column]) or (f"kept as a {kept[column]}" if column in kept else "left out"))
            for place, column in enumerate(self.table.facts.columns)
        ]

    @property
    def further(self) -> list[tuple[int, str, bool, str]]:
        """Place and name of each column without a field, whether it may be kept, and as what it is."""
        return [
            (place, column, may_be_kept(column), str(self.mapping.keep.get(column, "")))
            for place, column in enumerate(self.table.facts.columns)
            if column not in self.mapping.columns.values()
        ]

    @property
    def label_column(self) -> str:
        return self.mapping.columns.get("label", "") if self.mapping.kind == TableKind.LABELS else ""

    @property
    def values(self) -> list[ValueChoice]:
        """The most frequent values of the label column."""
        if not self.label_column:
            return []
        counts = list(self.table.facts.values_of(self.label_column).counts.items())[:VALUES_SHOWN]
        prefix = f"{self.prefix}{self._place}-value-"
        return [
            ValueChoice(f"{prefix}{number}", value, rows, _choice(self.mapping.labels.get(value.casefold())))
            for number, (value, rows) in enumerate(counts)
        ]

    @property
    def others(self) -> ValueChoice | None:
        """The values beyond those that are shown, if there are any."""
        if not self.label_column:
            return None
        values = self.table.facts.values_of(self.label_column)
        further = list(values.counts.values())[VALUES_SHOWN:]
        if not further and values.is_complete:
            return None
        words = f"every other value ({'at least ' if not values.is_complete else ''}{len(further)})"
        return ValueChoice(
            f"{self.prefix}{self._place}-others", words, sum(further), _choice(self.mapping.other_values)
        )

    @property
    def remembered_words(self) -> str:
        return made_words(self.table.remembered) if self.table.remembered else ""

    @property
    def _place(self) -> int:
        return self.table.facts.columns.index(self.label_column)


def _choice(meaning: str | None) -> str:
    return "" if meaning is None else meaning or _NO_LABEL


def _meaning(choice: str) -> str:
    return "" if choice == _NO_LABEL else choice


@require_http_methods(["GET", "POST"])
def mapping(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """The tables with a draft of their mapping, and what it would do; `import` answers with it."""
    upload = _upload(request, uuid)
    require_answer(upload, request.user)
    if upload.state != Upload.State.MAPPING:
        messages.info(request, "This upload does not wait any more: it was discarded, or its import has begun.")
        return redirect("portal:dataset", upload.dataset.uuid)
    try:
        with open_question(upload) as question:
            return _page(request, question)
    except (InvalidUpload, InvalidCsv) as error:
        context = {"dataset": upload.dataset, "sentence": str(error)}
        return render(request, "portal/upload_refused.html", context, status=400)


def _page(request: SignedInRequest, question: Question) -> HttpResponse:
    upload = question.upload
    forms = [_table_form(number, table, request.POST) for number, table in enumerate(question.tables)]
    patients = request.POST.get("patients", upload.patients)
    mappings = {form.table.key: form.mapping for form in forms}
    preview: MappingPreview | None = None
    fault = ""
    try:
        if "import" in request.POST:
            answer(upload=upload, mappings=mappings, patients=patients, author=request.user)
            return redirect("portal:dataset", upload.dataset.uuid)
        preview = question.preview(mappings)
    except InvalidMapping as error:
        fault = str(error)
    context = {
        "room": "data",
        "upload": upload,
        "dataset": upload.dataset,
        "forms": forms,
        "kinds": KINDS,
        "choices": CHOICES,
        "patients": patients,
        "patients_choices": Upload.Patients.choices,
        "preview": preview,
        "labels": _labels(preview),
        "findings": sorted(preview.findings.items(), key=lambda pair: (-pair[1], pair[0])) if preview else [],
        "fault": fault,
        "may_keep": may(request.user, "keep further columns", upload.dataset.site),
        "kept_kinds": list(ColumnKind),
        "rules_of_kept": {
            "digits": SIGNIFICANT_DIGITS,
            "rare": RARE_ROWS,
            "levels": MOST_LEVELS,
            "longest": LONGEST_LEVEL,
        },
        "counts_at_once": sum(form.table.facts.rows for form in forms) <= ROWS_COUNTED_AT_ONCE,
    }
    return render(request, "portal/mapping.html", context, status=400 if fault and "import" in request.POST else 200)


def _labels(preview: MappingPreview | None) -> list[tuple[str, str, int]]:
    """Label, its words, and the films that would have it."""
    if preview is None:
        return []
    words = [("normal", "normal"), ("abnormal", "abnormal"), ("unsure", "unsure"), ("exclude", "excluded")]
    return [(label, text, preview.labels.get(label, 0)) for label, text in [*words, ("", "without a label")]]


@require_POST
def discard_waiting(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    upload = _upload(request, uuid)
    try:
        discard(upload=upload, author=request.user)
    except InvalidUpload as error:
        messages.warning(request, str(error))
    return redirect("portal:dataset", upload.dataset.uuid)


def _upload(request: SignedInRequest, uuid: UUID) -> Upload:
    uploads = Upload.objects.select_related("dataset__site", "uploaded_by")
    upload = get_visible(uploads, request.user, uuid)
    request.hilum_site = require(request.user, "import films", upload.dataset.site)
    return upload


def _table_form(number: int, table: QuestionTable, data: QueryDict) -> TableForm:
    """The table with what the page sent, or with its draft."""
    form = TableForm(number, table, table.draft)
    if f"{form.prefix}kind" not in data:
        return form
    kind = data[f"{form.prefix}kind"]
    if kind not in list(TableKind):
        return form
    if kind != data.get(f"{form.prefix}shown"):  # the fields on the page were those of another kind
        return replace(form, mapping=_of_other_kind(table, TableKind(kind)))
    return replace(form, mapping=_sent_mapping(form, TableKind(kind), data))


def _of_other_kind(table: QuestionTable, kind: TableKind) -> TableMapping:
    columns = {field: column for field, column in table.draft.columns.items() if field in FIELDS[kind]}
    labels = table.draft.labels if "label" in columns else {}
    return TableMapping(kind, columns, table.draft.keep, labels, table.draft.other_values if labels else None)


def _sent_mapping(form: TableForm, kind: TableKind, data: QueryDict) -> TableMapping:
    facts, prefix = form.table.facts, form.prefix
    columns = {
        field: facts.columns[place]
        for field in FIELDS[kind]
        if (place := _place(data.get(f"{prefix}field-{field}", ""), facts.columns)) is not None
    }
    kept = {
        name: ColumnKind(str(data[f"{prefix}keep-{place}"]))
        for place, name in enumerate(facts.columns)
        if data.get(f"{prefix}keep-{place}") in list(ColumnKind) and name not in columns.values()
    }
    mapping = TableMapping(kind, columns, kept, form.mapping.labels)
    if "label" not in columns:
        return replace(mapping, labels={})
    values = list(facts.values_of(columns["label"]).counts)
    sent = replace(form, mapping=mapping)
    others = data.get(sent.others.name, "") if sent.others else ""
    choices = {value.casefold(): data.get(each.name) for value, each in zip(values, sent.values, strict=False)}
    if all(choice is None for choice in choices.values()):  # another column was chosen for the label just now
        is_draft = form.mapping.columns.get("label") == columns["label"]
        labels = dict(form.mapping.labels) if is_draft else guess_meanings(facts.values_of(columns["label"]))
    else:
        labels = {value: _meaning(choice) for value, choice in choices.items() if choice}
    return replace(mapping, labels=labels, other_values=_meaning(others) if others else None)


def _place(text: str, columns: Sequence[str]) -> int | None:
    return int(text) if text.isdecimal() and int(text) < len(columns) else None
