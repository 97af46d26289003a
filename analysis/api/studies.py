"""Ablations and sweeps by API: the numbers of their pages, and the same counted look."""

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

TOLD: dict[str, Callable[[Run], dict[str, Any]]] = {RunKind.ABLATION: ablation_json, RunKind.SWEEP: sweep_json}


class OneAblation(APIView):
    """The paper's figures as numbers. They are of test: null until it was opened."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return _answer(get_study(person(request), uuid, kind=RunKind.ABLATION))


class OneSweep(APIView):
    """A row a detector and weight: its AUROC on tune, and on test once that was opened."""

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        return _answer(get_study(person(request), uuid, kind=RunKind.SWEEP))


class ShowTest(APIView):
    """Open the test part of an ablation or a sweep: a counted look, the first time."""

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
        return Response(TOLD[run.kind](run))
    except CannotEvaluate as error:
        return refused(error)
