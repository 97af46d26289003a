"""Bank studies and blind spots by API: the same functions and the same rules as the pages."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from ml_engine.api.serializers import NewFitSerializer, NewRunSerializer, RunDetailSerializer
from ml_engine.api.views import NewRun
from ml_engine.engine.study_plans import CONTAMINATIONS, CONTRASTS, KINDS, PARTS, SHARES, BankPlan, LesionPlan
from ml_engine.forms.runs import FIT_FIRST, UNALIGNED
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind
from ml_engine.runs import bank_requests, requests
from portal.models import Split, User
from portal.people.access import get_visible, visible


class NewBankStudySerializer(NewFitSerializer):
    alignment = serializers.CharField(
        default="none", help_text="none, first (fit one on the same split before), or the address of an alignment."
    )
    shares = serializers.ListField(
        child=serializers.FloatField(),
        default=list(SHARES),
        help_text="Of the fit films; the whole is always among them.",
    )
    contaminations = serializers.ListField(
        child=serializers.FloatField(),
        default=list(CONTAMINATIONS),
        help_text="Abnormal films as shares of the bank's.",
    )
    repeats = serializers.IntegerField(default=3, help_text="Draws of each.")


class NewBlindSpotsSerializer(NewRunSerializer):
    detector = serializers.UUIDField(help_text="Of the detector, or of the run that made it.")
    part = serializers.ChoiceField(choices=PARTS, default="tune", help_text="Whose normal films.")
    films = serializers.IntegerField(default=50, help_text="At most; drawn by the detector's seed.")
    places = serializers.IntegerField(default=2, help_text="Of each kind a film.")
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=KINDS), default=list(KINDS))
    sizes_mm = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField()),
        default=dict,
        help_text='By kind: {"nodule": [5, 10]}.',
    )
    contrasts = serializers.ListField(
        child=serializers.FloatField(), default=list(CONTRASTS), help_text="Shares of the gray scale."
    )


@extend_schema(request=NewBankStudySerializer, responses={201: RunDetailSerializer})
class NewBankStudy(NewRun):
    """Banks of fewer normal films, and of some abnormal ones, compared on test."""

    kind = RunKind.BANK_STUDY
    url_name = "api-new-bank-study"
    wish = NewBankStudySerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, given["split"])
        config = requests.config_from(given["preset"], given["settings"])
        planned = BankPlan.from_json({name: given[name] for name in ("shares", "contaminations", "repeats")})
        if given["alignment"] == FIT_FIRST:
            return bank_requests.request_aligned_bank_study(asked, split=split, config=config, planned=planned)
        alignment = None
        if given["alignment"] != UNALIGNED:
            alignment = get_visible(AlignmentModel.objects.all(), user, given["alignment"])
        return bank_requests.request_bank_study(asked, split=split, config=config, planned=planned, alignment=alignment)


@extend_schema(request=NewBlindSpotsSerializer, responses={201: RunDetailSerializer})
class NewBlindSpots(NewRun):
    """Synthetic lesions pasted into held-out normal films, and scored beside them."""

    kind = RunKind.BLIND_SPOTS
    url_name = "api-new-blind-spots"
    wish = NewBlindSpotsSerializer

    def make(self, asked: requests.RunRequest, given: dict[str, Any], user: User) -> Run:
        models = DetectorModel.objects.select_related("split", "run")
        detector = visible(models, user).filter(run__uuid=given["detector"]).first()
        if detector is None:
            detector = get_visible(models, user, given["detector"])
        names = ("part", "films", "places", "kinds", "sizes_mm", "contrasts")
        return bank_requests.request_blind_spots(
            asked, detector=detector, planned=LesionPlan.from_json({name: given[name] for name in names})
        )


DOORS = (NewBankStudy, NewBlindSpots)
