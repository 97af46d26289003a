"""What the parts of an evaluation's page show, by API: the same functions, the same numbers."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import RULES, InvalidOperatingPoint
from analysis.sections.data_flow import data_of
from analysis.sections.galleries import WORDS
from analysis.views.aligned import aligned_for
from analysis.views.galleries import galleries_for
from analysis.views.localising import localised_for
from analysis.views.precision import precision_for
from analysis.views.query_parameters import get_evaluation
from portal.people.signed_in import person

OPERATING = [
    OpenApiParameter("rule", str, enum=list(RULES)),
    OpenApiParameter("target", float, description="share that fixes the threshold, 0.5 to 0.999"),
]
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


class Galleries(APIView):
    """The films to look at first, by kind: the surest and the worst calls at an operating point, 12 a page. Films whose
    scores the person may not see yet are counted and not named."""

    @extend_schema(
        parameters=[
            PART,
            WEIGHT,
            *OPERATING,
            OpenApiParameter("kind", str, enum=list(WORDS)),
            OpenApiParameter("page", int, description="of 12 films, from 1"),
        ],
        responses=dict[str, Any],
    )
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            reached, found = galleries_for(evaluation, person(request), request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(
            {
                "part": reached.part,
                "weight": reached.weight,
                "threshold": reached.threshold,
                "reason": reached.reason,
                "galleries": {one.kind: one.to_json() for one in found},
                "random_weights": evaluation.run.random_weights,
            }
        )


class Localisation(APIView):
    """Where the maps are high, against boxes: AUPRO, pixel AUROC, pointing game, FROC, boxes reached, by finding."""

    @extend_schema(parameters=[PART, WEIGHT], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            found = localised_for(evaluation, request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(found | {"random_weights": evaluation.run.random_weights})


class Alignment(APIView):
    """How well the films of a part are aligned, the AUROC of films aligned well and of those flagged, and the worst."""

    @extend_schema(parameters=[PART], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            found = aligned_for(evaluation, person(request), request.query_params)
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(found | {"random_weights": evaluation.run.random_weights})


class DataOfOne(APIView):
    """Films by part and label, what was left out and why, cut-offs, and looks at the test part."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return Response(data_of(get_evaluation(person(request), uuid)))
