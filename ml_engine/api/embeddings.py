"""The API that requests embedding maps. It calls the same function as the page."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from ml_engine.api.serializers import NewRunSerializer, RunDetailSerializer
from ml_engine.api.views import NewRun
from ml_engine.core.config import PRESETS
from ml_engine.engine.study_plans import EmbeddingPlan
from ml_engine.models import Run, RunKind
from ml_engine.runs import requests
from ml_engine.runs.embedding_requests import request_embedding
from portal.models import Dataset, User
from portal.people.access import get_visible


class NewEmbeddingSerializer(NewRunSerializer):
    datasets = serializers.ListField(child=serializers.UUIDField(), help_text="UUIDs of the datasets to map.")
    filters = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        default=dict,
        help_text='Of the grid of a single dataset: {"label": "normal", "view": "PA"}.',
    )
    preset = serializers.ChoiceField(choices=PRESETS, default="default")
    settings = serializers.DictField(
        child=serializers.CharField(allow_blank=True), default=dict, help_text='Single settings: {"size": "448"}.'
    )
    neighbours = serializers.IntegerField(default=EmbeddingPlan.neighbours, help_text="Films that are kept together.")
    epochs = serializers.IntegerField(default=EmbeddingPlan.epochs, help_text="Rounds of the layout.")


@extend_schema(request=NewEmbeddingSerializer, responses={201: RunDetailSerializer})
class NewEmbedding(NewRun):
    """The embedding map of datasets: each film's vector, its nearest films, and its places in the plane."""

    kind = RunKind.EMBEDDING
    url_name = "api-new-embedding"
    request_serializer = NewEmbeddingSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        return request_embedding(
            request,
            datasets=[get_visible(Dataset.objects.all(), user, uuid) for uuid in values["datasets"]],
            config=requests.config_from(values["preset"], values["settings"]),
            plan=EmbeddingPlan(neighbours=values["neighbours"], epochs=values["epochs"]),
            filters=values["filters"],
        )


VIEWS = (NewEmbedding,)
