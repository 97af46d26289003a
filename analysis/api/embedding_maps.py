"""API of embedding maps, by the functions of the pages."""

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.views.embedding_maps import MOST_SIMILAR, InvalidColour, colours_of, get_map, record_labels
from ml_engine.engine.embedding_folder import LAYOUTS
from ml_engine.runs.embedding_maps import newest_map, points_for, similar_films
from portal.models import Dataset, Image
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.signed_in import person
from portal.sets.film_filters import UNLABELLED

NO_MAP = "This dataset has no embedding map: request one with POST runs/embedding/."


class MapSerializer(serializers.Serializer[None]):
    run = serializers.UUIDField()
    random_weights = serializers.BooleanField(help_text="True: random weights, not for evaluation.")
    omitted = serializers.IntegerField(help_text="Films that you have yet to read blinded, which are left out.")
    images = serializers.ListField(child=serializers.UUIDField())
    places = serializers.DictField(help_text="By layout, [x, y] of each film.")


@extend_schema(responses=MapSerializer)
class NewestMap(APIView):
    """The points of the newest embedding map of a dataset."""

    def get(self, request: Request, uuid: UUID) -> Response:
        dataset = get_visible(Dataset.objects.all(), person(request), uuid)
        run = newest_map(dataset)
        if run is None:
            raise NotFound(NO_MAP)
        _, folder = get_map(person(request), run.uuid)
        shown = points_for(person(request), run, folder)
        places = folder.places()[shown.rows]
        answer: dict[str, Any] = {
            "run": run.uuid,
            "random_weights": run.random_weights,
            "omitted": shown.omitted,
            "images": list(shown.uuids),
            "places": {name: places[:, k].round(5).tolist() for k, name in enumerate(LAYOUTS)},
        }
        return Response(answer)


@extend_schema(
    parameters=[OpenApiParameter("by", required=True), OpenApiParameter("of")],
    responses=OpenApiTypes.OBJECT,
)
@accepts_query("by", "of")
class MapColoursOfRun(APIView):
    """A value for each point of a map, in the order of its points: `by` label, dataset, source, view, manufacturer,
    scanner, duplicates, part (`of` a split) or score (`of` a scoring run; null where it is hidden from you)."""

    def get(self, request: Request, uuid: UUID) -> Response:
        run, folder = get_map(person(request), uuid)
        shown = points_for(person(request), run, folder)
        query = request.query_params
        try:
            made = colours_of(person(request), run, shown, by=query.get("by", ""), of=query.get("of", ""))
        except InvalidColour as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(made.to_json() | {"images": list(shown.uuids), "omitted": shown.omitted})


class SimilarFilmSerializer(serializers.Serializer[None]):
    image = serializers.UUIDField()
    label = serializers.CharField(help_text="The current label, or unlabelled.")  # type: ignore[assignment]
    similarity = serializers.FloatField(help_text="Cosine of the films' vectors less the mean of the map, -1 to 1.")


@extend_schema(responses=SimilarFilmSerializer(many=True))
class SimilarFilms(APIView):
    """The films most like a film, by the newest embedding map of its dataset; without those that you have yet to read
    blinded."""

    def get(self, request: Request, uuid: UUID) -> Response:
        film = get_visible(Image.objects.select_related("dataset", "current_label"), person(request), uuid)
        blinding.refuse_withheld(person(request), film)
        run = newest_map(film.dataset)
        if run is None:
            raise NotFound(NO_MAP)
        near = similar_films(person(request), run, film, count=MOST_SIMILAR)
        if near is None:
            raise NotFound("The newest map of the dataset does not hold this film: request another map.")
        record_labels(person(request), [film, *(one.image for one in near)])
        return Response(
            [
                {"image": one.image.uuid, "label": _label(one.image), "similarity": round(one.similarity, 5)}
                for one in near
            ]
        )


def _label(film: Image) -> str:
    label = getattr(film, "current_label", None)
    return label.value if label else UNLABELLED
