"""API of the end of a worklist for its reader, and of proposals that the model learns what was confirmed."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.models import HeadProposal, Verdict
from analysis.reading import head_proposals as teaching
from analysis.reading.head_proposals import TeachingRefused
from analysis.views.head_proposals import head_proposal_to_decide, own_results_shown, worklists_to_end
from portal.people.access import get_visible, sites_where
from portal.people.blinding import left_out
from portal.people.signed_in import person


class HeadProposalSerializer(serializers.ModelSerializer[HeadProposal]):
    worklist = serializers.UUIDField(source="worklist.uuid", read_only=True)
    proposed_by = serializers.CharField(source="proposed_by.username", read_only=True)
    decision = serializers.SerializerMethodField(help_text="started, refused, or null while it is open.")
    run = serializers.UUIDField(source="decision.run.uuid", default=None, read_only=True, allow_null=True)
    reason = serializers.SerializerMethodField(help_text="Blank while it is open.")

    class Meta:
        model = HeadProposal
        fields = ["uuid", "worklist", "proposed_by", "created_at", "decision", "run", "reason"]

    def get_decision(self, proposal: HeadProposal) -> str | None:
        decision = getattr(proposal, "decision", None)
        return None if decision is None else "refused" if decision.run_id is None else "started"

    def get_reason(self, proposal: HeadProposal) -> str:
        decision = getattr(proposal, "decision", None)
        return "" if decision is None else str(decision.reason)


class OwnResultSerializer(serializers.Serializer[teaching.OwnResult]):
    image = serializers.UUIDField(source="reading.image.uuid")
    verdict = serializers.ChoiceField(Verdict.choices, source="reading.verdict")
    flagged = serializers.CharField()


class WorklistEndSerializer(serializers.Serializer[None]):
    results = OwnResultSerializer(many=True)
    left_out = serializers.CharField(allow_blank=True, help_text="Films that you have yet to read blinded elsewhere.")


class DecideHeadRequest(serializers.Serializer[None]):
    decision = serializers.ChoiceField(["start", "refuse"])
    reason = serializers.CharField(max_length=500, default="", allow_blank=True, help_text="Needed to refuse.")


class WorklistEnd(APIView):
    @extend_schema(responses=WorklistEndSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        """Your verdicts on a worklist that you have read to its end, with the score that had flagged each film."""
        worklist, reader = get_visible(worklists_to_end(), person(request), uuid), person(request)
        try:
            teaching.require_finished(worklist, reader)
        except TeachingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        results = [OwnResultSerializer(one).data for one in own_results_shown(worklist, reader)]
        return Response({"results": results, "left_out": left_out(reader)})


class ProposeHead(APIView):
    @extend_schema(request=None, responses={201: HeadProposalSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Propose that the model learns what was confirmed in a worklist that you have read to its end."""
        worklist = get_visible(worklists_to_end(), person(request), uuid)
        try:
            proposal = teaching.propose(worklist=worklist, reader=person(request))
        except TeachingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(HeadProposalSerializer(proposal).data, status=status.HTTP_201_CREATED)


class HeadProposals(generics.ListAPIView[HeadProposal]):
    """The proposals at the sites where you may request runs, newest first."""

    serializer_class = HeadProposalSerializer
    queryset = HeadProposal.objects.none()

    def get_queryset(self) -> QuerySet[HeadProposal]:
        sites = sites_where(person(self.request), "request runs").values("pk")
        rows = HeadProposal.objects.filter(worklist__run__site__in=sites)
        return rows.select_related("worklist", "proposed_by", "decision__run")


class DecideHead(APIView):
    @extend_schema(request=DecideHeadRequest, responses={201: HeadProposalSerializer})
    def post(self, request: Request, uuid: UUID) -> Response:
        """Start the proposed run with the default settings, or refuse it with a reason."""
        proposal = head_proposal_to_decide(person(request), uuid)
        serializer = DecideHeadRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked: dict[str, Any] = serializer.validated_data
        try:
            if asked["decision"] == "start":
                teaching.start(proposal=proposal, author=person(request))
            else:
                teaching.refuse(proposal=proposal, author=person(request), reason=asked["reason"])
        except TeachingRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        decided = HeadProposal.objects.select_related("worklist", "proposed_by", "decision__run").get(pk=proposal.pk)
        return Response(HeadProposalSerializer(decided).data, status=status.HTTP_201_CREATED)
