"""What de-identification did in an import, by API."""

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.renderers import Csv
from portal.intake.deidentified_batch import from_json
from portal.people.signed_in import person
from portal.views.deidentification import report_file, upload_of


class Deidentification(APIView):
    """What an import removed, cleaned, replaced and kept: elements of headers and columns of tables, by name and
    count, without values."""

    renderer_classes = [JSONRenderer]

    @extend_schema(responses={200: dict})
    def get(self, request: Request, uuid: UUID) -> Response:
        """`elements`: tag, name, whether inside sequences, outcome, number of films, and the action of the Basic
        Profile (PS3.15). `tables`: the columns of each, with outcome and why."""
        upload = upload_of(person(request), uuid)
        return Response(from_json(upload.deidentification).to_json())


class DeidentificationCsv(APIView):
    """The same as a CSV."""

    renderer_classes = [JSONRenderer, Csv]

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, uuid: UUID) -> HttpResponse:
        return report_file(upload_of(person(request), uuid), "csv")
