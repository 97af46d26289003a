"""The page "How many films do I need"."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.sections.study_size import QUESTIONS, InvalidStudySize, study_size
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import SignedInRequest

FIELDS = ("kind", *dict.fromkeys(name for question in QUESTIONS.values() for name in question.fields))


@require_GET
@accepts_query(*FIELDS)
def study_sizes(request: SignedInRequest) -> HttpResponse:
    """Every question with an answer: the one asked at the numbers given, the others at their defaults. It needs no
    data, so everybody who is signed in may ask."""
    asked, status = request.GET.get("kind", ""), 200
    rows: list[dict[str, Any]] = []
    for kind, question in QUESTIONS.items():
        row: dict[str, Any] = {"kind": kind, "question": question, "fault": ""}
        query = request.GET if kind == asked else {}
        try:
            row["size"] = study_size(query, kind=kind)
        except InvalidStudySize as refusal:
            row["fault"], status = str(refusal), 400
        row["fields"] = [
            (name, field, query.get(name) if name in query else field.default)
            for name, field in question.fields.items()
        ]
        rows.append(row)
    fault = "" if asked in ("", *QUESTIONS) else f"There is no question {asked[:20]!r}: choose one of those below."
    context = {"room": "data", "rows": rows, "fault": fault, "asked": asked}
    return render(request, "analysis/study_size.html", context, status=400 if fault else status)
