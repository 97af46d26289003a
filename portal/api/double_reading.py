"""API of double reading: making one, reading in it, closing it, and the adjudicator's list; the rules are those of the
pages. Readers get their own readings only."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.core.exceptions import PermissionDenied
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.filters import exact_filters
from portal.api.serializers import QueueSerializer
from portal.labels.events import InvalidLabel, LabelChange
from portal.models import Dataset, DoubleReading, Image, QueueReading, ScreeningQueue, Site, User
from portal.people import blinding
from portal.people.access import get_visible, may, people_who_may, require
from portal.people.signed_in import person
from portal.sets import adjudicating, consensus, double_reading
from portal.sets.double_reading import DoubleReadingRefused
from portal.sets.screening_queues import InvalidQueue, Order, queue_films

T = TypeVar("T")


class NewDoubleReadingSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    readers = serializers.ListField(
        child=serializers.CharField(max_length=150), min_length=2, help_text="Usernames of people who may label films."
    )
    order = serializers.ChoiceField(choices=[Order.RANDOM.value, Order.IMPORTED.value], default=Order.RANDOM.value)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)


class VerdictSerializer(serializers.Serializer[Any]):
    value = serializers.CharField(max_length=8)
    findings = serializers.ListField(child=serializers.CharField(max_length=100), required=False)
    attributes = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="Of normal films, such as device."
    )
    comment = serializers.CharField(max_length=500, allow_blank=True, default="")


class NewQueueReadingSerializer(VerdictSerializer):
    image = serializers.UUIDField()
    boxes = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="{x, y, width, height, finding} in original pixels."
    )
    act = serializers.UUIDField(required=False, help_text="Chosen by you; an act that arrives twice is stored once.")


class QueueReadingSerializer(serializers.ModelSerializer[QueueReading]):
    image = serializers.UUIDField(source="image.uuid", read_only=True)
    criteria = serializers.IntegerField(source="criteria.version", read_only=True, allow_null=True, default=None)

    class Meta:
        model = QueueReading
        fields = [
            *("image", "act", "value", "findings", "attributes", "boxes", "comment", "criteria", "created_at"),
            *("model_shown", "label_shown"),
        ]


class UndoSerializer(serializers.Serializer[Any]):
    act = serializers.UUIDField()


class AdjudicatorSerializer(serializers.Serializer[Any]):
    adjudicator = serializers.CharField(max_length=150, help_text="Username of a person who is none of the readers.")


def _answered(act: Callable[[], T]) -> T:
    """What the act returns; a refusal is a 400 with its sentence."""
    try:
        return act()
    except (DoubleReadingRefused, InvalidLabel, InvalidQueue) as refusal:
        raise ValidationError({"detail": str(refusal)}) from refusal


def _valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _blinded(request: Request, uuid: UUID) -> ScreeningQueue:
    return get_visible(ScreeningQueue.objects.filter(blinded=True).select_related("site"), person(request), uuid)


def _film(queue: ScreeningQueue, address: UUID) -> Image:
    member = queue.members.filter(image__uuid=address).select_related("image__dataset__site").first()
    if member is None:
        raise Http404("The queue has no such film.")
    return member.image


def _change(data: dict[str, Any]) -> LabelChange:
    return LabelChange(
        value=data["value"],
        findings=data.get("findings"),
        attributes=data.get("attributes"),
        boxes=data.get("boxes"),
        reason=data["comment"],
    )


def _person_named(name: str, site: Site, action: str) -> User:
    named = people_who_may(action, site).filter(username=name).first()
    if named is None:
        raise ValidationError({"detail": f"Nobody named {name!r} may {action} at {site.name}."})
    return named


class NewDoubleReading(APIView):
    @extend_schema(request=NewDoubleReadingSerializer, responses={201: QueueSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Make a double reading of the films of a dataset, with the filters of its page in the query."""
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "make queues", dataset.site)
        data = _valid(NewDoubleReadingSerializer(data=request.data))
        filters = exact_filters(request.query_params, dataset)
        readers = [_person_named(name, dataset.site, "label films") for name in data["readers"]]
        words = filters.words()
        queue = _answered(
            lambda: queue_films(
                site=dataset.site,
                name=data["name"],
                images=blinding.without_withheld(filters.apply(dataset.images.all()), person(request)),
                author=person(request),
                source=f"{dataset.name}: {words}" if words else f"{dataset.name}, all films",
                order=data["order"],
                seed=data["seed"],
                readers=readers,
            )
        )
        serializer = QueueSerializer(queue, context={"request": request})
        return Response(serializer.data, status=status.HTTP_201_CREATED)


class DoubleReadingState(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID) -> Response:
        """How far the double reading is. Readers get their own progress, adjudicators, analysts and managers that of
        each; nobody gets readings here."""
        return Response(_state(_blinded(request, uuid), person(request)))


def _state(queue: ScreeningQueue, asker: User) -> dict[str, Any]:
    double = DoubleReading.objects.select_related("adjudicator").get(queue=queue)
    sees_all = may(asker, "see double readings", queue.site)
    return {
        "queue": str(queue.uuid),
        "films": queue.films,
        "days_to_read": queue.days_to_read,
        "closed_at": double.closed_at,
        "adjudicator": double.adjudicator.username if double.adjudicator else None,
        "read_by_all": len(double_reading.values_of(queue)) if sees_all else None,
        "readers": [
            {"reader": row.person.username, "read": row.read, "state": row.state}
            for row in double_reading.progress_of(queue)
            if sees_all or row.person == asker
        ],
        "finished": consensus.is_finished(queue),
    }


class BeginReading(APIView):
    @extend_schema(request=None, responses={200: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Begin to read, or continue. From now on, what is said about the films that you have not read is withheld from
        you everywhere."""
        queue = _blinded(request, uuid)
        _answered(lambda: double_reading.begin(queue=queue, person=person(request)))
        return Response(_state(queue, person(request)))


class HandBackReading(APIView):
    @extend_schema(request=None, responses={200: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Stop reading; your readings stay."""
        queue = _blinded(request, uuid)
        _answered(lambda: double_reading.hand_back(queue=queue, person=person(request)))
        return Response(_state(queue, person(request)))


class OwnReadings(APIView):
    @extend_schema(responses=QueueReadingSerializer(many=True))
    def get(self, request: Request, uuid: UUID) -> Response:
        """Your own readings that count."""
        own = double_reading.own_readings(_blinded(request, uuid), person(request))
        return Response(QueueReadingSerializer(list(own.values()), many=True).data)

    @extend_schema(request=NewQueueReadingSerializer, responses={201: QueueReadingSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Read a film. What you do not state is kept from your own earlier reading, if its value is the same."""
        queue, data = _blinded(request, uuid), _valid(NewQueueReadingSerializer(data=request.data))
        if double_reading.reader_of(queue, person(request)) is None:  # before it is said whether the queue has the film
            raise PermissionDenied(f"The queue {queue.name} is read by other people, who were named when it was made.")
        film = _film(queue, data["image"])
        (row,) = _answered(
            lambda: double_reading.read_blinded(
                queue=queue,
                images=[film],
                change=_change(data),
                act=data.get("act") or uuid4(),
                reader=person(request),
            )
        )
        return Response(QueueReadingSerializer(row).data, status=status.HTTP_201_CREATED)


class UndoReading(APIView):
    @extend_schema(request=UndoSerializer, responses={200: QueueReadingSerializer(many=True)})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Take back an act; its films are withheld again. Responds with your readings that count."""
        queue, data = _blinded(request, uuid), _valid(UndoSerializer(data=request.data))
        _answered(lambda: double_reading.undo_reading(queue=queue, act=data["act"], reader=person(request)))
        own = double_reading.own_readings(queue, person(request))
        return Response(QueueReadingSerializer(list(own.values()), many=True).data)


class CloseReading(APIView):
    @extend_schema(request=None, responses={200: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Close the reading: films on which all readers agree get a consensus label, the others go to the adjudicator,
        as do films on which a reader who agrees had been shown a score, map or label first (`shown_first`). For
        managers; nothing is read or corrected afterwards."""
        queue = _blinded(request, uuid)
        done = _answered(lambda: consensus.close(queue=queue, person=person(request)))
        return Response(
            {
                "agreed": done.agreed,
                "differing": done.differing,
                "shown_first": done.shown_first,
                "not_read_by_all": done.unread,
            }
        )


class NameAdjudicator(APIView):
    @extend_schema(request=AdjudicatorSerializer, responses={200: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Name the person who settles the films without a consensus. For managers."""
        queue = _blinded(request, uuid)
        require(person(request), "close double readings", queue.site)
        data = _valid(AdjudicatorSerializer(data=request.data))
        named = _person_named(data["adjudicator"], queue.site, "adjudicate labels")
        _answered(lambda: adjudicating.name_adjudicator(queue=queue, adjudicator=named, author=person(request)))
        return Response(_state(queue, person(request)))


class AdjudicationList(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID) -> Response:
        """The films left to settle, for the adjudicator, each with their own verdict or null."""
        queue = _blinded(request, uuid)
        double = adjudicating.require_adjudicator(queue, person(request))
        verdicts = adjudicating.verdicts_of(queue, person(request))
        films = consensus.to_settle(queue)
        return Response(
            {
                "begun": adjudicating.is_adjudicating(double),
                "expires_at": double.expires_at,
                "films": [
                    {"image": str(film.uuid), "own_verdict": verdict.value if verdict else None}
                    for film in films
                    for verdict in [verdicts.get(film.pk)]
                ],
            }
        )


class BeginAdjudication(APIView):
    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Begin, or continue: what is said about the films without your own verdict is withheld from you."""
        queue = _blinded(request, uuid)
        _answered(lambda: adjudicating.begin_adjudication(queue=queue, person=person(request)))
        return Response(status=status.HTTP_204_NO_CONTENT)


class HandBackAdjudication(APIView):
    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Stop; your own verdicts stay."""
        queue = _blinded(request, uuid)
        _answered(lambda: adjudicating.hand_back_adjudication(queue=queue, person=person(request)))
        return Response(status=status.HTTP_204_NO_CONTENT)


class OwnVerdict(APIView):
    @extend_schema(request=VerdictSerializer, responses={201: dict[str, Any]})
    def post(self, request: Request, uuid: UUID, image: UUID) -> Response:
        """Give your own verdict on a film, once, before you see its readings."""
        queue, data = _blinded(request, uuid), _valid(VerdictSerializer(data=request.data))
        adjudicating.require_adjudicator(queue, person(request))
        film = _film(queue, image)
        verdict = _answered(
            lambda: adjudicating.give_verdict(queue=queue, image=film, change=_change(data), person=person(request))
        )
        return Response({"image": str(image), "own_verdict": verdict.value}, status=status.HTTP_201_CREATED)


class ReadingsToSettle(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID, image: UUID) -> Response:
        """The readings of a film on which you have given your own verdict, without the names of the readers. It is
        recorded that you have seen them."""
        queue = _blinded(request, uuid)
        adjudicating.require_adjudicator(queue, person(request))
        film = _film(queue, image)
        rows = _answered(lambda: adjudicating.readings_to_settle(queue=queue, image=film, person=person(request)))
        readings = [
            {
                "value": row.value,
                "findings": row.findings,
                "attributes": row.attributes,
                "boxes": row.boxes,
                "comment": row.comment,
            }
            for row in rows
        ]
        response = Response({"image": str(image), "readings": readings})
        response["Cache-Control"] = "no-store"
        return response


class SettleFilm(APIView):
    @extend_schema(request=VerdictSerializer, responses={201: dict[str, Any]})
    def post(self, request: Request, uuid: UUID, image: UUID) -> Response:
        """Settle a film by a single label event; `comment` is the reason."""
        queue, data = _blinded(request, uuid), _valid(VerdictSerializer(data=request.data))
        adjudicating.require_adjudicator(queue, person(request))
        film = _film(queue, image)
        row = _answered(
            lambda: adjudicating.settle(queue=queue, image=film, change=_change(data), person=person(request))
        )
        event = row.label_event
        settled = {"image": str(image), "value": event.value, "findings": event.findings}
        return Response(settled, status=status.HTTP_201_CREATED)
