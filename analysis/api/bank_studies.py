"""API of bank studies and blind spots, with the same functions and counted looks as the pages."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analysis.api.errors import refused
from analysis.evaluation.looks import CannotEvaluate, looks_at_test, note_of
from analysis.studies import bank_results
from analysis.studies.opening import open_test, part_of, split_of
from analysis.views.bank_studies import get_bank_study, require_shown
from ml_engine.models import Run, RunKind
from portal.people.signed_in import person


class _Study(APIView):
    kind: RunKind

    def results(self, run: Run) -> dict[str, Any]:
        raise NotImplementedError

    @extend_schema(responses=dict[str, Any])
    def get(self, request: Request, uuid: UUID) -> Response:
        """The numbers of the page; those of test films are available after a counted look."""
        return self.answer(get_bank_study(person(request), uuid, self.kind))

    def answer(self, run: Run) -> Response:
        try:
            require_shown(run)
            results = self.results(run)
        except CannotEvaluate as error:
            return refused(error)
        part = part_of(run)
        about = {
            "run": run.uuid,
            "split": split_of(run).uuid,
            "part": part,
            "random_weights": run.random_weights,
            "looks_at_test": looks_at_test(split_of(run)),
            "note": note_of(split_of(run), part),
        }
        return Response(about | results)


class _Show(_Study):
    http_method_names = ["post", "options"]

    @extend_schema(request=None, responses=dict[str, Any])
    def post(self, request: Request, uuid: UUID) -> Response:
        """Look at test, counted once for each run, and return the numbers."""
        run = get_bank_study(person(request), uuid, self.kind)
        try:
            open_test(run=run, author=person(request))
        except CannotEvaluate as error:
            return refused(error)
        return self.answer(run)


class BankStudy(_Study):
    kind = RunKind.BANK_STUDY

    def results(self, run: Run) -> dict[str, Any]:
        return bank_results.bank_results_of(run).to_json()


class BlindSpots(_Study):
    kind = RunKind.BLIND_SPOTS

    def results(self, run: Run) -> dict[str, Any]:
        return bank_results.blind_results_of(run).to_json()


class ShowBankStudy(_Show, BankStudy):
    pass


class ShowBlindSpots(_Show, BlindSpots):
    pass
