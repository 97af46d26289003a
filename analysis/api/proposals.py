"""API of what follows from a worklist: proposals of normals, of a semi-supervised head, of adjudications, and their
decisions. The rules are those of the pages."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.models import NormalProposal, Reading, Worklist
from analysis.reading import normal_proposals, verdicts
from analysis.reading.normal_proposals import Crossing, ProposalEffect, ProposalRefused
from analysis.reading.verdicts import ReadingRefused
from analysis.reading.worklist_summary import require_summary
from analysis.views.proposals import get_proposal, proposal_to_decide, show_proposal, worklist_to_propose_from
from portal.people.access import get_visible, sites_where
from portal.people.signed_in import person

MOST = 10_000


class NormalProposalSerializer(serializers.ModelSerializer[NormalProposal]):
    worklist = serializers.UUIDField(source="worklist.uuid", read_only=True)
    run = serializers.UUIDField(source="run.uuid", read_only=True, help_text="It scores with the grown bank.")
    proposed_by = serializers.CharField(source="proposed_by.username", read_only=True)
    decision = serializers.SerializerMethodField(help_text="accepted, refused, or null while it is open.")

    class Meta:
        model = NormalProposal
        fields = ["uuid", "worklist", "run", "proposed_by", "created_at", "decision"]

    def get_decision(self, proposal: NormalProposal) -> str | None:
        decision = getattr(proposal, "decision", None)
        return None if decision is None else "accepted" if decision.accepted else "refused"


class CrossingSerializer(serializers.Serializer[Crossing]):
    image = serializers.UUIDField(source="image.uuid")
    label = serializers.CharField()  # type: ignore[assignment]
    before = serializers.FloatField()
    after = serializers.FloatField()
    is_proposed = serializers.BooleanField()


class EffectSerializer(serializers.Serializer[ProposalEffect]):
    """Films that cross the threshold, by list; those whose scores you may not see yet are counted in `hidden`."""

    threshold_before = serializers.FloatField()
    threshold_after = serializers.FloatField()
    films = serializers.IntegerField()
    flagged_before = serializers.IntegerField()
    flagged_after = serializers.IntegerField()
    vanished = CrossingSerializer(many=True, help_text="Flagged so far, labelled normal.")
    lost = CrossingSerializer(many=True, help_text="Flagged so far, labelled abnormal.")
    unflagged = CrossingSerializer(many=True, help_text="No longer flagged, not labelled normal or abnormal.")
    appeared = CrossingSerializer(many=True, help_text="Newly flagged.")
    hidden = serializers.DictField(child=serializers.IntegerField())


class DecidedNormalProposal(NormalProposalSerializer):
    reason = serializers.SerializerMethodField(help_text="Blank while it is open.")
    cohort = serializers.UUIDField(source="decision.cohort.uuid", default=None, read_only=True, allow_null=True)

    class Meta(NormalProposalSerializer.Meta):
        fields = [*NormalProposalSerializer.Meta.fields, "reason", "cohort"]

    def get_reason(self, proposal: NormalProposal) -> str:
        decision = getattr(proposal, "decision", None)
        return "" if decision is None else str(decision.reason)


class NormalProposalDetail(DecidedNormalProposal):
    films = serializers.ListField(child=serializers.UUIDField(), help_text="The proposed films.")
    left_out = serializers.DictField(child=serializers.IntegerField(), help_text="Reason -> films.")
    effect = EffectSerializer(allow_null=True)
    waiting = serializers.CharField(allow_blank=True, help_text="Why there is no effect yet.")
    omitted = serializers.CharField(allow_blank=True, help_text="Films that you have yet to read blinded.")

    class Meta(DecidedNormalProposal.Meta):
        fields = [*DecidedNormalProposal.Meta.fields, "films", "left_out", "effect", "waiting", "omitted"]


class ReadingsRequest(serializers.Serializer[None]):
    readings = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MOST)


class ProposeNormalsRequest(serializers.Serializer[None]):
    readings = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        max_length=MOST,
        help_text="Of the worklist; without them all films that may be proposed.",
    )


class DecideNormalsRequest(serializers.Serializer[None]):
    decision = serializers.ChoiceField(["accept", "refuse"])
    name = serializers.CharField(
        max_length=100, default="", allow_blank=True, help_text="Of the cohort whose next version is frozen, to accept."
    )
    reason = serializers.CharField(max_length=500, default="", allow_blank=True, help_text="Needed to refuse.")


class ProposedReadingsSerializer(serializers.Serializer[None]):
    readings = serializers.IntegerField()


class NormalProposals(generics.ListAPIView[NormalProposal]):
    """The proposals of normals at the sites where you may propose or accept them, newest first."""

    serializer_class = NormalProposalSerializer
    queryset = NormalProposal.objects.none()

    def get_queryset(self) -> QuerySet[NormalProposal]:
        user = person(self.request)
        sites = sites_where(user, "propose normals") | sites_where(user, "accept normals")
        rows = NormalProposal.objects.filter(worklist__run__site__in=sites.values("pk"))
        return rows.select_related("worklist", "run", "proposed_by", "decision")


class OneNormalProposal(APIView):
    @extend_schema(responses=NormalProposalDetail)
    def get(self, request: Request, uuid: UUID) -> Response:
        """The proposed films and, once the run is done, which films cross the threshold. It is recorded that you have
        seen their labels and scores."""
        proposal = get_proposal(person(request), uuid)
        shown = show_proposal(proposal, person(request))
        answer = {
            **DecidedNormalProposal(proposal).data,
            "films": [film.uuid for film in shown.films],
            "left_out": proposal.left_out,
            "effect": EffectSerializer(shown.effect).data if shown.effect else None,
            "waiting": shown.waiting,
            "omitted": shown.omitted,
        }
        return Response(answer)


class ProposeNormals(APIView):
    @extend_schema(request=ProposeNormalsRequest, responses={201: NormalProposalSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Propose flagged films that their readers called normal for the next version of the normal set, and queue the
        run that says what would change. On films of test that is a look."""
        worklist = worklist_to_propose_from(person(request), uuid)
        asked = _valid(ProposeNormalsRequest(data=request.data))
        named = _readings(worklist, asked["readings"]) if "readings" in asked else None
        try:
            proposal = normal_proposals.propose(worklist=worklist, author=person(request), readings=named)
        except ProposalRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(NormalProposalSerializer(proposal).data, status=status.HTTP_201_CREATED)


class DecideNormals(APIView):
    @extend_schema(request=DecideNormalsRequest, responses={201: DecidedNormalProposal})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Accept a proposal, which freezes the next version of a cohort, or refuse it with a reason."""
        proposal, author = proposal_to_decide(person(request), uuid), person(request)
        asked = _valid(DecideNormalsRequest(data=request.data))
        reason = asked["reason"]
        try:
            if asked["decision"] == "accept":
                normal_proposals.accept(proposal=proposal, author=author, name=asked["name"], reason=reason)
            else:
                normal_proposals.refuse(proposal=proposal, author=author, reason=reason)
        except ProposalRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        decided = get_proposal(author, uuid)
        return Response(DecidedNormalProposal(decided).data, status=status.HTTP_201_CREATED)


class ProposeAdjudications(APIView):
    @extend_schema(request=ReadingsRequest, responses={201: ProposedReadingsSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Propose the films of these readings for a blinded adjudication, all or none. `readings` are how many there
        are; one that was proposed before stays proposed."""
        worklist = get_visible(Worklist.objects.select_related("run__site"), person(request), uuid)
        require_summary(person(request), worklist)
        readings = _readings(worklist, _valid(ReadingsRequest(data=request.data))["readings"])
        try:
            with transaction.atomic():
                for reading in readings:
                    verdicts.propose_adjudication(reading=reading, author=person(request))
        except ReadingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response({"readings": len(readings)}, status=status.HTTP_201_CREATED)


def _readings(worklist: Worklist, addresses: list[UUID]) -> list[Reading]:
    """Raises ValidationError for an address of none of the worklist's readings."""
    rows = Reading.objects.filter(item__worklist=worklist, uuid__in=addresses).select_related("image__dataset__site")
    readings = {reading.uuid: reading for reading in rows.order_by("pk")}
    if unknown := [address for address in addresses if address not in readings]:
        raise ValidationError({"readings": [f"The worklist has no reading {unknown[0]}."]})
    return list(readings.values())


def _valid(serializer: serializers.Serializer[None]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return dict(data)
