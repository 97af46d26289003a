"""API of exports: the same files as on the pages."""

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.looks import CannotEvaluate
from analysis.evaluation.operating_point import RULES
from analysis.models import ScoreKind
from analysis.report.figure_tables import COMPARED, FIGURES
from analysis.report.risk_tables import RISK_FIGURES
from analysis.views.exports import CannotExportTable, Download, compared_figure_of, figure_of, report_of
from analysis.views.query_parameters import OF_OPERATING_POINT
from analysis.views.split_data import requested_split, table_one_file
from portal.api.renderers import Csv, FileRenderer
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import person


class Pdf(FileRenderer):
    media_type = "application/pdf"
    format = "pdf"


@accepts_query(*OF_OPERATING_POINT)
class FigureCsv(APIView):
    """The data of a figure of an evaluation: columns with units, n and intervals; the last column holds the notices."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(
        parameters=[
            OpenApiParameter("name", str, OpenApiParameter.PATH, enum=[*FIGURES, *RISK_FIGURES]),
            OpenApiParameter("part", str, description="tune or test"),
            OpenApiParameter("weight", float, description="0, 0.01 … 1; on test the run's, or one looked at before"),
            OpenApiParameter("score", str, enum=ScoreKind.values, description="of the operating point and the flow"),
            OpenApiParameter("rule", str, enum=list(RULES), description="of the operating point"),
            OpenApiParameter("target", float, description="of the operating point"),
            OpenApiParameter(
                "prevalence", float, description="of the operating point, and of calibration and decision"
            ),
        ],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, uuid: UUID, name: str) -> HttpResponse | Response:
        try:
            return figure_of(person(request), uuid, name, request.query_params).response()
        except CannotExportTable as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)


@accepts_query("part", "reference", repeated="evaluation")
class ComparisonCsv(APIView):
    """The data of a figure of a comparison of two to six evaluations."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(
        parameters=[
            OpenApiParameter("name", str, OpenApiParameter.PATH, enum=list(COMPARED)),
            OpenApiParameter("evaluation", UUID, many=True, required=True),
            OpenApiParameter("part", str, description="tune or test; by default the first that all have"),
            OpenApiParameter("reference", UUID, description="one of the evaluations; the others are compared with it"),
        ],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, name: str) -> HttpResponse | Response:
        try:
            download: Download = compared_figure_of(person(request), name, request.query_params)
        except CannotExportTable as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return download.response()


class TableOneCsv(APIView):
    """Table 1 of a split: patients and films of each part by label, with standardised differences, as it is printed on
    the page. The numbers behind it are those of the split's data."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse:
        return table_one_file(requested_split(person(request), uuid))


@accepts_query("rule", "target", "prevalence")
class ReportPdf(APIView):
    """An evaluation as one PDF: figures, tables, data, settings, provenance, methods. Each download is audited."""

    renderer_classes = [JSONRenderer, Pdf]

    @extend_schema(
        parameters=[
            OpenApiParameter("rule", str, enum=list(RULES), description="of the operating point"),
            OpenApiParameter("target", float, description="of the operating point"),
            OpenApiParameter("prevalence", float, description="of the operating point"),
        ],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, uuid: UUID) -> HttpResponse | Response:
        try:
            return report_of(person(request), uuid, request.query_params).response()
        except CannotExportTable as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
