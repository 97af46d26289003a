"""A dataset by API: its facts, among them ethics approval, purpose and the last day of the approval."""

from typing import Any
from uuid import UUID

from django.db.models import Count
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.serializers import DatasetSerializer
from portal.models import Dataset
from portal.people.access import get_visible, require
from portal.people.signed_in import person
from portal.sets.approvals import InvalidDatasetFact, approval_of, change_facts


class DatasetFacts(serializers.Serializer[None]):
    source = serializers.CharField(required=False, allow_blank=True, max_length=200)  # type: ignore[assignment]
    licence = serializers.CharField(required=False, allow_blank=True, max_length=200)
    ethics_approval = serializers.CharField(required=False, allow_blank=True, max_length=200)
    purpose = serializers.CharField(required=False, allow_blank=True, max_length=200)
    expires_on = serializers.DateField(
        required=False,
        allow_null=True,
        help_text="The last day on which a run, worklist or split may start; null: no end.",
    )


class DatasetState(DatasetSerializer):
    approval = serializers.SerializerMethodField(
        help_text="That the approval ends within 30 days, or has ended, and who can change that; blank otherwise."
    )

    class Meta(DatasetSerializer.Meta):
        fields = [*DatasetSerializer.Meta.fields, "approval"]

    def get_approval(self, dataset: Dataset) -> str:
        return approval_of(dataset).sentence


class OneDataset(APIView):
    @extend_schema(responses=DatasetState)
    def get(self, request: Request, uuid: UUID) -> Response:
        """The dataset, and whether its approval has ended."""
        return Response(DatasetState(_dataset(request, uuid)).data)

    @extend_schema(request=DatasetFacts, responses=DatasetState)
    def patch(self, request: Request, uuid: UUID) -> Response:
        """Change facts of the dataset. For managers."""
        dataset = _dataset(request, uuid)
        require(person(request), "edit datasets", dataset.site)
        asked = DatasetFacts(data=request.data)
        asked.is_valid(raise_exception=True)
        facts: dict[str, Any] = asked.validated_data
        if unknown := sorted(set(request.data) - set(asked.fields)):
            raise ValidationError({unknown[0]: [f"Only {', '.join(asked.fields)} can be changed."]})
        try:
            change_facts(dataset=dataset, facts=facts, author=person(request))
        except InvalidDatasetFact as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(DatasetState(_dataset(request, uuid)).data)


def _dataset(request: Request, uuid: UUID) -> Dataset:
    datasets = Dataset.objects.select_related("site").annotate(films=Count("images"))
    return get_visible(datasets, person(request), uuid)
