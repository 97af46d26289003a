"""API of films that may have text burned in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_engine.runs.text_review import REFUSED, decide, films_for
from portal.api.pagination import PagesOfFilms
from portal.intake.text_decisions import require_decision
from portal.intake.text_looks import begin_search, header_says_so, to_decide
from portal.models import Dataset, Image, TextDecision
from portal.people import blinding
from portal.people.access import get_visible, require
from portal.people.signed_in import person


class SuspectedFilmSerializer(serializers.ModelSerializer[Image]):
    lines = serializers.SerializerMethodField(help_text="x, y, width, height, characters, in pixels of the film.")
    header_says_so = serializers.SerializerMethodField()
    pixels = serializers.CharField(source="pixel_sha256", read_only=True)

    class Meta:
        model = Image
        fields = ["uuid", "rows", "columns", "pixels", "header_says_so", "lines"]

    def get_lines(self, film: Image) -> list[dict[str, int]]:
        look = getattr(film, "text_look", None)
        return list(look.lines) if look else []

    def get_header_says_so(self, film: Image) -> bool:
        return header_says_so(film)


class SuspectedFilms(generics.ListAPIView[Image]):
    """Films of the dataset that may have text burned in and wait for a decision; without those of patients whom the
    person reads blinded."""

    serializer_class = SuspectedFilmSerializer
    pagination_class = PagesOfFilms
    queryset = Image.objects.none()

    def omitted(self) -> str:
        dataset = get_visible(Dataset.objects.all(), person(self.request), self.kwargs["uuid"])
        return blinding.omitted_among(dataset.images.all(), person(self.request))

    def get_queryset(self) -> QuerySet[Image]:
        dataset = get_visible(Dataset.objects.select_related("site"), person(self.request), self.kwargs["uuid"])
        require(person(self.request), "review text on films", dataset.site)
        return to_decide(films_for(person(self.request), dataset)).select_related("text_look")


class TextSearchSerializer(serializers.Serializer[Any]):
    films = serializers.IntegerField()
    looked_at = serializers.IntegerField()
    suspected = serializers.IntegerField(help_text="that wait for a decision")


class SearchText(APIView):
    """Look for burned-in text among the films that were not looked at yet, in the background."""

    @extend_schema(request=None, responses={202: TextSearchSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        return Response(TextSearchSerializer(begin_search(dataset=dataset, author=person(request))).data, status=202)


class TextDecisionRequest(serializers.Serializer[Any]):
    verdict = serializers.ChoiceField(TextDecision.Verdict.choices)
    boxes = serializers.ListField(
        child=serializers.DictField(child=serializers.FloatField()),
        default=list,
        help_text="To black out: x, y, width, height each, in pixels of the film.",
    )
    pixels = serializers.CharField(help_text="`pixels` of the film as you saw it; refused where they changed since.")
    events = serializers.IntegerField(
        default=0, min_value=0, help_text="To exclude: how many label events of the film you know of."
    )


class TextDecisionSerializer(serializers.ModelSerializer[TextDecision]):
    image = serializers.UUIDField(source="image.uuid", read_only=True)
    author = serializers.CharField(source="author.username", read_only=True)

    class Meta:
        model = TextDecision
        fields = [
            "uuid",
            "image",
            "verdict",
            "boxes",
            "suspected",
            "pixels_before",
            "pixels_after",
            "author",
            "created_at",
        ]


class DecideOnText(APIView):
    """Say that a film shows no text, exclude it, or black boxes out for good, on its copies at the site too."""

    @extend_schema(request=TextDecisionRequest, responses={200: TextDecisionSerializer(many=True)})
    def post(self, request: Request, uuid: UUID) -> Response:
        film = get_visible(Image.objects.select_related("dataset__site"), person(request), uuid)
        require_decision(film, person(request))
        body = TextDecisionRequest(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        try:
            decisions = decide(
                film,
                verdict=data["verdict"],
                boxes=data["boxes"],
                pixels_seen=data["pixels"],
                events_seen=data["events"],
                author=person(request),
            )
        except REFUSED as error:
            raise ValidationError({"detail": str(error)}) from error
        own = [one for one in decisions if one.image_id == film.pk]
        return Response(TextDecisionSerializer(own, many=True).data)
