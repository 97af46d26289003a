"""API of the number of films that a study needs."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.sections.study_size import QUESTIONS, InvalidStudySize, study_size
from analysis.views.study_size import FIELDS
from portal.people.accepted_query import accepts_query

_WORDS = {name: field.words for question in QUESTIONS.values() for name, field in question.fields.items()}


@accepts_query(*FIELDS)
class StudySizes(APIView):
    """How many films a study needs, or which power the films at hand have."""

    @extend_schema(
        parameters=[
            OpenApiParameter("kind", str, enum=list(QUESTIONS), description="the question; auroc by default"),
            *(OpenApiParameter(name, float, description=words) for name, words in _WORDS.items()),
        ],
        responses=dict[str, Any],
    )
    def get(self, request: Request) -> Response:
        kind = request.query_params.get("kind") or "auroc"
        if kind in QUESTIONS:
            of_other = sorted(set(request.query_params) - {"kind", *QUESTIONS[kind].fields})
            if of_other:
                raise ValidationError({"detail": f"The question {kind!r} has no field {of_other[0]!r}: leave it out."})
        try:
            return Response(asdict(study_size(request.query_params, kind=kind)))
        except InvalidStudySize as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
