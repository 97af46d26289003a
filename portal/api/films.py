"""API of one film: facts, current label, label history, boxes and parts; its pixels and preview."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.renderers import FileRenderer
from portal.api.serializers import ImageSerializer
from portal.grid.tags import tags_by_film
from portal.labels.boxes import boxes_shown
from portal.models import Exposure, Image, LabelEvent
from portal.people import blinding
from portal.people.access import get_visible
from portal.people.exposure import record_exposure
from portal.people.signed_in import page_request, person
from portal.views import images

_OF_EVENT = ("author", "criteria", "reverts", "reverted_by")


class OneImage(APIView):
    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        """The film with its label events, oldest first, the boxes that count, and its part in each split."""
        rows = Image.objects.select_related("dataset__site", "patient", "current_label__criteria")
        film = get_visible(rows, person(request), uuid)
        blinding.refuse_withheld(person(request), film)
        events = list(
            film.label_events.select_related("author", "criteria", "reverts", "reverted_by").order_by(
                "created_at", "pk"
            )
        )
        tags = tags_by_film([film])
        record_exposure(person(request), Exposure.Kind.LABEL, [film.pk] if events or tags else [])
        parts = film.split_images.select_related("member__split").order_by("pk")
        return Response(
            {
                **ImageSerializer(film, context={"tags": tags}).data,
                "dataset": film.dataset.uuid,
                "laterality": film.laterality,
                "header": film.header,
                "history": [_event(event) for event in events],
                "boxes": boxes_shown(film.label_events.order_by("created_at", "pk")),
                "parts": [{"split": row.member.split.uuid, "part": row.member.part} for row in parts],
            }
        )


def _event(event: LabelEvent) -> dict[str, Any]:
    reverted_by = getattr(event, "reverted_by", None)
    return {
        "value": event.value,
        "findings": event.findings,
        "attributes": event.attributes,
        "boxes": event.boxes,
        "author": event.author.username if event.author else None,
        "source": event.source,
        "reason": event.reason,
        "criteria": event.criteria.version if event.criteria else None,
        "created_at": event.created_at,
        "reverts": event.reverts.uuid if event.reverts else None,
        "reverted": reverted_by is not None,
        "uuid": event.uuid,
    }


class PixelBytes(FileRenderer):
    media_type, format = "application/octet-stream", "u16"


class Jpeg(PixelBytes):
    media_type, format = "image/jpeg", "jpg"


class Pixels(APIView):
    """The film's pixels as stored: uint16, little-endian, row by row, as gzip that HTTP clients unpack."""

    renderer_classes = [JSONRenderer, PixelBytes]

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, uuid: UUID) -> HttpResponseBase:
        get_visible(Image.objects.all(), person(request), uuid)
        return images.pixels(page_request(request), uuid)


class Preview(APIView):
    """A small JPEG of the film, as in the grid."""

    renderer_classes = [JSONRenderer, Jpeg]

    @extend_schema(responses={(200, "image/jpeg"): OpenApiTypes.BINARY})
    def get(self, request: Request, uuid: UUID) -> HttpResponseBase:
        get_visible(Image.objects.all(), person(request), uuid)
        return images.preview_file(page_request(request), uuid)
