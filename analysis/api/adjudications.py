"""API of the adjudication list: films proposed from worklists. The rules are those of its pages."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.models import Reading
from analysis.reading import adjudication_list
from analysis.reading.adjudication_list import AdjudicationRefused
from analysis.views.adjudications import omitted_films
from portal.api.double_reading import VerdictSerializer
from portal.labels.events import InvalidLabel, LabelChange
from portal.models import Image, Site, User
from portal.people.access import get_visible, require, sites_of, sites_where
from portal.people.signed_in import person

T = TypeVar("T")


class ProposedReadingSerializer(serializers.ModelSerializer[Reading]):
    """A reading to be settled, without its reader."""

    class Meta:
        model = Reading
        fields = ["verdict", "reason", "findings", "comment", "boxes", "model_shown"]


def _change(request: Request) -> LabelChange:
    serializer = VerdictSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    data = serializer.validated_data
    return LabelChange(
        value=data["value"],
        findings=data.get("findings"),
        attributes=data.get("attributes"),
        reason=data["comment"],
    )


def _answered(act: Callable[[], T]) -> T:
    """What the act returns; a refusal is a 400 with its sentence."""
    try:
        return act()
    except (AdjudicationRefused, InvalidLabel) as refusal:
        raise ValidationError({"detail": str(refusal)}) from refusal


def _sites(user: User, action: str) -> list[Site]:
    """The person's sites where they may do this. Raises PermissionDenied without any."""
    sites = list(sites_where(user, action).order_by("name"))
    return sites or [require(user, action, sites_of(user).first())]


def _film(request: Request, uuid: UUID) -> Image:
    image = get_visible(Image.objects.select_related("dataset__site", "patient"), person(request), uuid)
    require(person(request), "adjudicate labels", image.dataset.site)
    return image


class ProposedFilms(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request) -> Response:
        """The films proposed for a blinded adjudication at your sites, each with your own verdict or null, and why you
        do not adjudicate it (`refusal`) or your verdict would confirm nothing (`warning`). `begun` films are withheld
        from you until your verdict."""
        user = person(request)
        sites = _sites(user, "see adjudications")
        films = [
            {
                "image": str(film.image.uuid),
                "settled": film.is_settled,
                "begun": film.is_open,
                "own_verdict": film.verdict.value if film.verdict else None,
                "refusal": film.refusal,
                "warning": film.warning,
            }
            for site in sites
            for film in adjudication_list.proposed_films(site, user)
        ]
        return Response({"films": films, "omitted": omitted_films(user, sites)})


class BeginList(APIView):
    @extend_schema(request=None, responses={200: dict[str, int]})
    def post(self, request: Request) -> Response:
        """Begin at your sites, or continue: what is said about the films without your own verdict is withheld from
        you. `films` is their number."""
        return Response(
            {"films": _at_each(_sites(person(request), "adjudicate labels"), request, adjudication_list.begin)}
        )


class HandBackList(APIView):
    @extend_schema(request=None, responses={200: dict[str, int]})
    def post(self, request: Request) -> Response:
        """Stop; your own verdicts stay. `films` are those without one."""
        return Response(
            {"films": _at_each(_sites(person(request), "see the site"), request, adjudication_list.hand_back)}
        )


def _at_each(sites: list[Site], request: Request, act: Callable[..., int]) -> int:
    """The number of films of all sites; a refusal only if each site refuses."""
    films, refusals = 0, []
    for site in sites:
        try:
            films += act(site=site, person=person(request))
        except AdjudicationRefused as refusal:
            refusals.append(str(refusal))
    if len(refusals) == len(sites):
        raise ValidationError({"detail": refusals[0]})
    return films


class GiveVerdict(APIView):
    @extend_schema(request=VerdictSerializer, responses={201: dict[str, Any]})
    def post(self, request: Request, image: UUID) -> Response:
        """Give your own verdict on a film that you have begun, once, before you see its readings."""
        of, change = _film(request, image), _change(request)
        own = _answered(lambda: adjudication_list.give_verdict(image=of, change=change, person=person(request)))
        return Response({"image": str(image), "own_verdict": own.value}, status=status.HTTP_201_CREATED)


class ProposedReadings(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, image: UUID) -> Response:
        """The readings that led to the proposal of a film on which you have given your own verdict, without the names
        of the readers. It is recorded that you have seen them."""
        of = _film(request, image)
        rows = _answered(lambda: adjudication_list.readings_to_settle(image=of, person=person(request)))
        response = Response({"image": str(image), "readings": ProposedReadingSerializer(rows, many=True).data})
        response["Cache-Control"] = "no-store"
        return response


class SettleProposed(APIView):
    @extend_schema(request=VerdictSerializer, responses={201: dict[str, Any]})
    def post(self, request: Request, image: UUID) -> Response:
        """Settle a film by a single label event; `comment` is the reason. Findings that are not sent are those of a
        label of the same value."""
        of, change = _film(request, image), _change(request)
        settled = _answered(lambda: adjudication_list.settle(image=of, change=change, person=person(request)))
        answer = {
            "image": str(image),
            "value": settled.verdict,
            "findings": settled.label_event.findings,
            "changed_own_verdict": settled.changed_own_verdict,
        }
        return Response(answer, status=status.HTTP_201_CREATED)
