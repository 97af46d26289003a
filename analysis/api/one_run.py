"""What the parts of an evaluation's page show, by API: the same functions, the same numbers."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.looking import CannotEvaluate
from analysis.operating_point import InvalidOperatingPoint
from analysis.views.asking import get_evaluation
from analysis.views.precision import precision_for
from portal.signed_in import person

PART = OpenApiParameter("part", str, description="tune or test")
WEIGHT = OpenApiParameter("weight", float, description="0, 0.01 … 1; on test only the run's")


class PrecisionOfOne(APIView):
    """Average precision and partial AUROC by kind of score, and rates at thresholds that calibrate or tune fixed."""

    @extend_schema(parameters=[PART, WEIGHT], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            found, _ = precision_for(evaluation, request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(found.to_json() | {"random_weights": evaluation.run.random_weights})
