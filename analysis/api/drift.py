"""API of the drift of a detector's scores."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.api.errors import refused
from analysis.evaluation.looks import CannotEvaluate
from analysis.sections.drift import drift_of
from analysis.views.drift import detector_of_run, drift_file
from portal.api.renderers import Csv
from portal.people.signed_in import person


class DriftOfDetector(APIView):
    """Scores of a detector by import against its calibration normals, for the run that fitted the detector."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        detector = detector_of_run(person(request), uuid)
        try:
            result = drift_of(detector)
        except CannotEvaluate as error:
            return refused(error)
        return Response(result.to_json() | {"random_weights": detector.random_weights})


class DriftCsv(APIView):
    """The data of the figure of drift: two rows for each import, all its films and the normal ones."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse | Response:
        try:
            return drift_file(detector_of_run(person(request), uuid)).response()
        except CannotEvaluate as error:
            return refused(error)
