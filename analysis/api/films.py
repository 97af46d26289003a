"""API of a film in a scored run: its heatmap, its nearest normals, its scores in all runs; and a run's archive."""

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.views import archive, film
from portal.api.films import PixelBytes
from portal.models import Image
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.blinding import refuse_withheld
from portal.people.signed_in import page_request, person

MAP = OpenApiParameter("map", str, enum=[film.HEAD_MAP], description="the semi-supervised head's, instead of one-class")
_LINKS = ("url", "facts_url", "pixels_url")  # of pages


class Zip(PixelBytes):
    media_type, format = "application/zip", "zip"


def _answer(response: HttpResponse) -> dict[str, Any] | Response:
    """The JSON of a page's function, or its refusal as the API's."""
    values: dict[str, Any] = json.loads(response.content)
    if response.status_code >= 400:
        return Response({"detail": values["error"]}, status=response.status_code)
    return values


@accepts_query("map")
class FilmHeatmap(APIView):
    """How the heatmap of a film lies on it: grid, affine map, weight, scale, threshold. The maps are at `maps_url`."""

    @extend_schema(parameters=[MAP], responses=dict[str, Any])
    def get(self, request: Request, run_uuid: UUID, image_uuid: UUID) -> Response:
        person(request)
        values = _answer(film.overlay(page_request(request), run_uuid, image_uuid))
        if isinstance(values, Response):
            return values
        asked = request.query_params.get("map")
        query = {"map": asked} if asked else None
        return Response(values | {"maps_url": reverse("api-maps", args=[run_uuid, image_uuid], query=query)})


@accepts_query("map")
class Maps(APIView):
    """Global and region map before fusion: little-endian float32 (2, rows, columns), NaN where masked."""

    renderer_classes = [JSONRenderer, PixelBytes]

    @extend_schema(parameters=[MAP], responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
        person(request)
        response = film.maps(page_request(request), run_uuid, image_uuid)
        if response.status_code < 400:
            return response
        return Response({"detail": json.loads(response.content)["error"]}, status=response.status_code)


@accepts_query("row", "column", "neighbours")
class NearestNormals(APIView):
    """The normal patches that a patch of the film is nearest to, by default its hottest one."""

    @extend_schema(
        parameters=[OpenApiParameter(name, int) for name in ("row", "column", "neighbours")],
        responses=dict[str, Any],
    )
    def get(self, request: Request, run_uuid: UUID, image_uuid: UUID) -> Response:
        person(request)
        values = _answer(film.nearest(page_request(request), run_uuid, image_uuid))
        if isinstance(values, Response):
            return values
        nearest = [
            row | {"film": {name: value for name, value in row["film"].items() if name not in _LINKS}}
            for row in values["nearest"]
        ]
        return Response(values | {"nearest": nearest})


class ScoresOfFilm(APIView):
    """A film's scores in every finished run that you may see; `hidden` counts the others."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        image = get_visible(Image.objects.select_related("dataset__site", "current_label"), person(request), uuid)
        refuse_withheld(person(request), image)
        shown, hidden = film.recorded_scores(person(request), image)
        rows = [
            {
                "run": score.run.uuid,
                "global": score.global_score,
                "region": score.region_score,
                "fused": score.fused_score,
                "combined": score.combined_score,
                "error": score.error,
                "random_weights": score.run.random_weights,
            }
            for score in shown
        ]
        return Response({"image": image.uuid, "scores": rows, "hidden": hidden})


class Archive(APIView):
    """A run's folder as a zip: request, films, inputs and results. The first with results on test is a counted look."""

    renderer_classes = [JSONRenderer, Zip]

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, uuid: UUID) -> StreamingHttpResponse:
        person(request)
        return archive.run_archive(page_request(request), uuid)
