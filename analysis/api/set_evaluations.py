"""API of the way from a dataset to its evaluation."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation import set_evaluation
from analysis.evaluation.set_evaluation import CannotEvaluateSet, SetRequest
from analysis.evaluation.set_progress import progress_of
from analysis.models import SetEvaluation
from ml_engine.core.config import PRESETS
from ml_engine.core.errors import InvalidConfig
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.requests import config_from
from portal.models import Dataset
from portal.people.access import get_visible
from portal.people.signed_in import person


class NewSetEvaluationSerializer(serializers.Serializer[None]):
    name = serializers.CharField(max_length=set_evaluation.LONGEST_NAME, help_text="of the split and the runs")
    preset = serializers.ChoiceField(choices=PRESETS, default="default")
    settings = serializers.DictField(child=serializers.CharField(allow_blank=True), default=dict)
    aligned = serializers.BooleanField(default=True)
    opens_test = serializers.BooleanField(help_text="Also score and evaluate test, which is a counted look.")


class StepSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    state = serializers.ChoiceField(["waiting", "running", "done", "failed"])
    sentence = serializers.CharField(help_text="why the step failed, or how far it is")
    run = serializers.UUIDField(source="run.uuid", default=None, allow_null=True)
    seconds_left = serializers.FloatField(allow_null=True)


class SetEvaluationSerializer(serializers.ModelSerializer[SetEvaluation]):
    dataset = serializers.UUIDField(source="dataset.uuid")
    author = serializers.CharField(source="author.username")
    split = serializers.UUIDField(source="split.uuid", default=None, allow_null=True)
    run = serializers.UUIDField(source="score.uuid", default=None, allow_null=True, help_text="that scores")
    evaluation = serializers.UUIDField(source="evaluation.uuid", default=None, allow_null=True)
    steps = serializers.SerializerMethodField()

    class Meta:
        model = SetEvaluation
        fields = [
            "uuid", "created_at", "dataset", "name", "author", "aligned", "opens_test", "split", "run", "evaluation",
            "steps",
        ]  # fmt: skip

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, row: SetEvaluation) -> Any:
        return StepSerializer(progress_of(row).steps, many=True).data


class EvaluateSet(APIView):
    """Freeze a split of a dataset, fit an alignment and a detector, score and evaluate, in one request. Films that are
    still being imported are waited for."""

    @extend_schema(request=NewSetEvaluationSerializer, responses={201: SetEvaluationSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        serializer = NewSetEvaluationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        try:
            row = set_evaluation.start(
                SetRequest(
                    dataset=dataset,
                    name=values["name"],
                    author=person(request),
                    config=config_from(values["preset"], values["settings"]),
                    aligned=values["aligned"],
                    opens_test=values["opens_test"],
                )
            )
        except (CannotEvaluateSet, InvalidConfig) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(SetEvaluationSerializer(row).data, status=status.HTTP_201_CREATED)


class OneSetEvaluation(APIView):
    @extend_schema(responses=SetEvaluationSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        row = get_visible(set_evaluation.rows(), person(request), uuid)
        return Response(SetEvaluationSerializer(row).data)


class TrySetEvaluationAgain(APIView):
    """Go on after a step failed."""

    @extend_schema(request=None, responses=SetEvaluationSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        row = get_visible(set_evaluation.rows(), person(request), uuid)
        try:
            set_evaluation.try_again(row=row, actor=person(request))
        except RunRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(SetEvaluationSerializer(set_evaluation.rows().get(pk=row.pk)).data)
