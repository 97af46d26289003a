"""API of evaluations, with the same functions and counted looks as the pages."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.evaluate import evaluate
from analysis.evaluation.looks import CannotEvaluate, with_looks
from analysis.evaluation.operating_point import RULES, InvalidOperatingPoint
from analysis.evaluation.selection import selection_of
from analysis.models import Evaluation, ScoreKind
from analysis.report.score_table import score_table
from analysis.sections import realised_alarms
from analysis.sections.breakdown import break_down
from analysis.sections.comparison import CannotCompare, ComparedRun
from analysis.sections.table_one import flow, table_one
from analysis.views.comparison import requested_comparison
from analysis.views.operating import result_with_alarms
from analysis.views.query_parameters import OF_OPERATING_POINT, get_evaluation, get_part
from ml_engine.models import Run
from portal.api.renderers import Csv
from portal.models import Part, Split
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require, sites_where
from portal.people.signed_in import person


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    run = serializers.UUIDField(source="run.uuid", read_only=True)
    split = serializers.UUIDField(source="split.uuid", read_only=True)
    looks_at_test = serializers.IntegerField(source="looks_of_split", read_only=True)
    random_weights = serializers.BooleanField(
        source="run.random_weights", read_only=True, help_text="True: random weights, not for evaluation."
    )

    selection = serializers.SerializerMethodField(
        help_text="If settings were chosen on tune: the AUROC of the selection procedure, to be quoted for tune in "
        "place of that of the chosen settings, which is optimistic. Otherwise null."
    )

    class Meta:
        model = Evaluation
        fields = [
            "uuid", "run", "split", "label_cutoff", "created_at", "metrics", "selection", "looks_at_test",
            "random_weights",
        ]  # fmt: skip

    def get_selection(self, evaluation: Evaluation) -> dict[str, Any] | None:
        estimate = selection_of(evaluation, Part.TUNE)
        return asdict(estimate) if estimate else None


def _evaluations() -> QuerySet[Evaluation]:
    return with_looks(Evaluation.objects.select_related("run__site", "run__detector", "split"))


class Evaluations(generics.ListAPIView[Evaluation]):
    serializer_class = EvaluationSerializer
    queryset = Evaluation.objects.none()

    def get_queryset(self) -> QuerySet[Evaluation]:
        sites = sites_where(person(self.request), "see scores")
        return _evaluations().filter(run__site__in=sites)


class OneEvaluation(APIView):
    @extend_schema(responses=EvaluationSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_visible(_evaluations(), person(request), uuid)
        require(person(request), "see scores", evaluation.run.site)
        return Response(EvaluationSerializer(evaluation).data)


class ScoreTable(APIView):
    """Every evaluated film with its label and scores, as CSV; the same file as on the page."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): str})
    def get(self, request: Request, uuid: UUID) -> HttpResponse | Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            text = score_table(evaluation, viewer=person(request))
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return HttpResponse(text, content_type="text/csv; charset=utf-8")


@accepts_query(*OF_OPERATING_POINT)
class Operating(APIView):
    """A threshold fixed on calibrate or tune, and its results on a part: counts, rates, predictive values."""

    @extend_schema(
        parameters=[
            OpenApiParameter("part", str, description="tune or test"),
            OpenApiParameter("weight", float, description="0, 0.01 … 1; on test only the run's"),
            OpenApiParameter("score", str, enum=ScoreKind.values, description="one-class (default), or combined"),
            OpenApiParameter("rule", str, enum=list(RULES)),
            OpenApiParameter("target", float, description="share that fixes the threshold, 0.5 to 0.999"),
            OpenApiParameter("prevalence", float, description="0.0001 to 0.5, taken as known"),
        ],
        responses=dict[str, Any],
    )
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            reached, alarms = result_with_alarms(evaluation, request.query_params)
        except InvalidOperatingPoint as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        by_group = {"false_alarm_rates": realised_alarms.to_json(alarms)}
        return Response(reached.to_json() | by_group | {"random_weights": evaluation.run.random_weights})


@accepts_query("part")
class BreakdownOfOne(APIView):
    """AUROC at the run's weight by finding and group, with other treatments of labels, and of trivial scores."""

    @extend_schema(parameters=[OpenApiParameter("part", str, description="tune or test")], responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        evaluation = get_evaluation(person(request), uuid)
        try:
            groups = break_down(evaluation, part=get_part(evaluation, request.query_params.get("part", "")))
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(asdict(groups) | {"random_weights": evaluation.run.random_weights})


@accepts_query("part", "reference", repeated="evaluation")
class Compare(APIView):
    """Two to six evaluations on the films that all their runs scored; the others are compared with the reference, which
    comes first. The films that two runs call differently are in the figure `scatter`."""

    @extend_schema(
        parameters=[
            OpenApiParameter("evaluation", UUID, many=True, required=True),
            OpenApiParameter("part", str, description="tune or test; by default the first that all have"),
            OpenApiParameter("reference", UUID, description="one of the evaluations; the others are compared with it"),
        ],
        responses=dict[str, Any],
    )
    def get(self, request: Request) -> Response:
        try:
            compared, _ = requested_comparison(person(request), request.query_params)
        except CannotCompare as error:
            raise ValidationError({"detail": str(error)}) from error
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)
        return Response(
            {
                "part": compared.part,
                "films": len(compared.images),
                "settings": compared.settings,
                "seeds": compared.seeds and asdict(compared.seeds),
                "runs": [_run_json(*row) for row in zip(compared.rows, compared.left_out, strict=True)],
            }
        )


def _run_json(row: ComparedRun, left_out: int) -> dict[str, Any]:
    return {
        "evaluation": row.evaluation.uuid,
        "run": row.evaluation.run.uuid,
        "random_weights": row.evaluation.run.random_weights,
        "weight": row.weight,
        "left_out": left_out,
        "auroc": asdict(row.auroc),
        "difference": row.difference and asdict(row.difference),
        "declared": row.declared,
        "adjusted_p_value": row.adjusted_p_value,
        "findings": [asdict(finding) for finding in row.findings],
    }


class SplitData(APIView):
    """The data of a split: the flow from files to parts, and Table 1: each part with its differences from fit, and
    `by_label` its normal films (compared with those of fit) and abnormal films (with the part's normal ones)."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        split = get_visible(Split.objects.select_related("site"), person(request), uuid)
        require(person(request), "see the site", split.site)
        films = flow(split)
        return Response(
            {
                "flow": asdict(films) | {"since": films.since},
                "parts": [column.to_json() for column in table_one(split).columns],
            }
        )


class Evaluate(APIView):
    @extend_schema(request=None, responses={201: EvaluationSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        run = get_visible(Run.objects.select_related("detector__split", "site"), person(request), uuid)
        try:
            evaluation = evaluate(run=run, author=person(request))
        except CannotEvaluate as error:
            raise ValidationError({"detail": str(error)}) from error
        stored = _evaluations().get(pk=evaluation.pk)
        return Response(EvaluationSerializer(stored).data, status=status.HTTP_201_CREATED)
