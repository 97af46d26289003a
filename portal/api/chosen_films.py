"""API that makes a queue or a cohort of films named one by one, by the functions of the pages."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.new_sets import NewCohort, NewQueue
from portal.api.serializers import CohortSerializer, QueueSerializer
from portal.people.signed_in import person
from portal.sets.chosen_films import InvalidChoice, freeze_chosen, queue_chosen
from portal.sets.cohorts import InvalidCohort
from portal.sets.screening_queues import InvalidQueue


class ChosenQueueRequest(NewQueue):
    images = serializers.ListField(child=serializers.UUIDField(), help_text="UUIDs of films of one site.")


class ChosenCohortRequest(NewCohort):
    images = serializers.ListField(child=serializers.UUIDField(), help_text="UUIDs of films of one site.")


class QueueChosenFilms(APIView):
    """A queue of these films. Refused while you have yet to read one of them blinded."""

    @extend_schema(request=ChosenQueueRequest, responses={201: QueueSerializer})
    def post(self, request: Request) -> Response:
        serializer = ChosenQueueRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        try:
            queue = queue_chosen(
                author=person(request),
                addresses=[str(uuid) for uuid in data["images"]],
                name=data["name"],
                order=data["order"],
                seed=data["seed"],
            )
        except (InvalidChoice, InvalidQueue) as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(QueueSerializer(queue, context={"request": request}).data, status=status.HTTP_201_CREATED)


class FreezeChosenFilms(APIView):
    """A cohort of these films. Refused while you have yet to read one of them blinded."""

    @extend_schema(request=ChosenCohortRequest, responses={201: CohortSerializer})
    def post(self, request: Request) -> Response:
        serializer = ChosenCohortRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        try:
            cohort = freeze_chosen(
                author=person(request),
                addresses=[str(uuid) for uuid in data["images"]],
                name=data["name"],
                note=data["note"],
            )
        except (InvalidChoice, InvalidCohort) as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(CohortSerializer(cohort).data, status=status.HTTP_201_CREATED)
