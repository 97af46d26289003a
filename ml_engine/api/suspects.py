"""The least normal fit films of a detector as a screening queue, by API."""

from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ml_engine.models import Run
from ml_engine.runs.suspect_normals import NoSuspects, queue_least_normal
from portal.api.serializers import QueueSerializer
from portal.people.access import get_visible, require
from portal.people.signed_in import person
from portal.sets.screening_queues import InvalidQueue


class QueueSuspects(APIView):
    @extend_schema(request=None, responses={201: QueueSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Make a queue of the films that the detector of this run was fitted on, the least normal first, by what a
        detector fitted without them says. 404 where the run made no detector."""
        runs = Run.objects.select_related("detector_made__split", "detector_made__site", "detector_made__run")
        detector = getattr(get_visible(runs, person(request), uuid), "detector_made", None)
        if detector is None:
            raise Http404("This run made no detector.")
        require(person(request), "make queues", detector.site)
        try:
            queue = queue_least_normal(detector=detector, author=person(request))
        except (NoSuspects, InvalidQueue) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(QueueSerializer(queue, context={"request": request}).data, status=status.HTTP_201_CREATED)
