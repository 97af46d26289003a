"""Runs by API: the same functions and the same rules as the pages. A refusal is 400 with a sentence in `detail`."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_engine.api.serializers import (
    NewAlignmentFitSerializer,
    NewDetectorFitSerializer,
    NewRunSerializer,
    NewScoreSerializer,
    RunDetailSerializer,
    RunSerializer,
)
from ml_engine.core.errors import InvalidConfig
from ml_engine.forms.runs import FIT_FIRST, RANDOM_WEIGHTS, UNALIGNED
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind, RunState
from ml_engine.runs import lifecycle, paths, requests
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Dataset, Site, Split, User
from portal.people.access import get_visible, sites_of, visible
from portal.people.signed_in import person


def _runs() -> QuerySet[Run]:
    return Run.objects.select_related(
        "site",
        "split",
        "after",
        "clone_of",
        "requested_by",
        "alignment",
        "detector",
        "alignment_made",
        "detector_made",
    )


@extend_schema(parameters=[OpenApiParameter("kind"), OpenApiParameter("state")])
class Runs(generics.ListAPIView[Run]):
    """The runs of your sites, newest first; `kind` and `state` filter."""

    serializer_class = RunSerializer
    queryset = Run.objects.none()

    def get_queryset(self) -> QuerySet[Run]:
        runs = visible(_runs(), person(self.request))
        for name, known in (("kind", list(RunKind)), ("state", RunState.values)):
            wanted = self.request.query_params.get(name)
            if wanted and wanted not in known:
                raise ValidationError({"detail": f"{name} is “{wanted}”: it must be one of {', '.join(known)}."})
            if wanted:
                runs = runs.filter(**{name: wanted})
        return runs


class OneRun(generics.RetrieveAPIView[Run]):
    serializer_class = RunDetailSerializer
    queryset = Run.objects.none()

    def get_object(self) -> Run:
        return get_visible(_runs(), person(self.request), self.kwargs["uuid"])


class NewRun(APIView):
    """What all kinds share: read the wish, make the run, answer with it or with a sentence."""

    kind: RunKind
    url_name: str
    wish: type[NewRunSerializer]

    def post(self, request: HttpRequest) -> Response:
        wish = self.wish(data=request.data)
        wish.is_valid(raise_exception=True)
        given: dict[str, Any] = wish.validated_data
        asked = requests.RunRequest(
            site=_site(person(request), given.get("site")),
            name=given["name"],
            note=given["note"],
            tags=given["tags"],
            requested_by=person(request),
        )
        try:
            made = self.make(asked, given, person(request))
        except (RunRefused, InvalidConfig) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(RunDetailSerializer(made).data, status=status.HTTP_201_CREATED)

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        raise NotImplementedError


def _site(user: User, address: UUID | None) -> Site:
    sites = sites_of(user)
    if address is not None:
        return get_visible(sites, user, address)
    own = list(sites[:2])
    if len(own) != 1:
        raise ValidationError({"detail": "You are a member of several sites or of none: name one in “site”."})
    return own[0]


@extend_schema(request=NewAlignmentFitSerializer, responses={201: RunDetailSerializer})
class NewAlignment(NewRun):
    kind = RunKind.FIT_ALIGNMENT
    url_name = "api-fit-alignment"
    wish = NewAlignmentFitSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, given["split"])
        config = requests.config_from(given["preset"], given["settings"])
        return requests.request_alignment(asked, split=split, config=config)


@extend_schema(request=NewDetectorFitSerializer, responses={201: RunDetailSerializer})
class NewDetector(NewRun):
    kind = RunKind.FIT_DETECTOR
    url_name = "api-fit-detector"
    wish = NewDetectorFitSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, given["split"])
        config = requests.config_from(given["preset"], given["settings"])
        if given["alignment"] == FIT_FIRST:
            return requests.request_aligned_detector(asked, split=split, config=config)
        alignment = None
        if given["alignment"] != UNALIGNED:
            alignment = get_visible(AlignmentModel.objects.all(), user, given["alignment"])
        return requests.request_detector(asked, split=split, config=config, alignment=alignment)


@extend_schema(request=NewScoreSerializer, responses={201: RunDetailSerializer})
class NewScore(NewRun):
    kind = RunKind.SCORE
    url_name = "api-score"
    wish = NewScoreSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        detector, after = _detector(user, given["detector"])
        datasets = [get_visible(Dataset.objects.all(), user, address) for address in given["datasets"]]
        return requests.request_score(asked, detector=detector, after=after, parts=given["parts"], datasets=datasets)


DOORS: tuple[type[NewRun], ...] = (NewAlignment, NewDetector, NewScore)


def _detector(user: User, address: UUID) -> tuple[DetectorModel | None, Run | None]:
    """A detector by its own address or its run's; or the run that is going to make it. 404 otherwise."""
    models = visible(DetectorModel.objects.select_related("split"), user)
    model = models.filter(uuid=address).first() or models.filter(run__uuid=address).first()
    if model is not None:
        return model, None
    return None, get_visible(Run.objects.select_related("split"), user, address)


class RunAction(APIView):
    """Something a person does to a run."""

    def act(self, run: Run, user: User) -> Run:
        raise NotImplementedError

    @extend_schema(request=None, responses={200: RunDetailSerializer})
    def post(self, request: HttpRequest, uuid: UUID) -> Response:
        run = get_visible(_runs(), person(request), uuid)
        try:
            changed = self.act(run, person(request))
        except RunRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(RunDetailSerializer(changed).data)


class Cancel(RunAction):
    def act(self, run: Run, user: User) -> Run:
        return lifecycle.cancel(run=run, actor=user)


class Retry(RunAction):
    def act(self, run: Run, user: User) -> Run:
        return lifecycle.retry(run=run, actor=user)


class LogSerializer(serializers.Serializer[None]):
    log = serializers.CharField()
    random_weights = serializers.BooleanField(help_text="True: random weights, not for evaluation.")


class Log(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("lines", OpenApiTypes.INT, description="At most 10,000; 200 unless given.")],
        responses={200: LogSerializer},
    )
    def get(self, request: HttpRequest, uuid: UUID) -> Response:
        """The last lines of the run's log."""
        run = get_visible(Run.objects.all(), person(request), uuid)
        text = request.query_params.get("lines", "200")
        if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 10_000:  # int() refuses 4,300 digits
            raise ValidationError({"detail": f"lines is “{text[:20]}”: it must be a whole number from 1 to 10000."})
        log = paths.log_tail(run.uuid, lines=int(text), limit=2**20)
        if run.random_weights:
            log = f"{RANDOM_WEIGHTS}\n\n{log}"
        return Response({"log": log, "random_weights": run.random_weights})
