"""The API of semi-supervised heads. It calls the same functions as the pages."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from ml_engine.api.serializers import NewRunSerializer, RunDetailSerializer
from ml_engine.api.views import NewRun
from ml_engine.engine.study_plans import PENALTY_BY_FOLDS
from ml_engine.forms.heads import as_penalty
from ml_engine.models import Run, RunKind
from ml_engine.runs import requests
from ml_engine.runs.confirmed_reads import READINGS, SOURCES
from ml_engine.runs.head_requests import plan_from, request_head
from portal.models import User
from portal.people.access import get_visible


class NewHeadSerializer(NewRunSerializer):
    scored = serializers.UUIDField(help_text="UUID of the scoring run whose detector and films are used.")
    sources = serializers.ListField(
        child=serializers.ChoiceField(choices=list(SOURCES)), default=[READINGS], help_text="Whose verdicts train."
    )
    penalty = serializers.CharField(default="100", help_text=f"λ, 1 / C of the regression, or {PENALTY_BY_FOLDS}.")
    read_normals = serializers.BooleanField(default=False, help_text="Films read as normal join the known normals.")
    false_alarm_rate = serializers.FloatField(
        default=None, allow_null=True, help_text="Fixes the point below which films of the pool count as normal."
    )
    repeats = serializers.IntegerField(default=5, help_text="Draws of each point of the learning curve.")


@extend_schema(request=NewHeadSerializer, responses={201: RunDetailSerializer})
class NewHead(NewRun):
    """A semi-supervised head on the films that people confirmed as abnormal."""

    kind = RunKind.FIT_HEAD
    url_name = "api-fit-head"
    request_serializer = NewHeadSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        runs = Run.objects.select_related("site", "detector__split", "detector__run")
        scored = get_visible(runs, user, values["scored"])
        names = ("read_normals", "false_alarm_rate", "repeats")
        plan = plan_from({name: values[name] for name in names} | {"penalty": as_penalty(values["penalty"])})
        return request_head(request, scored=scored, plan=plan, sources=values["sources"])


VIEWS = (NewHead,)
