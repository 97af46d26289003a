"""The search of the bar, by API."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.views.search import groups_of
from portal.models import Site
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require, sites_of
from portal.people.signed_in import person


class HitSerializer(serializers.Serializer[None]):
    name = serializers.CharField()
    address = serializers.CharField(help_text="Of its page.")


class HitsSerializer(serializers.Serializer[None]):
    kind = serializers.CharField()
    count = serializers.IntegerField(help_text="At most 1000.")
    hits = HitSerializer(many=True, help_text="The first 20.")


class SearchAnswer(serializers.Serializer[dict[str, object]]):
    site = serializers.UUIDField()
    groups = HitsSerializer(many=True)
    left_out = serializers.CharField(help_text="That films which you have yet to read blinded are left out; or blank.")


@accepts_query("q", "site")
class Search(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("q"), OpenApiParameter("site", OpenApiTypes.UUID)], responses=SearchAnswer
    )
    def get(self, request: Request) -> Response:
        """Datasets, films, patients (by pseudonym), findings, tags, views, runs, worklists, splits, cohorts and queues
        of a site, by at least two characters `q`. Members of several sites name the `site`; else it is the first."""
        user, named = person(request), request.query_params.get("site")
        chosen = get_visible(Site.objects.all(), user, named) if named else sites_of(user).order_by("name").first()
        site = require(user, "see the site", chosen)
        groups = groups_of(site, request.query_params.get("q", "").strip()[:100], user)
        answer = {"site": site.uuid, "groups": groups, "left_out": blinding.left_out(user)}
        return Response(SearchAnswer(answer).data)
