"""Studies of a PACS by API: which PACS there are, a search, an import in the background."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.uploads import UploadSerializer
from portal.dicomweb.client import PacsError, StudyQuery
from portal.dicomweb.pacs_imports import (
    MOST_STUDIES,
    FoundStudies,
    InvalidPacsRequest,
    begin_import,
    search,
    target_named,
    targets_of,
)
from portal.models import Dataset
from portal.people.access import get_visible, require
from portal.people.signed_in import person


class PacsNames(serializers.Serializer[None]):
    pacs = serializers.ListField(child=serializers.CharField())


class StudySearch(serializers.Serializer[None]):
    pacs = serializers.CharField(max_length=40)
    first_day = serializers.DateField(required=False, allow_null=True)
    last_day = serializers.DateField(required=False, allow_null=True)
    modality = serializers.CharField(default="", allow_blank=True, max_length=16)
    patient_id = serializers.CharField(default="", allow_blank=True, max_length=64)


class FoundStudySerializer(serializers.Serializer[Any]):
    uid = serializers.CharField()
    day = serializers.CharField(help_text="Blank where the PACS does not state it.")
    patient_id = serializers.CharField()
    sex = serializers.CharField()
    modalities = serializers.ListField(child=serializers.CharField())
    instances = serializers.IntegerField(allow_null=True)


class FoundStudiesSerializer(serializers.Serializer[FoundStudies]):
    studies = FoundStudySerializer(many=True)
    has_more = serializers.BooleanField(help_text="There are more than are listed; narrow the search.")


class PacsImport(serializers.Serializer[None]):
    pacs = serializers.CharField(max_length=40)
    studies = serializers.ListField(child=serializers.CharField(max_length=64), min_length=1, max_length=MOST_STUDIES)


class PacsFailed(APIException):
    status_code = status.HTTP_502_BAD_GATEWAY


class DatasetPacs(APIView):
    @extend_schema(responses=PacsNames)
    def get(self, request: Request, uuid: UUID) -> Response:
        """The names of the PACS from which films of this site may be fetched."""
        return Response({"pacs": [target.name for target in targets_of(_dataset(request, uuid).site)]})


class SearchPacs(APIView):
    @extend_schema(request=StudySearch, responses={200: FoundStudiesSerializer, 502: dict})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Search studies, the latest first. 502 with a sentence where the PACS does not answer."""
        dataset = _dataset(request, uuid)
        asked = StudySearch(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        try:
            target = target_named(values.pop("pacs"), dataset.site)
            answer = search(target=target, query=StudyQuery(**values), site=dataset.site, author=person(request))
        except InvalidPacsRequest as error:
            raise ValidationError({"detail": str(error)}) from error
        except PacsError as error:
            raise PacsFailed(str(error)) from error
        return Response(FoundStudiesSerializer(answer).data)


class ImportFromPacs(APIView):
    @extend_schema(request=PacsImport, responses={202: UploadSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Import the radiographs of these studies in the background. The answer is the import."""
        dataset = _dataset(request, uuid)
        asked = PacsImport(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            target = target_named(asked.validated_data["pacs"], dataset.site)
            studies = asked.validated_data["studies"]
            upload = begin_import(dataset=dataset, target=target, studies=studies, author=person(request))
        except InvalidPacsRequest as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(UploadSerializer(upload).data, status=status.HTTP_202_ACCEPTED)


def _dataset(request: Request, uuid: UUID) -> Dataset:
    dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
    require(person(request), "import films", dataset.site)
    return dataset
