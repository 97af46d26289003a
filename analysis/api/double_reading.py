"""API of what a double reading shows: agreement, and the table of readings and consensus."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.reading.label_agreement import label_agreement, read_films, require_results
from analysis.views.double_reading import readings_file
from portal.models import ScreeningQueue, User
from portal.people.access import get_visible
from portal.people.signed_in import person


def _blinded_queue(user: User, uuid: UUID) -> ScreeningQueue:
    return get_visible(ScreeningQueue.objects.filter(blinded=True).select_related("site"), user, uuid)


class LabelAgreement(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID) -> Response:
        """How far the readers of a double reading agree: counts, share, Cohen's kappa or Krippendorff's alpha. Refused
        to its readers and its adjudicator until every film is settled."""
        queue = _blinded_queue(person(request), uuid)
        require_results(queue, person(request))
        return Response(label_agreement(queue, read_films(queue)))


class QueueReadingsCsv(APIView):
    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse:
        """Readings and consensus, a line for each reading."""
        return readings_file(person(request), _blinded_queue(person(request), uuid))
