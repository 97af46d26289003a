"""API of erasing a patient."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.evaluation.erasing import CannotErase, erase_patient, plan_erasure, require_manager
from ml_engine.runs import erased_films
from portal.models import Patient, User
from portal.people.access import get_visible
from portal.people.signed_in import person


class ErasureRequest(serializers.Serializer[None]):
    """`confirm`: the first 8 characters of the patient's pseudonym."""

    reason = serializers.CharField(allow_blank=True, default="")
    confirm = serializers.CharField(allow_blank=True, default="")
    fit_again = serializers.BooleanField(default=False, help_text="Queue the fits of withdrawn models again.")


class ErasePatient(APIView):
    """What erasing a patient means (GET), and doing it (POST). It cannot be undone."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        plan = plan_erasure(_patient(person(request), uuid))
        return Response(
            {
                "films": plan.films,
                "copies": plan.copies,
                "runs": [str(run.uuid) for run in plan.runs.scored],
                "runs_deleted": [str(run.uuid) for run in plan.runs.deleted],
                "models": [str(model.run.uuid) for model in plan.runs.models],
                "handed_out": plan.handed_out,
                "quarantined": plan.quarantined,
                "obstacles": plan.obstacles,
                "confirm": plan.confirmation,
            }
        )

    @extend_schema(request=ErasureRequest, responses=dict[str, Any])
    def post(self, request: Request, uuid: UUID) -> Response:
        patient = _patient(person(request), uuid)
        asked = ErasureRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        try:
            erasure = erase_patient(
                patient=patient, reason=values["reason"], confirmation=values["confirm"], actor=person(request)
            )
        except CannotErase as refusal:
            raise ValidationError({"detail": str(refusal)}) from refusal
        refused = erased_films.fit_again(erasure, person(request)) if values["fit_again"] else []
        return Response({"erasure": str(erasure.uuid), **erasure.report, "not_fitted_again": refused})


def _patient(user: User, uuid: UUID) -> Patient:
    patient = get_visible(Patient.objects.select_related("site"), user, uuid)
    require_manager(user, patient)
    return patient
