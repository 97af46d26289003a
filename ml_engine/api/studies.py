"""The API of ablations and sweeps."""

from typing import Any

from drf_spectacular.utils import extend_schema

from ml_engine.api.serializers import NewAblationSerializer, NewSweepSerializer, RunDetailSerializer
from ml_engine.api.views import NewRun
from ml_engine.models import Run, RunKind
from ml_engine.runs import requests, study_requests
from portal.models import Split, User
from portal.people.access import get_visible


@extend_schema(request=NewAblationSerializer, responses={201: RunDetailSerializer})
class NewAblation(NewRun):
    """The paper's experiments on a split."""

    kind = RunKind.ABLATION
    url_name = "api-new-ablation"
    request_serializer = NewAblationSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, values["split"])
        config = requests.config_from(values["preset"], values["settings"])
        return study_requests.request_ablation(request, split=split, config=config, figures=values["figures"])


@extend_schema(request=NewSweepSerializer, responses={201: RunDetailSerializer})
class NewSweep(NewRun):
    """A detector for each combination of the axes' values."""

    kind = RunKind.SWEEP
    url_name = "api-new-sweep"
    request_serializer = NewSweepSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, values["split"])
        config = requests.config_from(values["preset"], values["settings"])
        config = config.replace(align="network" if values["aligned"] else "none")
        return study_requests.request_sweep(request, split=split, config=config, axes=values["axes"])


VIEWS = (NewAblation, NewSweep)
