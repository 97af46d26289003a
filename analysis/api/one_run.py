"""API of the sections of an evaluation's page, with the same functions and numbers."""

from dataclasses import asdict
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
from analysis.evaluation.scored_parts import evaluated_part
from analysis.models import ScoreKind
from analysis.sections.data_flow import data_of
from analysis.sections.galleries import WORDS
from analysis.sections.recalibration import RisksRefused
from analysis.sections.semi_supervised import compare_head
from analysis.views.aligned import requested_alignment
from analysis.views.galleries import requested_galleries
from analysis.views.localising import requested_localisation
from analysis.views.precision import requested_precision
from analysis.views.query_parameters import OF_OPERATING_POINT, get_evaluation, get_part
from analysis.views.recalibration import requested_risks
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import person

OPERATING = [
    OpenApiParameter("score", str, enum=ScoreKind.values, description="one-class (default), or combined"),
    OpenApiParameter("rule", str, enum=list(RULES)),
    OpenApiParameter("target", float, description="share that fixes the threshold, 0.5 to 0.999"),
    OpenApiParameter("prevalence", float, description="0.0001 to 0.5, taken as known"),
]
PART = OpenApiParameter("part", str, description="tune or test")
WEIGHT = OpenApiParameter("weight", float, description="0, 0.01 … 1; on test only the run's")


@accepts_query("part")
class SemiSupervisedOfOne(APIView):
    """AUROC of the one-class score, of a semi-supervised head and of both combined, with the gain."""

    @extend_schema(parameters=[PART], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        part = get_part(evaluation, request.query_params.get("part", ""))
        try:
            result = compare_head(evaluation, evaluated_part(evaluation, part))
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(asdict(result) | {"random_weights": evaluation.run.random_weights})


@accepts_query("part", "weight")
class PrecisionOfOne(APIView):
    """Average precision and partial AUROC by kind of score, and rates at thresholds fixed on calibrate or tune."""

    @extend_schema(parameters=[PART, WEIGHT], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            results, _ = requested_precision(evaluation, request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(results.to_json() | {"random_weights": evaluation.run.random_weights})


@accepts_query("part", "prevalence")
class RisksOfOne(APIView):
    """Calibration and net benefit of risks on test, by a logistic recalibration fitted on tune, at a stated prevalence.
    Refused with the reason where there is no such recalibration: distances and conformal p-values are not risks."""

    @extend_schema(
        parameters=[
            OpenApiParameter("part", str, description="test; on tune the recalibration was fitted"),
            OpenApiParameter("prevalence", float, description="0.0001 to 0.5, to be stated"),
        ],
        responses=dict[str, Any],
    )
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            risks = requested_risks(evaluation, request.query_params)
        except RisksRefused as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(asdict(risks) | {"random_weights": evaluation.run.random_weights})


@accepts_query(*OF_OPERATING_POINT, "kind", "page")
class Galleries(APIView):
    """Galleries of films by kind: the surest and the worst calls at an operating point, 12 films a page. Films whose
    scores are hidden from you are not named; `hidden` counts them over the whole part. `right_for_the_wrong_reason`
    counts true positives with boxes, and those whose heatmap is highest outside every box (`misses_boxes`)."""

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
            reached, pages, hidden, reasons = requested_galleries(evaluation, person(request), request.query_params)
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
                "hidden": hidden,
                "right_for_the_wrong_reason": asdict(reasons),
                "galleries": {page.kind: page.to_json() for page in pages},
                "random_weights": evaluation.run.random_weights,
            }
        )


@accepts_query("part", "weight")
class Localisation(APIView):
    """Heatmaps compared with boxes: AUPRO, pixel AUROC, pointing game, FROC and boxes reached, by finding."""

    @extend_schema(parameters=[PART, WEIGHT], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            results = requested_localisation(evaluation, request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(results | {"random_weights": evaluation.run.random_weights})


@accepts_query("part")
class Alignment(APIView):
    """Alignment of the films of a part: measures, the AUROC of flagged and other films, and the worst aligned films."""

    @extend_schema(parameters=[PART], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            results = requested_alignment(evaluation, person(request), request.query_params)
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(results | {"random_weights": evaluation.run.random_weights})


class DataOfOne(APIView):
    """Films by part and label, what was left out and why, cut-offs, and looks at the test part."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return Response(data_of(get_evaluation(person(request), uuid)))
