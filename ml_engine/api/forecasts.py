"""What a run would take on this machine, before it is requested, by API."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_engine.api.serializers import (
    NewAlignmentFitSerializer,
    NewDetectorFitSerializer,
    NewRunSerializer,
    NewScoreSerializer,
    NewSweepSerializer,
)
from ml_engine.api.views import detector_of
from ml_engine.core.config import PipelineConfig
from ml_engine.core.errors import InvalidConfig
from ml_engine.engine.forecast import Forecast, sentence
from ml_engine.forms.runs import FIT_FIRST, UNALIGNED
from ml_engine.models import RunKind
from ml_engine.runs import requests, run_forecasts, study_requests
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Dataset, Split, User
from portal.people.access import get_visible, require
from portal.people.signed_in import person

_NO_NAME = serializers.CharField(max_length=100, default="", allow_blank=True)
Made = tuple[Forecast | None, PipelineConfig]


class ForecastSerializer(serializers.Serializer[None]):
    sentence = serializers.CharField()
    seconds = serializers.FloatField(allow_null=True, help_text="null: not measured on this machine yet.")
    memory_gib = serializers.FloatField(allow_null=True)
    disk_gib = serializers.FloatField(allow_null=True)


class SweepForecastSerializer(serializers.Serializer[None]):
    sentence = serializers.CharField(help_text="The fits that the sweep would make.")


class AlignmentFitToForecast(NewAlignmentFitSerializer):
    name = _NO_NAME


class DetectorFitToForecast(NewDetectorFitSerializer):
    name = _NO_NAME


class ScoreToForecast(NewScoreSerializer):
    name = _NO_NAME


class SweepToForecast(NewSweepSerializer):
    name = _NO_NAME


class ForecastRequest(APIView):
    """Base of the forecasts. The body is that of the request for the run, which needs no name here. A run for which
    memory or disk do not suffice is refused, as its request would be."""

    kind: RunKind
    request_serializer: type[NewRunSerializer]

    @extend_schema(request=NewRunSerializer, responses=ForecastSerializer)
    def post(self, request: Request) -> Response:
        values = _values(self.request_serializer, request)
        try:
            made, config = self.made(values, person(request))
            run_forecasts.require_room(made, config)
        except (RunRefused, InvalidConfig) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        if made is None:
            none = {"seconds": None, "memory_gib": None, "disk_gib": None}
            return Response({"sentence": run_forecasts.NOT_MEASURED, **none})
        return Response({"sentence": sentence(made), **made.to_json()})

    def made(self, values: dict[str, Any], user: User) -> Made:
        raise NotImplementedError


@extend_schema(request=AlignmentFitToForecast)
class ForecastAlignment(ForecastRequest):
    kind = RunKind.FIT_ALIGNMENT
    request_serializer = AlignmentFitToForecast

    def made(self, values: dict[str, Any], user: User) -> Made:
        config = requests.config_from(values["preset"], values["settings"]).replace(align="network")
        return run_forecasts.of_alignment(_split(values, user), config), config


@extend_schema(request=DetectorFitToForecast)
class ForecastDetector(ForecastRequest):
    kind = RunKind.FIT_DETECTOR
    request_serializer = DetectorFitToForecast

    def made(self, values: dict[str, Any], user: User) -> Made:
        split = _split(values, user)
        config = requests.config_from(values["preset"], values["settings"])
        config = config.replace(align="none" if values["alignment"] == UNALIGNED else "network")
        return run_forecasts.of_fit(split, config, fits_alignment=values["alignment"] == FIT_FIRST), config


@extend_schema(request=ScoreToForecast)
class ForecastScore(ForecastRequest):
    kind = RunKind.SCORE
    request_serializer = ScoreToForecast

    def made(self, values: dict[str, Any], user: User) -> Made:
        detector, after = detector_of(user, values["detector"])
        of = detector or after
        assert of is not None  # one of both
        require(user, "request runs", of.site)
        if detector is None:  # not fitted yet: how many vectors its bank will have is not known
            assert after is not None
            return None, PipelineConfig.from_json(after.config)
        datasets = [get_visible(Dataset.objects.all(), user, address) for address in values["datasets"]]
        if bool(values["parts"]) == bool(datasets):
            raise ValidationError({"detail": "Name parts of the split or datasets, and not both."})
        config = PipelineConfig.from_json(detector.config)
        return run_forecasts.of_score(detector, config, parts=values["parts"], datasets=datasets), config


class ForecastSweep(APIView):
    kind = RunKind.SWEEP

    @extend_schema(request=SweepToForecast, responses=SweepForecastSerializer)
    def post(self, request: Request) -> Response:
        """The fits that a sweep of these axes would make."""
        values = _values(SweepToForecast, request)
        _split(values, person(request))
        try:
            config = requests.config_from(values["preset"], values["settings"])
            config = config.replace(align="network" if values["aligned"] else "none")
            config, planned = study_requests.plan_sweep(config, values["axes"])
            return Response({"sentence": f"This makes {planned.forecast(config)}."})
        except (RunRefused, InvalidConfig) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal


VIEWS = (ForecastAlignment, ForecastDetector, ForecastScore, ForecastSweep)


def _values(of: type[NewRunSerializer], request: Request) -> dict[str, Any]:
    serializer = of(data=request.data)
    serializer.is_valid(raise_exception=True)
    values: dict[str, Any] = serializer.validated_data
    return values


def _split(values: dict[str, Any], user: User) -> Split:
    split = get_visible(Split.objects.select_related("site"), user, values["split"])
    require(user, "request runs", split.site)
    return split
