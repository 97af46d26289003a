"""API of analysis plans: read, lock, approve."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation import analysis_plan
from analysis.evaluation.analysis_plan import METRICS, MOST_COMPARED, MOST_LOOKS, CannotPlan, Intent
from analysis.evaluation.looks import looks_at_test
from analysis.evaluation.operating_point import RULES, InvalidOperatingPoint, RequestedPoint
from analysis.models import AnalysisPlan
from portal.models import Site, Split, User
from portal.people.access import get_visible, require
from portal.people.signed_in import person
from portal.sets.sealing import TestRules, set_test_rules


class IntentSerializer(serializers.Serializer[Any]):
    metric = serializers.ChoiceField(list(METRICS), default="auroc")
    rule = serializers.ChoiceField(list(RULES), default="specificity")
    target = serializers.FloatField(default=0.9)
    prevalence = serializers.FloatField(default=0.05)
    primary = serializers.UUIDField(required=False, allow_null=True, help_text="the run that fits the detector")
    compared = serializers.ListField(child=serializers.UUIDField(), max_length=MOST_COMPARED, default=list)
    looks = serializers.IntegerField(min_value=1, max_value=MOST_LOOKS, default=1)
    hypothesis = serializers.CharField(allow_blank=True, default="", trim_whitespace=True)


class PlanOfSplit(APIView):
    """The analysis plan of a split: what will be evaluated on its test part, locked before the first look."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        split = _split(person(request), uuid)
        plan = analysis_plan.current_plan(split)
        if plan is None:
            raise NotFound("No plan is locked for this split.")
        return Response(_plan_json(plan))

    @extend_schema(request=IntentSerializer, responses={201: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        split = _split(person(request), uuid)
        serializer = IntentSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        intended = serializer.validated_data
        try:
            intent = Intent(
                metric=intended["metric"],
                operating_point=RequestedPoint(intended["rule"], intended["target"], intended["prevalence"]),
                primary=analysis_plan.detector_at(split, intended["primary"]) if intended.get("primary") else None,
                compared=[analysis_plan.detector_at(split, address) for address in intended["compared"]],
                looks=intended["looks"],
                hypothesis=intended["hypothesis"],
            )
            plan = analysis_plan.lock_plan(split=split, author=person(request), intent=intent)
        except (CannotPlan, InvalidOperatingPoint) as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_plan_json(plan), status=status.HTTP_201_CREATED)


class ApprovePlan(APIView):
    """Approve a plan that another person locked."""

    @extend_schema(request=None, responses={201: dict[str, Any]})
    def post(self, request: Request, uuid: UUID) -> Response:
        plan = get_visible(AnalysisPlan.objects.select_related("split__site"), person(request), uuid)
        try:
            analysis_plan.approve_plan(plan=plan, approver=person(request))
        except CannotPlan as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        return Response(_plan_json(plan), status=status.HTTP_201_CREATED)


class TestRulesSerializer(serializers.Serializer[Any]):
    plan = serializers.BooleanField(help_text="A look at test needs a locked analysis plan.")
    second_person = serializers.BooleanField(help_text="It needs a plan that a second person approved.")


class RulesForTest(APIView):
    """The rules of a site that have to be met before anyone looks at a test part."""

    @extend_schema(responses=TestRulesSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        site = get_visible(Site.objects.all(), person(request), uuid)
        return Response({"plan": site.plan_before_test, "second_person": site.second_person_for_test})

    @extend_schema(request=TestRulesSerializer, responses=TestRulesSerializer)
    def put(self, request: Request, uuid: UUID) -> Response:
        """Apply these rules from the next look on. For managers."""
        site = get_visible(Site.objects.all(), person(request), uuid)
        serializer = TestRulesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rules = TestRules(**serializer.validated_data)
        set_test_rules(site=site, rules=rules, author=person(request))
        return Response(serializer.validated_data)


def _split(user: User, uuid: UUID) -> Split:
    split = get_visible(Split.objects.select_related("site"), user, uuid)
    require(user, "see the site", split.site)
    return split


def _plan_json(plan: AnalysisPlan) -> dict[str, Any]:
    approval = analysis_plan.approval_of(plan)
    return {
        "uuid": plan.uuid,
        "sha256": plan.sha256,
        "intact": analysis_plan.is_intact(plan),
        "document": plan.document,
        "plan": analysis_plan.plan_contents(plan),
        "locked_at": plan.created_at,
        "approved_by": approval and approval.approver.username,
        "looks_at_test": looks_at_test(plan.split),
        "sealed": analysis_plan.why_sealed(plan.split),
    }
