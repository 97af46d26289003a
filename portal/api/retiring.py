"""API of retiring datasets, runs and worklists."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.models import Retired
from portal.people.access import sites_where
from portal.people.signed_in import person
from portal.retention.retiring import CannotRetire, bring_back, plan_of, retire, target_of


class RetiredSerializer(serializers.ModelSerializer[Retired]):
    """`target` is the UUID of the dataset, run or worklist."""

    site = serializers.CharField(source="site.name", read_only=True)
    author = serializers.CharField(source="author.username", read_only=True)

    class Meta:
        model = Retired
        fields = ["kind", "target", "name", "site", "reason", "author", "created_at"]


class RetireRequest(serializers.Serializer[None]):
    act = serializers.ChoiceField(["retire", "bring back"])
    reason = serializers.CharField(allow_blank=True, default="")


class RetiredRows(generics.ListAPIView[Retired]):
    """What is retired at the sites that you manage, newest first."""

    serializer_class = RetiredSerializer
    queryset = Retired.objects.none()

    def get_queryset(self) -> Any:
        sites = sites_where(person(self.request), "retire data")
        return Retired.objects.filter(site__in=sites.values("pk")).select_related("site", "author")


class Retire(APIView):
    """What retiring a dataset, run or worklist means (GET), and retiring it or bringing it back (POST). Nothing is
    removed by it. `kind`: dataset, run or worklist."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, kind: str, uuid: UUID) -> Response:
        return Response(_answer(target_of(kind, uuid, person(request))))

    @extend_schema(request=RetireRequest, responses=dict[str, Any])
    def post(self, request: Request, kind: str, uuid: UUID) -> Response:
        target = target_of(kind, uuid, person(request))
        asked = RetireRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        act = retire if asked.validated_data["act"] == "retire" else bring_back
        try:
            act(target=target, reason=asked.validated_data["reason"], author=person(request))
        except CannotRetire as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_answer(target))


def _answer(target: Any) -> dict[str, Any]:
    plan = plan_of(target)
    row = plan.retired
    return {
        "name": str(target),
        "depends": list(plan.depends),
        "obstacles": list(plan.obstacles),
        "retired": RetiredSerializer(row).data if row else None,
    }
