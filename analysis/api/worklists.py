"""API of worklists and readings, which the reading page itself uses."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.middleware.csrf import get_token
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.exposures import LABEL, record_shown
from analysis.models import (
    Agreement,
    Escalation,
    Reading,
    Reason,
    ScoreKind,
    Stage,
    StudyDesign,
    Verdict,
    Worklist,
    WorklistItem,
    WorklistReader,
)
from analysis.reading import verdicts as readings
from analysis.reading.assignments import AssignmentRefused, readers_named, require_reader, shown_to
from analysis.reading.reader_studies import ReadingTask, tasks_of, why_session_waits
from analysis.reading.verdicts import NewReading, ReadingRefused
from analysis.reading.worklist_summary import readings_of, require_summary, summarise
from analysis.reading.worklists import (
    POINTS,
    UNFLAGGED_SHARE,
    WorklistRefused,
    WorklistRequest,
    begin,
    hand_back,
    in_order,
    make_worklist,
)
from analysis.views.worklists import record_verdicts, refuse_verdicts
from ml_engine.models import Run
from portal.models import Part, User
from portal.people.accepted_query import accepts_query
from portal.people.access import get_visible, may, require, sites_where
from portal.people.blinding import left_out, refuse_withheld, without_withheld
from portal.people.retired import without_retired
from portal.people.signed_in import person


class WorklistSerializer(serializers.ModelSerializer[Worklist]):
    """What a reader may know: not how many of the films are flagged."""

    run = serializers.UUIDField(source="run.uuid", read_only=True)
    films = serializers.SerializerMethodField()

    class Meta:
        model = Worklist
        fields = ["uuid", "name", "run", "blinded", "design", "created_at", "films"]

    def get_films(self, worklist: Worklist) -> int:
        return sum(int(worklist.counts[kind]["drawn"]) for kind in ("flagged", "unflagged"))


class WorklistDetailSerializer(WorklistSerializer):
    class Meta(WorklistSerializer.Meta):
        fields = [
            *WorklistSerializer.Meta.fields,
            "score",
            "operating_point",
            "threshold",
            "parts",
            "unflagged_share",
            "most",
            "seed",
            "days_to_read",
            "washout_days",
            "repeat_share",
            "counts",
        ]


class NewWorklistSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    point = serializers.ChoiceField(choices=list(POINTS.items()), default="calibrate specificity")
    value = serializers.FloatField(default=0.9)
    score = serializers.ChoiceField(
        choices=ScoreKind.choices,
        default=ScoreKind.ONE_CLASS,
        help_text="combined only for a run that scored with a semi-supervised head.",
    )
    parts = serializers.ListField(child=serializers.ChoiceField(choices=Part.choices), default=list)
    unflagged_share = serializers.FloatField(default=UNFLAGGED_SHARE)
    most = serializers.IntegerField(required=False, allow_null=True, default=None)
    blinded = serializers.BooleanField(default=False)
    seed = serializers.IntegerField(default=0)
    days_to_read = serializers.IntegerField(default=28)
    washout_days = serializers.IntegerField(default=28)
    design = serializers.ChoiceField(
        choices=StudyDesign.choices, allow_blank=True, default="", help_text="Makes it a reader study."
    )
    repeat_share = serializers.FloatField(
        required=False, allow_null=True, default=None, help_text="Of a reader study; 0.05 where none is sent."
    )
    readers = serializers.ListField(
        child=serializers.CharField(max_length=150),
        default=list,
        help_text="Usernames of those it is assigned to; empty for every reader of the site.",
    )


class BoxSerializer(serializers.Serializer[Any]):
    x = serializers.FloatField()
    y = serializers.FloatField()
    width = serializers.FloatField()
    height = serializers.FloatField()
    finding = serializers.CharField(allow_blank=True, default="", max_length=100)


class NewReadingSerializer(serializers.Serializer[Any]):
    uuid = serializers.UUIDField(help_text="Chosen by the client: a reading sent twice is stored once.")
    item = serializers.UUIDField()
    reader = serializers.UUIDField(
        required=False, help_text="The reader; refused if another person has logged in in the same browser since."
    )
    verdict = serializers.ChoiceField(choices=Verdict.choices)
    stage = serializers.ChoiceField(
        choices=Stage.choices, allow_blank=True, default="", help_text="Of a reader study, as rating and agreement."
    )
    rating = serializers.IntegerField(
        required=False, allow_null=True, default=None, help_text="Likelihood of abnormality, 0 to 100."
    )
    agreement = serializers.ChoiceField(
        choices=Agreement.choices, allow_blank=True, default="", help_text="With the model, once it is shown."
    )
    reason = serializers.ChoiceField(choices=Reason.choices, allow_blank=True, default="")
    findings = serializers.ListField(child=serializers.CharField(max_length=100), default=list)
    comment = serializers.CharField(allow_blank=True, default="", max_length=2000)
    boxes = BoxSerializer(many=True, default=list)
    active_seconds = serializers.FloatField()
    total_seconds = serializers.FloatField()


class OwnReadingSerializer(serializers.ModelSerializer[Reading]):
    class Meta:
        model = Reading
        fields = ["uuid", "verdict", "reason", "findings", "comment", "boxes"]


class OwnStudyReadingSerializer(OwnReadingSerializer):
    rating = serializers.IntegerField(source="confidence", read_only=True, allow_null=True)

    class Meta(OwnReadingSerializer.Meta):
        fields = [*OwnReadingSerializer.Meta.fields, "stage", "rating", "agreement"]


class ItemSerializer(serializers.Serializer[Any]):
    item = serializers.UUIDField()
    image = serializers.UUIDField()
    reading = OwnReadingSerializer(allow_null=True)


class StudyItemSerializer(serializers.Serializer[Any]):
    item = serializers.UUIDField()
    image = serializers.UUIDField()
    stages = serializers.ListField(
        child=serializers.ChoiceField(choices=Stage.choices),
        help_text="In which you read it in this session, in order.",
    )
    readings = OwnStudyReadingSerializer(many=True)


class BegunSerializer(serializers.Serializer[Any]):
    expires_at = serializers.DateTimeField()


class HandedBackSerializer(serializers.Serializer[Any]):
    unread = serializers.IntegerField()


class OwnItemsSerializer(serializers.Serializer[Any]):
    items = ItemSerializer(many=True)
    csrf = serializers.CharField(help_text="For requests with a session; not needed with a token.")


class OwnStudyItemsSerializer(serializers.Serializer[Any]):
    items = StudyItemSerializer(many=True)
    csrf = serializers.CharField(help_text="For requests with a session; not needed with a token.")


_OWN_ITEMS = PolymorphicProxySerializer(
    component_name="ItemsToRead",
    serializers=[OwnItemsSerializer, OwnStudyItemsSerializer],
    resource_type_field_name=None,
)
_OWN_READING = PolymorphicProxySerializer(
    component_name="ReadingOfYours",
    serializers=[OwnReadingSerializer, OwnStudyReadingSerializer],
    resource_type_field_name=None,
)


class ReadingSerializer(serializers.ModelSerializer[Reading]):
    item = serializers.UUIDField(source="item.uuid", read_only=True)
    image = serializers.UUIDField(source="image.uuid", read_only=True)
    reader = serializers.UUIDField(source="reader.uuid", read_only=True)
    flagged = serializers.BooleanField(source="item.flagged", read_only=True)
    reference = serializers.SerializerMethodField(help_text="Whether it may be used as a reference label.")
    reference_note = serializers.SerializerMethodField(
        help_text="Why not, or that it is unverified; blank for neither."
    )
    repeat = serializers.IntegerField(source="item.repeat", read_only=True)
    rating = serializers.IntegerField(source="confidence", read_only=True, allow_null=True)

    class Meta:
        model = Reading
        fields = [
            "uuid",
            "item",
            "image",
            "reader",
            "repeat",
            "stage",
            "verdict",
            "rating",
            "agreement",
            "reason",
            "findings",
            "comment",
            "boxes",
            "active_seconds",
            "total_seconds",
            "model_shown",
            "heatmap_shown",
            "label_shown",
            "exposure_known",
            "sampling_probability",
            "flagged",
            "reference",
            "reference_note",
            "created_at",
        ]

    def get_reference(self, reading: Reading) -> bool:
        usable: set[int] = self.context["usable"]
        return reading.pk in usable

    def get_reference_note(self, reading: Reading) -> str:
        return readings.why_no_reference(reading, usable=self.get_reference(reading))


class NewEscalationSerializer(serializers.Serializer[Any]):
    item = serializers.UUIDField()
    reason = serializers.CharField(max_length=500)


class EscalationAnswerSerializer(serializers.Serializer[Any]):
    action = serializers.CharField(max_length=500)


class EscalationSerializer(serializers.ModelSerializer[Escalation]):
    image = serializers.UUIDField(source="image.uuid", read_only=True)
    answered = serializers.SerializerMethodField()

    class Meta:
        model = Escalation
        fields = ["uuid", "image", "reason", "created_at", "answered"]

    def get_answered(self, escalation: Escalation) -> bool:
        return hasattr(escalation, "answer")


def _worklists() -> QuerySet[Worklist]:
    return Worklist.objects.select_related("run__site")


def _worklist(user: User, uuid: UUID) -> Worklist:
    return get_visible(_worklists(), user, uuid)


def _item(worklist: Worklist, uuid: UUID) -> WorklistItem:
    items = WorklistItem.objects.select_related("image", "worklist__run__site").filter(worklist=worklist, uuid=uuid)
    item = items.first()
    if item is None:
        raise ValidationError({"detail": f"The worklist has no item {uuid}; load the page again."})
    return item


def _check_is_reader(user: User, named: UUID | str | None) -> None:
    if named and str(named) != str(user.uuid):
        raise PermissionDenied("Somebody else is now logged in with this browser: log in as yourself.")


class Worklists(generics.ListAPIView[Worklist]):
    """The worklists of the sites where you may read or make worklists, without those that are retired."""

    serializer_class = WorklistSerializer
    queryset = Worklist.objects.none()

    def get_queryset(self) -> QuerySet[Worklist]:
        user = person(self.request)
        makes = sites_where(user, "make worklists")
        sites = sites_where(user, "read worklists") | makes
        rows = without_retired(_worklists()).filter(run__site__in=sites.values("pk"))
        return shown_to(rows, user, makes=makes)


class OneWorklist(APIView):
    @extend_schema(responses=WorklistDetailSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        user = person(request)
        worklist = _worklist(user, uuid)
        if may(user, "make worklists", worklist.run.site):
            require_summary(user, worklist)
            return Response(WorklistDetailSerializer(worklist).data)
        require_reader(worklist, user)
        return Response(WorklistSerializer(worklist).data)


class NewWorklist(APIView):
    @extend_schema(request=NewWorklistSerializer, responses={201: WorklistDetailSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        run = get_visible(Run.objects.select_related("detector__split", "site"), person(request), uuid)
        serializer = NewWorklistSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        require(person(request), "make worklists", run.site)
        try:
            named = readers_named(run.site, values.pop("readers"))
            worklist = make_worklist(WorklistRequest(run=run, author=person(request), readers=named, **values))
        except (AssignmentRefused, WorklistRefused) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(WorklistDetailSerializer(worklist).data, status=status.HTTP_201_CREATED)


_TO_BEGIN = "send POST /api/v1/worklists/UUID/begin/"


class Begin(APIView):
    @extend_schema(request=None, responses=BegunSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Begin to read, or continue. While films of a blinded worklist are unread, what is said about them is withheld
        from you."""
        try:
            begun = begin(worklist=_worklist(person(request), uuid), reader=person(request))
        except WorklistRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(BegunSerializer({"expires_at": begun.expires_at}).data)


class HandBack(APIView):
    @extend_schema(request=None, responses=HandedBackSerializer)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Stop reading; your readings stay."""
        worklist = _worklist(person(request), uuid)
        require(person(request), "read worklists", worklist.run.site)
        try:
            left = hand_back(worklist=worklist, reader=person(request))
        except WorklistRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(HandedBackSerializer({"unread": left}).data)


@accepts_query("reader")
class OwnItems(APIView):
    """The films in your order, with your own readings; the reading page shows these. A reader study has the stages of
    each film as well."""

    @extend_schema(parameters=[OpenApiParameter("reader", OpenApiTypes.UUID)], responses=_OWN_ITEMS)
    def get(self, request: Request, uuid: UUID) -> Response:
        user = person(request)
        worklist = _worklist(user, uuid)
        _check_is_reader(user, request.query_params.get("reader"))
        require_reader(worklist, user)
        begun = WorklistReader.objects.filter(worklist=worklist, reader=user).first()
        if begun is None:
            raise ValidationError({"detail": f"You have not begun this worklist; {_TO_BEGIN} first."})
        if worklist.design:
            begun.worklist = worklist
            return Response(_study_items(request, begun))
        own = Reading.objects.filter(item__worklist=worklist, reader=user, replaced_by__isnull=True)
        by_item = {reading.item_id: reading for reading in own}
        items = [
            {"item": item.uuid, "image": item.image.uuid, "reading": by_item.get(item.pk)} for item in in_order(begun)
        ]
        return Response(OwnItemsSerializer({"items": items, "csrf": get_token(request._request)}).data)


def _study_items(request: Request, begun: WorklistReader) -> Any:
    """JSON: the showings of this session, each with the readings that are stored."""
    waits = why_session_waits(begun)
    if waits:
        raise ValidationError({"detail": waits})
    own: dict[int, dict[str, Reading]] = {}
    for reading in Reading.objects.filter(item__worklist=begun.worklist, reader_id=begun.reader_id).order_by("pk"):
        assert reading.item_id is not None
        own.setdefault(reading.item_id, {})[reading.stage] = reading

    def row(task: ReadingTask) -> dict[str, Any]:
        of_item = own.get(task.item.pk, {})
        return {
            "item": task.item.uuid,
            "image": task.item.image.uuid,
            "stages": task.stages,
            "readings": [of_item[stage] for stage in task.stages if stage in of_item],
        }

    items = [row(task) for task in tasks_of(begun)]
    return OwnStudyItemsSerializer({"items": items, "csrf": get_token(request._request)}).data


class Readings(APIView):
    @extend_schema(request=NewReadingSerializer, responses={201: _OWN_READING})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Store your reading; it replaces your earlier reading of the same item. In a reader study it is locked."""
        worklist = _worklist(person(request), uuid)
        require_reader(worklist, person(request))
        serializer = NewReadingSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        _check_is_reader(person(request), values.pop("reader", None))
        item = _item(worklist, values.pop("item"))
        try:
            reading = readings.record(item=item, reader=person(request), new=NewReading(**values))
        except ReadingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        stored = OwnStudyReadingSerializer(reading) if reading.stage else OwnReadingSerializer(reading)
        return Response(stored.data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=ReadingSerializer(many=True))
    def get(self, request: Request, uuid: UUID) -> Response:
        """The current readings of all readers, for those who may see the summary of the worklist; refused whole while
        you have yet to read one of the films blinded."""
        worklist = _worklist(person(request), uuid)
        require_summary(person(request), worklist)
        rows = readings_of(worklist)
        refuse_verdicts(person(request), rows)
        record_verdicts(person(request), worklist, rows)
        usable = readings.usable_as_reference(rows)
        return Response(ReadingSerializer(rows, many=True, context={"usable": usable}).data)


class Summary(APIView):
    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request, uuid: UUID) -> Response:
        worklist = _worklist(person(request), uuid)
        require_summary(person(request), worklist)
        return Response(summarise(worklist))


class Escalate(APIView):
    @extend_schema(request=NewEscalationSerializer, responses={201: EscalationSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Report a film that needs action outside research to the site's honest broker."""
        worklist = _worklist(person(request), uuid)
        require_reader(worklist, person(request))
        serializer = NewEscalationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        item = _item(worklist, serializer.validated_data["item"])
        reason = serializer.validated_data["reason"]
        try:
            escalation = readings.escalate(item=item, reader=person(request), reason=reason)
        except ReadingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(EscalationSerializer(escalation).data, status=status.HTTP_201_CREATED)


class Escalations(generics.ListAPIView[Escalation]):
    """For the honest broker: the films reported at your sites. `omitted` says that films which you have yet to
    read blinded are left out."""

    serializer_class = EscalationSerializer
    queryset = Escalation.objects.none()

    def get_queryset(self) -> QuerySet[Escalation]:
        rows = without_withheld(self._everything(), person(self.request), film="image")
        return rows.select_related("image", "answer")

    def _everything(self) -> QuerySet[Escalation]:
        sites = sites_where(person(self.request), "answer escalations")
        return Escalation.objects.filter(image__dataset__site__in=sites)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response = super().list(request, *args, **kwargs)
        record_shown(person(request), (row["image"] for row in response.data["results"]), [LABEL])
        response.data["omitted"] = left_out(person(request))
        return response


class Answer(APIView):
    @extend_schema(request=EscalationAnswerSerializer, responses={200: EscalationSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        escalation = get_visible(Escalation.objects.select_related("image__dataset__site"), person(request), uuid)
        refuse_withheld(person(request), escalation.image)
        serializer = EscalationAnswerSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            readings.answer_escalation(
                escalation=escalation, broker=person(request), action=serializer.validated_data["action"]
            )
        except ReadingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(EscalationSerializer(escalation).data)
