"""How much disk space the sites of a person use, and how much they may use."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.intake.quotas import usage_of
from portal.people.access import sites_of
from portal.people.signed_in import person


class SiteUsage(serializers.Serializer[Any]):
    site = serializers.CharField()
    used_bytes = serializers.IntegerField()
    quota_bytes = serializers.IntegerField(allow_null=True, help_text="null: no quota.")
    by_kind = serializers.DictField(
        child=serializers.IntegerField(), help_text="Bytes of films, quarantine, uploads, runs."
    )


class SiteUsages(APIView):
    @extend_schema(responses=SiteUsage(many=True))
    def get(self, request: Request) -> Response:
        """The sites of which you are a member, by name."""
        answer = []
        for site in sites_of(person(request)).order_by("name"):
            usage = usage_of(site)
            answer.append(
                {"site": site.name, "used_bytes": usage.used, "quota_bytes": usage.quota, "by_kind": usage.by_kind}
            )
        return Response(answer)
