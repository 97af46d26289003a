"""The API of bank studies and blind spots. It calls the same functions as the pages."""

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
        default="none", help_text="none, first (fit one on the same split first), or the UUID of an alignment."
    )
    shares = serializers.ListField(
        child=serializers.FloatField(),
        default=list(SHARES),
        help_text="Shares of the fit films; the whole is always included.",
    )
    contaminations = serializers.ListField(
        child=serializers.FloatField(),
        default=list(CONTAMINATIONS),
        help_text="Abnormal films as shares of the films in the bank.",
    )
    repeats = serializers.IntegerField(default=3, help_text="Number of draws of each.")


class NewBlindSpotsSerializer(NewRunSerializer):
    detector = serializers.UUIDField(help_text="UUID of the detector, or of the run that made it.")
    part = serializers.ChoiceField(choices=PARTS, default="tune", help_text="The part whose normal films are used.")
    films = serializers.IntegerField(default=50, help_text="At most; drawn with the detector's seed.")
    places = serializers.IntegerField(default=2, help_text="Places per kind and film.")
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=KINDS), default=list(KINDS))
    sizes_mm = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField()),
        default=dict,
        help_text='By kind: {"nodule": [5, 10]}.',
    )
    contrasts = serializers.ListField(
        child=serializers.FloatField(), default=list(CONTRASTS), help_text="As shares of the gray scale."
    )


@extend_schema(request=NewBankStudySerializer, responses={201: RunDetailSerializer})
class NewBankStudy(NewRun):
    """Banks of fewer normal films, and with some abnormal ones, compared on test."""

    kind = RunKind.BANK_STUDY
    url_name = "api-new-bank-study"
    request_serializer = NewBankStudySerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        split = get_visible(Split.objects.all(), user, values["split"])
        config = requests.config_from(values["preset"], values["settings"])
        planned = BankPlan.from_json({name: values[name] for name in ("shares", "contaminations", "repeats")})
        if values["alignment"] == FIT_FIRST:
            return bank_requests.request_aligned_bank_study(request, split=split, config=config, planned=planned)
        alignment = None
        if values["alignment"] != UNALIGNED:
            alignment = get_visible(AlignmentModel.objects.all(), user, values["alignment"])
        return bank_requests.request_bank_study(
            request, split=split, config=config, planned=planned, alignment=alignment
        )


@extend_schema(request=NewBlindSpotsSerializer, responses={201: RunDetailSerializer})
class NewBlindSpots(NewRun):
    """Synthetic lesions pasted into held-out normal films, scored together with the unchanged films."""

    kind = RunKind.BLIND_SPOTS
    url_name = "api-new-blind-spots"
    request_serializer = NewBlindSpotsSerializer

    def make(self, request: requests.RunRequest, values: dict[str, Any], user: User) -> Run:
        models = DetectorModel.objects.select_related("split", "run")
        detector = visible(models, user).filter(run__uuid=values["detector"]).first()
        if detector is None:
            detector = get_visible(models, user, values["detector"])
        names = ("part", "films", "places", "kinds", "sizes_mm", "contrasts")
        return bank_requests.request_blind_spots(
            request, detector=detector, planned=LesionPlan.from_json({name: values[name] for name in names})
        )


VIEWS = (NewBankStudy, NewBlindSpots)
