"""API of ablations and sweeps, with the numbers of their pages and the same counted look."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.api.errors import refused
from analysis.evaluation.looks import CannotEvaluate
from analysis.studies.opening import open_test
from analysis.studies.study_json import ablation_json, sweep_json
from analysis.views.query_parameters import get_study
from ml_engine.models import Run, RunKind
from portal.people.signed_in import person

TO_JSON: dict[str, Callable[[Run], dict[str, Any]]] = {RunKind.ABLATION: ablation_json, RunKind.SWEEP: sweep_json}


class OneAblation(APIView):
    """The numbers of the paper's figures; null until test is opened, since they are results on test."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return _answer(get_study(person(request), uuid, kind=RunKind.ABLATION))


class OneSweep(APIView):
    """A row for each detector and weight: its AUROC on tune, and on test after it has been opened."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return _answer(get_study(person(request), uuid, kind=RunKind.SWEEP))


class ShowTest(APIView):
    """Open the test part of an ablation or a sweep; the first time is a counted look."""

    @extend_schema(request=None, responses=dict[str, Any])
    def post(self, request: Request, uuid: UUID) -> Response:
        run = get_study(person(request), uuid)
        try:
            open_test(run=run, author=person(request))
        except CannotEvaluate as error:
            return refused(error)
        return _answer(run)


def _answer(run: Run) -> Response:
    try:
        return Response(TO_JSON[run.kind](run))
    except CannotEvaluate as error:
        return refused(error)
