"""API of pairs of films that may be the same film."""

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.pagination import PagesOfFilms
from portal.models import Dataset, FilmPair
from portal.people import blinding
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible
from portal.people.signed_in import person
from portal.sets.film_pairs import SHOWN, of_dataset, pairs_for, with_verdict
from portal.sets.judging_pairs import InvalidJudgement, judge_pair


class FilmPairSerializer(serializers.ModelSerializer[FilmPair]):
    first = serializers.UUIDField(source="first.uuid", read_only=True)
    second = serializers.UUIDField(source="second.uuid", read_only=True)
    one_patient = serializers.SerializerMethodField()
    judged_by = serializers.CharField(source="judged_by.username", default=None, read_only=True, allow_null=True)

    class Meta:
        model = FilmPair
        fields = [
            *(
                "uuid",
                "first",
                "second",
                "one_patient",
                "correlation",
                "verdict",
                "judged_by",
                "judged_at",
                "created_at",
            )
        ]

    def get_one_patient(self, pair: FilmPair) -> bool:
        return pair.first.patient_id == pair.second.patient_id


@accepts_query("verdict", "dataset")
class FilmPairs(generics.ListAPIView[FilmPair]):
    """Pairs of films that may be the same, most alike first; without those of films that the person reads blinded."""

    serializer_class = FilmPairSerializer
    pagination_class = PagesOfFilms
    queryset = FilmPair.objects.none()

    def omitted(self) -> str:
        return blinding.left_out(person(self.request))

    @extend_schema(
        parameters=[
            OpenApiParameter("verdict", str, enum=list(SHOWN)),
            OpenApiParameter("dataset", UUID, description="pairs with a film of this dataset"),
        ]
    )
    def get(self, request: Request) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[FilmPair]:
        query = self.request.query_params
        pairs = pairs_for(person(self.request))
        if address := query.get("dataset"):
            pairs = of_dataset(pairs, get_visible(Dataset.objects.all(), person(self.request), address))
        if verdict := query.get("verdict"):
            if verdict not in SHOWN:
                raise ValidationError({"verdict": [f"The verdict is {verdict!r}; expected {', '.join(SHOWN)}."]})
            pairs = with_verdict(pairs, verdict)
        return pairs


class JudgementRequest(serializers.Serializer[FilmPair]):
    verdict = serializers.ChoiceField(FilmPair.Verdict.choices)
    seen = serializers.ChoiceField(
        FilmPair.Verdict.choices,
        allow_blank=True,
        default="",
        help_text="The verdict that you had before you; blank for none. A pair judged in the meantime is refused.",
    )


class JudgeFilmPair(APIView):
    """Judge whether the two films are the same film, or correct a judgement."""

    @extend_schema(request=JudgementRequest, responses={200: FilmPairSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        pair = get_visible(FilmPair.objects.select_related("site", "first", "second"), person(request), uuid)
        for film in (pair.first, pair.second):
            blinding.refuse_withheld(person(request), film)
        body = JudgementRequest(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            judged = judge_pair(pair=pair, author=person(request), **body.validated_data)
        except InvalidJudgement as error:
            raise ValidationError({"verdict": [str(error)]}) from error
        return Response(FilmPairSerializer(judged).data)
