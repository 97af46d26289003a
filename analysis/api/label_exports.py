"""Labels, findings, boxes and readings as files, by API: the same files as on the pages."""

from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from analysis.views.label_exports import NAMES, NoSuchExport, cohort_of, dataset_of, export_response, split_of
from portal.api.renderers import Csv
from portal.models import User
from portal.people.accepted_query import accepts_query
from portal.people.signed_in import person
from portal.sets.label_export import FilmSet


class LabelExport(APIView):
    """Labels, findings and boxes with their history: `labels.csv` and `boxes.csv`, which an import takes back as they
    are, `history.csv`, `labels.json` with all of it, `boxes.coco.json`, `readings.csv` and `readings.json` for those
    who may make worklists, and `labels.zip` with all files. Refused while a film waits for the person's blinded
    reading."""

    renderer_classes = [JSONRenderer, Csv]

    def films(self, user: User, uuid: UUID) -> FilmSet:
        raise NotImplementedError

    @extend_schema(
        parameters=[OpenApiParameter("file", str, enum=list(NAMES))],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "application/zip"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request, uuid: UUID) -> HttpResponseBase:
        user = person(request)
        try:
            return export_response(user, self.films(user, uuid), request.query_params.get("file", "labels.csv"))
        except NoSuchExport as error:
            raise ValidationError({"detail": str(error)}) from error


@accepts_query("file")
class DatasetLabels(LabelExport):
    def films(self, user: User, uuid: UUID) -> FilmSet:
        return dataset_of(user, uuid)


@accepts_query("file")
class CohortLabels(LabelExport):
    def films(self, user: User, uuid: UUID) -> FilmSet:
        return cohort_of(user, uuid)


@accepts_query("file")
class SplitLabels(LabelExport):
    def films(self, user: User, uuid: UUID) -> FilmSet:
        return split_of(user, uuid)
