"""The API of alignment boards, of hand-made canonical images and of what people decide of fitted alignments."""

from typing import Any, cast
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_engine.api.views import site_named
from ml_engine.boards import canonicals, outcome, stacks
from ml_engine.core.alignment.hand_placement import InvalidPlacement
from ml_engine.models import (
    AffineDecision,
    AffineVerdict,
    AlignmentModel,
    CanonicalBoard,
    FilmPlacement,
    HandMadeCanonical,
    Run,
)
from ml_engine.runs.affine_decisions import current_decisions
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Cohort, Dataset, Exposure, Image, Part, Split, User
from portal.people.access import get_visible, require, sites_where
from portal.people.blinding import left_out, refuse_withheld, withheld_patients
from portal.people.exposure import record_exposure
from portal.people.signed_in import person


class NewBoardSerializer(serializers.Serializer[None]):
    site = serializers.UUIDField(required=False, help_text="Required for members of several sites.")
    name = serializers.CharField(max_length=100)
    films = serializers.IntegerField(min_value=2, max_value=canonicals.MOST_FILMS)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)
    split = serializers.UUIDField(default=None, allow_null=True, help_text="With `part`; or give cohort or dataset.")
    part = serializers.CharField(default=Part.FIT.value, help_text="Of the split: align or fit.")
    cohort = serializers.UUIDField(default=None, allow_null=True)
    dataset = serializers.UUIDField(default=None, allow_null=True)
    start = serializers.UUIDField(default=None, allow_null=True, help_text="A fitted alignment to start from.")


class BoardSerializer(serializers.ModelSerializer[CanonicalBoard]):
    part = serializers.CharField(help_text="Of a split; blank for a board from a cohort or a dataset.")
    films = serializers.SerializerMethodField()
    placed = serializers.SerializerMethodField()

    class Meta:
        model = CanonicalBoard
        fields = ["uuid", "name", "created_at", "seed", "side", "part", "films", "placed"]

    def get_films(self, board: CanonicalBoard) -> int:
        return board.films.count()

    def get_placed(self, board: CanonicalBoard) -> int:
        return stacks.placed_counts([board])[board.pk]


class PlacementSerializer(serializers.ModelSerializer[FilmPlacement]):
    """A film as it is placed now. `matrix` is original_from_canonical, row by row, in pixels of a frame of the board's
    `side`."""

    position = serializers.IntegerField(source="film.position")
    author = serializers.CharField(source="author.username")

    class Meta:
        model = FilmPlacement
        fields = ["position", "how", "matrix", "points", "targets", "rms_px", "author", "created_at"]


class BoardDetailSerializer(BoardSerializer):
    placements = serializers.SerializerMethodField()
    left_out = serializers.SerializerMethodField(help_text="That films are left out, for a person who reads blinded.")

    class Meta(BoardSerializer.Meta):
        fields = [*BoardSerializer.Meta.fields, "placements", "left_out"]

    @extend_schema_field(PlacementSerializer(many=True))
    def get_placements(self, board: CanonicalBoard) -> list[Any]:
        withheld = withheld_patients(self._person)
        rows = [row for row in stacks.current_placements(board).values() if row.film.image.patient_id not in withheld]
        return list(PlacementSerializer(sorted(rows, key=lambda row: row.film.position), many=True).data)

    def get_left_out(self, board: CanonicalBoard) -> str:
        return left_out(self._person)

    @property
    def _person(self) -> User:
        return cast(User, cast(dict[str, Any], self.context)["person"])


class NewPlacementSerializer(serializers.Serializer[None]):
    matrix = serializers.ListField(
        child=serializers.FloatField(),
        default=None,
        allow_null=True,
        help_text="Nine numbers: original_from_canonical, row by row, in pixels of a frame of the board's side. With "
        "points, the place of the first film that has landmarks.",
    )
    points = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        default=dict,
        help_text=f"Landmarks in original pixels, at least 6 of: {', '.join(canonicals.LANDMARKS)}.",
    )
    left_out = serializers.BooleanField(default=False, help_text="True: the film is not averaged.")


class NewCanonicalSerializer(serializers.Serializer[None]):
    name = serializers.CharField(max_length=100)


class CanonicalSerializer(serializers.ModelSerializer[HandMadeCanonical]):
    board = serializers.UUIDField(source="board.uuid")

    class Meta:
        model = HandMadeCanonical
        fields = ["uuid", "name", "created_at", "board", "sha256", "films", "report"]


class NewDecisionSerializer(serializers.Serializer[None]):
    verdict = serializers.ChoiceField(choices=AffineVerdict.choices)
    matrix = serializers.ListField(
        child=serializers.FloatField(),
        default=None,
        allow_null=True,
        help_text="Of verdict “by hand”: nine numbers, original_from_canonical, row by row, an affine, in pixels of a "
        "frame of the side alignment.size.",
    )


class DecisionSerializer(serializers.ModelSerializer[AffineDecision]):
    image = serializers.UUIDField(source="image.uuid")
    author = serializers.CharField(source="author.username")

    class Meta:
        model = AffineDecision
        fields = ["image", "verdict", "affine", "canonical_size", "author", "created_at"]


def _of_sites(rows: Any, user: User) -> Any:
    return rows.filter(site__in=sites_where(user, "align by hand"))


class Boards(generics.ListAPIView[CanonicalBoard]):
    """The boards of the sites where you may align by hand, newest first."""

    serializer_class = BoardSerializer
    queryset = CanonicalBoard.objects.none()

    def get_queryset(self) -> Any:
        return _of_sites(CanonicalBoard.objects.all(), person(self.request))

    @extend_schema(request=NewBoardSerializer, responses={201: BoardSerializer})
    def post(self, request: HttpRequest) -> Response:
        """Draw films for a new board."""
        serializer = NewBoardSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user, values = person(request), serializer.validated_data
        models: dict[str, Any] = {"split": Split, "cohort": Cohort, "dataset": Dataset, "start": AlignmentModel}
        named = {
            name: get_visible(model.objects.all(), user, values[name]) if values[name] else None
            for name, model in models.items()
        }
        asked = canonicals.BoardRequest(
            site=site_named(user, values.get("site")),
            name=values["name"],
            films=values["films"],
            seed=values["seed"],
            part=values["part"] if named["split"] else "",
            **named,
        )
        try:
            board = canonicals.start_board(asked, author=user)
        except RunRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(BoardSerializer(board).data, status=status.HTTP_201_CREATED)


def _board(request: HttpRequest, uuid: UUID) -> CanonicalBoard:
    board = get_visible(CanonicalBoard.objects.select_related("site"), person(request), uuid)
    require(person(request), "align by hand", board.site)
    return board


class OneBoard(APIView):
    @extend_schema(responses={200: BoardDetailSerializer})
    def get(self, request: HttpRequest, uuid: UUID) -> Response:
        """The board, with the last placement of each film."""
        board = _board(request, uuid)
        return Response(BoardDetailSerializer(board, context={"person": person(request)}).data)


class PlaceFilm(APIView):
    @extend_schema(request=NewPlacementSerializer, responses={201: PlacementSerializer})
    def post(self, request: HttpRequest, uuid: UUID, position: int) -> Response:
        """Place the film at a position, or leave it out."""
        board = _board(request, uuid)
        film = board.films.select_related("image__dataset__site").filter(position=position).first()
        if film is None:
            raise Http404(f"The board has no film {position}.")
        film.board = board
        serializer = NewPlacementSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        try:
            if values["left_out"]:
                row = canonicals.leave_out(film=film, author=person(request))
            else:
                row = canonicals.place_film(
                    film=film, author=person(request), matrix=values["matrix"] or [], points=values["points"]
                ).row
        except InvalidPlacement as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(PlacementSerializer(row).data, status=status.HTTP_201_CREATED)


class MakeCanonical(APIView):
    @extend_schema(request=NewCanonicalSerializer, responses={201: CanonicalSerializer})
    def post(self, request: HttpRequest, uuid: UUID) -> Response:
        """Average the films as they are placed now."""
        board = _board(request, uuid)
        serializer = NewCanonicalSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            made = canonicals.make_canonical(
                board=board, name=serializer.validated_data["name"], author=person(request)
            )
        except RunRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(CanonicalSerializer(made).data, status=status.HTTP_201_CREATED)


class Canonicals(generics.ListAPIView[HandMadeCanonical]):
    """The hand-made canonical images of the sites where you may align by hand, newest first."""

    serializer_class = CanonicalSerializer
    queryset = HandMadeCanonical.objects.none()

    def get_queryset(self) -> Any:
        return _of_sites(HandMadeCanonical.objects.select_related("board"), person(self.request))


def _alignment(request: HttpRequest, uuid: UUID) -> AlignmentModel:
    run = get_visible(Run.objects.select_related("site", "alignment_made"), person(request), uuid)
    require(person(request), "align by hand", run.site)
    alignment = getattr(run, "alignment_made", None)
    if alignment is None:
        raise Http404("This run made no alignment.")
    alignment.run = run
    return cast(AlignmentModel, alignment)


class DecisionsSerializer(serializers.Serializer[None]):
    decisions = DecisionSerializer(many=True)
    left_out = serializers.CharField(help_text="That films are left out, for a person who reads blinded.")


class Decisions(APIView):
    @extend_schema(responses={200: DecisionsSerializer})
    def get(self, request: HttpRequest, uuid: UUID) -> Response:
        """The last decision on each film of the alignment that the run made."""
        alignment, user = _alignment(request, uuid), person(request)
        withheld = withheld_patients(user)
        rows = [row for row in current_decisions(alignment).values() if row.image.patient_id not in withheld]
        record_exposure(user, Exposure.Kind.LABEL, [row.image_id for row in rows])
        return Response({"decisions": DecisionSerializer(rows, many=True).data, "left_out": left_out(user)})


class Decide(APIView):
    @extend_schema(request=NewDecisionSerializer, responses={201: DecisionSerializer})
    def post(self, request: HttpRequest, uuid: UUID, image_uuid: UUID) -> Response:
        """Accept the film's place, give it another by hand, or exclude the film, for later runs."""
        alignment, user = _alignment(request, uuid), person(request)
        image = get_visible(Image.objects.select_related("dataset__site"), user, image_uuid)
        refuse_withheld(user, image)
        serializer = NewDecisionSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            row = outcome.decide(alignment=alignment, image=image, author=user, **serializer.validated_data)
        except (InvalidPlacement, RunRefused) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(DecisionSerializer(row).data, status=status.HTTP_201_CREATED)
