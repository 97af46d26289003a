"""A label that conflicts with another person's, settled by API."""

from typing import Any
from uuid import UUID, uuid4

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.serializers import LabelRequest
from portal.labels.disagreements import ChangedAgain, MergeChoice, merge
from portal.labels.events import InvalidLabel, LabelChange
from portal.labels.losses import losses_of, words_of
from portal.models import Exposure, Image
from portal.people.access import get_visible
from portal.people.blinding import refuse_withheld
from portal.people.exposure import record_exposure
from portal.people.signed_in import person
from portal.sets.film_filters import labelled


class MergeRequest(LabelRequest):
    """Your label of a film, the number of its label events that you saw, and what is to be done."""

    images = None  # type: ignore[assignment]  # of a single film
    image = serializers.UUIDField()
    seen = serializers.IntegerField(  # type: ignore[assignment]
        min_value=0, help_text="The number of label events of the film when both labels were before you."
    )
    choice = serializers.ChoiceField(
        [choice.value for choice in MergeChoice],
        help_text="mine (which settles the film, by an adjudicator), theirs (your label is withdrawn) or unresolved.",
    )


class Merged(serializers.Serializer[None]):
    act = serializers.UUIDField()
    label = serializers.CharField(allow_null=True, help_text="The film's current label.")  # type: ignore[assignment]
    findings = serializers.ListField(child=serializers.CharField())
    attributes = serializers.ListField(child=serializers.CharField())
    note = serializers.CharField(allow_blank=True, help_text="What no longer counts, as a sentence.")


class LabelledAgain(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "The film has been labelled again in the meantime; check the newest label."


class MergeLabels(APIView):
    @extend_schema(request=MergeRequest, responses={200: Merged, 409: dict})
    def post(self, request: Request) -> Response:
        """Keep your label, take the other person's, or leave the film unresolved. 409 if it was labelled again since
        you saw both."""
        serializer = MergeRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked: dict[str, Any] = serializer.validated_data
        film = _film(request, asked["image"])
        refuse_withheld(person(request), film)
        act = asked.get("act") or uuid4()
        try:
            merge(
                image=film,
                choice=asked["choice"],
                change=LabelChange(
                    value=asked["value"],
                    findings=asked.get("findings"),
                    boxes=asked.get("boxes"),
                    attributes=asked.get("attributes"),
                    reason=asked["reason"],
                ),
                seen=asked["seen"],
                act=act,
                author=person(request),
                site=film.dataset.site,
            )
        except InvalidLabel as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        except ChangedAgain as changed:
            raise LabelledAgain from changed
        return Response(_merged(request, film, act))


def _film(request: Request, uuid: UUID) -> Image:
    return get_visible(Image.objects.select_related("dataset__site", "current_label"), person(request), uuid)


def _merged(request: Request, film: Image, act: UUID) -> dict[str, Any]:
    now = _film(request, film.uuid)
    record_exposure(person(request), Exposure.Kind.LABEL, labelled([now]))
    label = getattr(now, "current_label", None)
    return {
        "act": str(act),
        "label": label.value if label else None,
        "findings": label.findings if label else [],
        "attributes": label.attributes if label else [],
        "note": words_of(losses_of(act).values()),
    }
