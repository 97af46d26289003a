"""The learning curve of a semi-supervised head, for the page of its run, and as CSV."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.figures import as_json
from analysis.report.csv_tables import as_csv, sentences
from analysis.report.head_tables import table_of_curve
from analysis.studies.head_curve import curve_of, draw_curve
from analysis.views.query_parameters import theme_of
from ml_engine.models import HeadModel, Run, RunKind
from portal.models import Image, User
from portal.people.access import get_visible, require
from portal.people.blinding import refuse_file
from portal.people.signed_in import SignedInRequest


@require_GET
def head_curve(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    """AUROC on tune over the number of reads, with intervals, and the gain that twenty more would bring."""
    head = _head(request.user, uuid)
    curve = curve_of(head)
    context = {
        "run": head.run,
        "curve": curve,
        "last": curve["points"][-1] if curve["points"] else None,
        "figure": as_json(draw_curve(head, theme=theme_of(request.user))),
    }
    return render(request, "analysis/_head_curve.html", context)


@require_GET
def head_curve_table(request: SignedInRequest, uuid: UUID) -> HttpResponse:
    head = _head(request.user, uuid)
    table = table_of_curve(head)
    notice = sentences(random_weights=head.random_weights, note="Semi-supervised.", remark=table.remark)
    response = HttpResponse(as_csv(table, notice=notice), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="hilum-learning-curve-{head.run.uuid}.csv"'
    return response


def _head(user: User, uuid: UUID) -> HeadModel:
    """The head that the run made; 404 without one. Raises PermissionDenied while the person has yet to read one of its
    films blinded, since the curve counts what was said of them."""
    run = get_visible(Run.objects.filter(kind=RunKind.FIT_HEAD).select_related("site", "head_made"), user, uuid)
    require(user, "see scores", run.site)
    refuse_file(user, Image.objects.filter(pk__in=run.reads.values("image")), what="This curve")
    head: HeadModel | None = getattr(run, "head_made", None)
    if head is None:
        raise Http404("This run made no semi-supervised head.")
    return head
