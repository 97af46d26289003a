"""API of the fusion weight of an evaluation; on test another weight than the run's is a counted look."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.api.errors import refused
from analysis.evaluation.evaluate import aurocs, look_at_weight, sweep_of
from analysis.evaluation.looks import CannotEvaluate, looks_at_test
from analysis.evaluation.scored_parts import evaluated_part
from analysis.views.query_parameters import get_evaluation, get_part, get_weight, is_a_look
from portal.people.signed_in import person


class WeightRequest(serializers.Serializer[None]):
    part = serializers.CharField(max_length=9, required=False, help_text="tune or test")
    weight = serializers.FloatField(help_text="0, 0.01 … 1")


class Weight(APIView):
    @extend_schema(request=WeightRequest, responses=dict[str, Any])
    def post(self, request: Request, uuid: UUID) -> Response:
        """The AUROCs of a part at a fusion weight. On test another weight than the run's is a look: counted unless it
        was looked at before, and refused while test is sealed."""
        evaluation = get_evaluation(person(request), uuid)
        asked = WeightRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        part = get_part(evaluation, asked.validated_data.get("part", ""))
        weight = get_weight(str(asked.validated_data["weight"]))
        if weight is None:
            raise ValidationError({"weight": ["The weight is not one of 0, 0.01 … 1."]})
        try:
            if is_a_look(evaluation, part, weight):
                look_at_weight(evaluation=evaluation, author=person(request), weight=weight)
            scored = evaluated_part(evaluation, part)
            areas = aurocs(scored, sweep_of(scored), weight=weight)
        except CannotEvaluate as error:
            return refused(error)
        return Response(
            {
                "part": part,
                "weight": weight,
                "auroc": {kind: asdict(area) for kind, area in areas.items()},
                "looks_at_test": looks_at_test(evaluation.split),
                "random_weights": evaluation.run.random_weights,
            }
        )
