"""API of external validations."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.api.errors import refused
from analysis.evaluation.external import validate
from analysis.evaluation.looks import CannotEvaluate
from analysis.models import ExternalValidation
from analysis.sections.external import compare_external
from analysis.views.external import external_file, get_validation, validations
from ml_engine.models import Run
from portal.api.renderers import Csv
from portal.people.access import get_visible, sites_where
from portal.people.signed_in import person


class ExternalValidationSerializer(serializers.ModelSerializer[ExternalValidation]):
    run = serializers.UUIDField(source="run.uuid", read_only=True, help_text="the run that scored the datasets")
    evaluation = serializers.UUIDField(
        source="evaluation.uuid", read_only=True, help_text="on the detector's own split"
    )
    random_weights = serializers.BooleanField(source="run.random_weights", read_only=True)

    class Meta:
        model = ExternalValidation
        fields = ["uuid", "run", "evaluation", "label_cutoff", "created_at", "random_weights"]


class ExternalValidations(generics.ListAPIView[ExternalValidation]):
    """External validations, newest first."""

    serializer_class = ExternalValidationSerializer
    queryset = ExternalValidation.objects.none()

    def get_queryset(self) -> QuerySet[ExternalValidation]:
        return validations().filter(run__site__in=sites_where(person(self.request), "see scores"))


class OneExternalValidation(APIView):
    """Internal and external results of a frozen detector side by side, and how the two populations differ."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        validation = get_validation(person(request), uuid)
        try:
            result = compare_external(validation)
        except CannotEvaluate as error:
            return refused(error)
        return Response({**ExternalValidationSerializer(validation).data, **result.to_json()})


class ExternalCsv(APIView):
    """The data of the figure of an external validation: the points of both ROC curves, with areas and rates."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse | Response:
        try:
            return external_file(get_validation(person(request), uuid)).response()
        except CannotEvaluate as error:
            return refused(error)


class ValidateExternally(APIView):
    """Validate a detector on datasets that this run scored: a look at each test part that holds one of the films."""

    @extend_schema(request=None, responses={201: ExternalValidationSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        run = get_visible(Run.objects.select_related("detector__split", "site"), person(request), uuid)
        try:
            validation = validate(run=run, author=person(request))
        except CannotEvaluate as error:
            return refused(error)
        return Response(ExternalValidationSerializer(validation).data, status=status.HTTP_201_CREATED)
