"""Corrected exports by API: what differs in the header of a later file, to be taken or dismissed."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.pagination import Pages
from portal.intake import corrections
from portal.intake.correction_rows import CorrectionRow, rows_of, waiting_in
from portal.intake.header_facts import Fact
from portal.models import Dataset, HeaderDifference
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, require
from portal.people.signed_in import person

ACTS = ["take", "dismiss"]


class CorrectionSerializer(serializers.Serializer[CorrectionRow]):
    """`old` and `new` in words: patients by the first digits of their pseudonyms, days by how far they move. `splits`
    are the frozen splits that would have one person in two parts."""

    uuid = serializers.UUIDField(source="difference.uuid")
    image = serializers.UUIDField(source="difference.image.uuid")
    fact = serializers.CharField(source="difference.fact")
    old = serializers.CharField()
    new = serializers.CharField()
    upload = serializers.UUIDField(source="difference.upload.uuid")
    splits = serializers.ListField(child=serializers.CharField())


class DecideRequest(serializers.Serializer[None]):
    """`differences`, or all of one `fact`, or with neither all that wait."""

    act = serializers.ChoiceField(choices=ACTS)
    differences = serializers.ListField(child=serializers.UUIDField(), required=False, min_length=1, max_length=10_000)
    fact = serializers.ChoiceField(choices=[str(fact) for fact in Fact], required=False)
    despite_splits = serializers.BooleanField(
        default=False, help_text="Move films even where a frozen split then has one person in two parts."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "differences" in attrs and "fact" in attrs:
            raise ValidationError("Send either `differences` or `fact`, or neither for all that wait.")
        return attrs


class DecidedSerializer(serializers.Serializer[None]):
    films = serializers.IntegerField()
    facts = serializers.DictField(child=serializers.IntegerField(), help_text="Films by fact.")
    waiting = serializers.DictField(child=serializers.IntegerField(), help_text="What still waits, by the reason.")


@extend_schema_view(get=extend_schema(parameters=[OpenApiParameter("fact", OpenApiTypes.STR)]))
@accepts_query("fact")
class Corrections(generics.ListAPIView[Any]):  # rows of the differences, for a page at a time
    """The films of a dataset that came again with another header, a row for each fact that differs."""

    serializer_class = CorrectionSerializer
    pagination_class = Pages
    queryset = HeaderDifference.objects.none()

    def get_queryset(self) -> QuerySet[HeaderDifference]:
        dataset = get_visible(Dataset.objects.all(), person(self.request), self.kwargs["uuid"])
        fact = self.request.query_params.get("fact", "")
        if fact and fact not in list(Fact):
            raise ValidationError({"fact": [f"The fact is {fact[:40]!r}; choose one of {', '.join(Fact)}."]})
        return waiting_in(dataset, fact)

    def paginate_queryset(self, queryset: Any) -> Any:
        return rows_of(super().paginate_queryset(queryset) or [])


class DecideCorrections(APIView):
    @extend_schema(request=DecideRequest, responses=DecidedSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Take the new facts, or dismiss them. For those who may import films."""
        dataset = get_visible(Dataset.objects.select_related("site"), person(request), uuid)
        require(person(request), "import films", dataset.site)
        asked = DecideRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        rows = waiting_in(dataset, values.get("fact", ""))
        rows = rows.filter(uuid__in=values["differences"]) if "differences" in values else rows
        if values["act"] == "take":
            done = corrections.take(rows, actor=person(request), despite_splits=values["despite_splits"])
        else:
            done = corrections.dismiss(rows, actor=person(request))
        return Response({"films": done.films, "facts": dict(done.facts), "waiting": dict(done.left)})
