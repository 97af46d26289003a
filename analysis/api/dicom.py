"""API of a film's heatmap as DICOM files: the same files as on the page."""

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.looks import CannotEvaluate
from analysis.maps.dicom_export import CannotExportDicom, Kind
from analysis.views.dicom import file
from portal.api.renderers import FileRenderer
from portal.people.signed_in import person


class DicomRenderer(FileRenderer):
    media_type = "application/dicom"
    format = "dcm"


class _File(APIView):
    renderer_classes = [JSONRenderer, DicomRenderer]
    kind: Kind

    def get(self, request: Request, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
        try:
            return file(person(request), run_uuid, image_uuid, self.kind)
        except CannotExportDicom as error:
            return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
        except CannotEvaluate as error:
            return Response({"detail": str(error)}, status=status.HTTP_410_GONE)


@extend_schema(responses={(200, "application/dicom"): OpenApiTypes.BINARY})
class HeatmapDicom(_File):
    """The film with its heatmap as a DICOM Secondary Capture."""

    kind: Kind = "heatmap"


@extend_schema(responses={(200, "application/dicom"): OpenApiTypes.BINARY})
class SegmentationDicom(_File):
    """The film's pixels at or above the threshold as a binary DICOM Segmentation."""

    kind: Kind = "segmentation"
