"""API of reader studies: assignments, the reveal, the reference, results and exports."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.looks import CannotEvaluate
from analysis.models import ReferenceSource, StudyReference, Worklist, WorklistItem
from analysis.reading import verdicts
from analysis.reading.assignments import AssignmentRefused, assign, readers_named, unassign
from analysis.reading.revealing import model_result
from analysis.reading.study_reference import ReferenceRefused, state_reference
from analysis.reading.study_results import require_study, study_results
from analysis.reading.verdicts import ReadingRefused
from analysis.reading.worklist_summary import require_summary
from analysis.report.study_tables import Layout
from analysis.views.reader_studies import study_file
from portal.models import User
from portal.people.access import get_visible
from portal.people.signed_in import person


class RevealedSerializer(serializers.Serializer[Any]):
    score = serializers.FloatField(allow_null=True, help_text="None for a film that the run could not read.")
    flagged = serializers.BooleanField(help_text="Whether the score reaches the threshold of the worklist.")
    percentile = serializers.FloatField(
        allow_null=True, help_text="Percent of the calibration normals with a lower score."
    )
    normals = serializers.IntegerField(help_text="How many calibration normals there are.")
    words = serializers.CharField()


class Reveal(APIView):
    @extend_schema(request=None, responses=RevealedSerializer)
    def post(self, request: Request, uuid: UUID, item_uuid: UUID) -> Response:
        """What the model says about a film of a reader study, once your reading without it is stored. It is recorded
        that you have seen score and heatmap."""
        worklist = get_visible(Worklist.objects.select_related("run__site"), person(request), uuid)
        items = WorklistItem.objects.select_related("image", "worklist__run__site")
        item = items.filter(worklist=worklist, uuid=item_uuid).first()
        if item is None:
            raise Http404("The worklist has no such film.")
        try:
            result = model_result(item)
            verdicts.reveal(item=item, reader=person(request))
        except (ReadingRefused, CannotEvaluate) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(RevealedSerializer(result).data)


class NewAssignmentsSerializer(serializers.Serializer[Any]):
    readers = serializers.ListField(child=serializers.CharField(max_length=150), help_text="Usernames.")


class AssignmentsSerializer(serializers.Serializer[Any]):
    readers = serializers.ListField(child=serializers.CharField())


class NewReferenceSerializer(serializers.Serializer[Any]):
    source = serializers.ChoiceField(choices=ReferenceSource.choices)  # type: ignore[assignment]
    statement = serializers.CharField(max_length=500, help_text="Who labelled the films, and from what.")
    label_cutoff = serializers.DateTimeField(required=False, help_text="Now, unless sent.")


class ReferenceSerializer(serializers.ModelSerializer[StudyReference]):
    class Meta:
        model = StudyReference
        fields = ["uuid", "source", "statement", "label_cutoff", "created_at"]


def _worklist(user: User, uuid: UUID) -> Worklist:
    return get_visible(Worklist.objects.select_related("run__site", "run__detector__split"), user, uuid)


def _study(user: User, uuid: UUID) -> Worklist:
    worklist = _worklist(user, uuid)
    require_study(user, worklist)
    if not worklist.design:
        raise Http404("This worklist is not a reader study.")
    return worklist


class Assignments(APIView):
    """To whom a worklist is assigned; nobody means every reader of the site. For those who make worklists."""

    @extend_schema(responses=AssignmentsSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        worklist = _worklist(person(request), uuid)
        require_summary(person(request), worklist)
        return Response(_assignments(worklist))

    @extend_schema(request=NewAssignmentsSerializer, responses={200: AssignmentsSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        worklist = _worklist(person(request), uuid)
        require_summary(person(request), worklist)
        serializer = NewAssignmentsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            named = readers_named(worklist.run.site, serializer.validated_data["readers"])
            assign(worklist=worklist, readers=named, author=person(request))
        except AssignmentRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_assignments(worklist))


def _assignments(worklist: Worklist) -> dict[str, list[str]]:
    return {"readers": list(worklist.assignments.values_list("reader__username", flat=True))}


class OneAssignment(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, uuid: UUID, username: str) -> Response:
        """Take the worklist from a reader who has not begun it."""
        worklist = _worklist(person(request), uuid)
        require_summary(person(request), worklist)
        assignment = worklist.assignments.filter(reader__username=username).select_related("reader").first()
        if assignment is None:
            raise Http404("The worklist is not assigned to this person.")
        try:
            unassign(worklist=worklist, reader=assignment.reader, author=person(request))
        except AssignmentRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(status=status.HTTP_204_NO_CONTENT)


class Reference(APIView):
    @extend_schema(request=NewReferenceSerializer, responses={201: ReferenceSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """State what the readers of a study are compared with. Films of test make it a look at test."""
        worklist = _study(person(request), uuid)
        serializer = NewReferenceSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        try:
            reference = state_reference(
                worklist=worklist, author=person(request), cutoff=values.pop("label_cutoff", None), **values
            )
        except ReferenceRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(ReferenceSerializer(reference).data, status=status.HTTP_201_CREATED)


class StudyResults(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID) -> Response:
        """Progress and agreement; with a reference also readers against the model, and with against without it."""
        return Response(study_results(_study(person(request), uuid)))


class StudyCsv(APIView):
    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID, layout: Layout) -> HttpResponse:
        """The ratings for R packages, in the long format or that of iMRMC."""
        return study_file(person(request), _study(person(request), uuid), layout)
