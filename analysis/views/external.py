"""External validation: making one, and its page."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from analysis.evaluation.external import validate
from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.figures import with_note
from analysis.models import ExternalValidation
from analysis.report.population_tables import external_table
from analysis.sections.external import SPECIFICITY, compare_external, draw_external
from analysis.views.exports import Download, csv_of
from analysis.views.query_parameters import theme_of
from ml_engine.models import Run
from portal.models import Part, User
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_POST
def make_validation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    run = get_visible(Run.objects.select_related("detector__split", "site"), request.user, uuid)
    try:
        validation = validate(run=run, author=request.user)
    except CannotEvaluate as error:
        context = {"title": "Not validated", "sentence": str(error)}
        return render(request, "portal/error.html", context, status=error.status)
    return redirect("analysis:external-validation", validation.uuid)


@require_GET
def external_validation(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """Internal and external figures side by side, and how the populations differ. It names no film."""
    validation = get_validation(request.user, uuid)
    request.hilum_site = validation.run.site
    try:
        result = compare_external(validation)
    except CannotEvaluate as error:
        refusal = {"title": "Results are gone", "sentence": str(error)}
        return render(request, "portal/error.html", refusal, status=error.status)
    random_weights = validation.run.random_weights
    drawn = draw_external(result, theme=theme_of(request.user), random_weights=random_weights)
    evaluation = validation.evaluation
    context = {
        "room": "results",
        "validation": validation,
        "run": validation.run,
        "evaluation": evaluation,
        "detector": validation.run.detector,
        "result": result,
        "sides": (("Internal", result.internal), ("External", result.external)),
        "kinds": ("global", "region", "fused"),
        "specificity": SPECIFICITY,
        "figures": {"external": with_note(drawn, note_of(evaluation.split, Part.TEST))},
    }
    return render(request, "analysis/external.html", context)


@require_GET
def external_csv(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    try:
        return external_file(get_validation(request.user, uuid)).response()
    except CannotEvaluate as error:
        refusal = {"title": "Not exported", "sentence": str(error)}
        return render(request, "portal/error.html", refusal, status=error.status)


def external_file(validation: ExternalValidation) -> Download:
    """The data of the figure. Raises CannotEvaluate when the folder of one of the runs is gone."""
    table = external_table(compare_external(validation, whole_curves=True))
    note = note_of(validation.evaluation.split, Part.TEST)
    return csv_of(f"external-{validation.uuid}", table, random_weights=validation.run.random_weights, note=note)


def validations() -> QuerySet[ExternalValidation]:
    return ExternalValidation.objects.select_related(
        "run__site", "run__detector__run", "evaluation__run__detector", "evaluation__split", "created_by"
    )


def get_validation(user: User, uuid: UUID) -> ExternalValidation:
    """404 or 403 where the person may not see it."""
    validation = get_visible(validations(), user, uuid)
    require(user, "see scores", validation.run.site)
    return validation
