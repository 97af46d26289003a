"""The parts of a split as a CSV for the command line, by API."""

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from portal.api.renderers import Csv
from portal.people.signed_in import person
from portal.views.splits import parts_response


class SplitParts(APIView):
    """The parts of a split as a CSV that `python -m ml_engine fit` and `score` take: filename, image, label at the
    cut-off, patient_id, split. Film names are those of the imported CSV if every film has one of its own, otherwise
    those of the archive of a run."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse:
        return parts_response(person(request), uuid)
