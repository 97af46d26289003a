"""Ablations and sweeps by API."""

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
    wish = NewAblationSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, given["split"])
        config = requests.config_from(given["preset"], given["settings"])
        return study_requests.request_ablation(asked, split=split, config=config, figures=given["figures"])


@extend_schema(request=NewSweepSerializer, responses={201: RunDetailSerializer})
class NewSweep(NewRun):
    """A detector for each combination of the axes' values."""

    kind = RunKind.SWEEP
    url_name = "api-new-sweep"
    wish = NewSweepSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, given["split"])
        config = requests.config_from(given["preset"], given["settings"])
        config = config.replace(align="network" if given["aligned"] else "none")
        return study_requests.request_sweep(asked, split=split, config=config, axes=given["axes"])


DOORS = (NewAblation, NewSweep)
