"""The runs API. It calls the same functions as the pages. A refused request gets 400 with a sentence in `detail`."""

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
from ml_engine.models import AlignmentModel, DetectorModel, HandMadeCanonical, HeadModel, Run, RunKind, RunState
from ml_engine.runs import lifecycle, requests, run_bucket
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Dataset, Site, Split, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, sites_of, visible
from portal.people.retired import without_retired
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
        "scored",
        "head",
        "head_made",
    )


@extend_schema(parameters=[OpenApiParameter("kind"), OpenApiParameter("state")])
@accepts_query("kind", "state")
class Runs(generics.ListAPIView[Run]):
    """The runs of your sites, newest first, without those that are retired; `kind` and `state` filter."""

    serializer_class = RunSerializer
    queryset = Run.objects.none()

    def get_queryset(self) -> QuerySet[Run]:
        runs = visible(without_retired(_runs()), person(self.request))
        for name, known in (("kind", list(RunKind)), ("state", RunState.values)):
            value = self.request.query_params.get(name)
            if value and value not in known:
                raise ValidationError({"detail": f"{name} is “{value}”: it must be one of {', '.join(known)}."})
            if value:
                runs = runs.filter(**{name: value})
        return runs


class OneRun(generics.RetrieveAPIView[Run]):
    serializer_class = RunDetailSerializer
    queryset = Run.objects.none()

    def get_object(self) -> Run:
        return get_visible(_runs(), person(self.request), self.kwargs["uuid"])


class NewRun(APIView):
    """Base of the views that request a run: validates, requests the run and returns it, or the reason of a refusal."""

    kind: RunKind
    url_name: str
    request_serializer: type[NewRunSerializer]

    def post(self, request: HttpRequest) -> Response:
        serializer = self.request_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values: dict[str, Any] = serializer.validated_data
        run_request = requests.RunRequest(
            site=site_named(person(request), values.get("site")),
            name=values["name"],
            note=values["note"],
            tags=values["tags"],
            requested_by=person(request),
        )
        try:
            run = self.make(run_request, values, person(request))
        except (RunRefused, InvalidConfig) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(RunDetailSerializer(run).data, status=status.HTTP_201_CREATED)

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        raise NotImplementedError


def site_named(user: User, address: UUID | None) -> Site:
    sites = sites_of(user)
    if address is not None:
        return get_visible(sites, user, address)
    first_two = list(sites[:2])
    if len(first_two) != 1:
        raise ValidationError({"detail": "You are a member of several sites or of none: name one in “site”."})
    return first_two[0]


def canonical_named(user: User, address: UUID | None) -> HandMadeCanonical | None:
    return get_visible(HandMadeCanonical.objects.all(), user, address) if address else None


@extend_schema(request=NewAlignmentFitSerializer, responses={201: RunDetailSerializer})
class NewAlignment(NewRun):
    kind = RunKind.FIT_ALIGNMENT
    url_name = "api-fit-alignment"
    request_serializer = NewAlignmentFitSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, values["split"])
        config = requests.config_from(values["preset"], values["settings"])
        canonical = canonical_named(user, values["canonical"])
        return requests.request_alignment(request, split=split, config=config, canonical=canonical)


@extend_schema(request=NewDetectorFitSerializer, responses={201: RunDetailSerializer})
class NewDetector(NewRun):
    kind = RunKind.FIT_DETECTOR
    url_name = "api-fit-detector"
    request_serializer = NewDetectorFitSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, values["split"])
        config = requests.config_from(values["preset"], values["settings"])
        if values["alignment"] == FIT_FIRST:
            canonical = canonical_named(user, values["canonical"])
            return requests.request_aligned_detector(request, split=split, config=config, canonical=canonical)
        alignment = None
        if values["alignment"] != UNALIGNED:
            alignment = get_visible(AlignmentModel.objects.all(), user, values["alignment"])
        return requests.request_detector(request, split=split, config=config, alignment=alignment)


@extend_schema(request=NewScoreSerializer, responses={201: RunDetailSerializer})
class NewScore(NewRun):
    kind = RunKind.SCORE
    url_name = "api-score"
    request_serializer = NewScoreSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        detector, after = detector_of(user, values["detector"])
        datasets = [get_visible(Dataset.objects.all(), user, address) for address in values["datasets"]]
        head = None
        if values["head"] is not None:
            head = requests.find_model(HeadModel, request.site, values["head"])
        return requests.request_score(
            request, detector=detector, after=after, parts=values["parts"], datasets=datasets, head=head
        )


VIEWS: tuple[type[NewRun], ...] = (NewAlignment, NewDetector, NewScore)


def detector_of(user: User, address: UUID) -> tuple[DetectorModel | None, Run | None]:
    """The detector with this UUID or made by the run with it; or the run that will make one. 404 otherwise."""
    models = visible(DetectorModel.objects.select_related("split"), user)
    model = models.filter(uuid=address).first() or models.filter(run__uuid=address).first()
    if model is not None:
        return model, None
    return None, get_visible(Run.objects.select_related("split"), user, address)


class RunAction(APIView):
    """Base of the views that change a run."""

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


@accepts_query("lines")
class Log(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("lines", OpenApiTypes.INT, description="At most 10,000; the default is 200.")],
        responses={200: LogSerializer},
    )
    def get(self, request: HttpRequest, uuid: UUID) -> Response:
        """The last lines of the run's log."""
        run = get_visible(Run.objects.all(), person(request), uuid)
        text = request.query_params.get("lines", "200")
        if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 10_000:  # int() refuses 4,300 digits
            raise ValidationError({"detail": f"lines is “{text[:20]}”: it must be a whole number from 1 to 10000."})
        log = run_bucket.log_tail(run, lines=int(text), limit=2**20)
        if run.random_weights:
            log = f"{RANDOM_WEIGHTS}\n\n{log}"
        return Response({"log": log, "random_weights": run.random_weights})
