"""A film's heatmap as DICOM files."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import scored_film
from analysis.evaluation.exposures import MAP
from analysis.evaluation.looks import CannotEvaluate
from analysis.maps.dicom_export import CannotExportDicom, Kind, export
from portal.models import User
from portal.people.exposure import record_exposure
from portal.people.signed_in import SignedInRequest


@require_GET
def heatmap(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    return _page(request, run_uuid, image_uuid, "heatmap")


@require_GET
def segmentation(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID) -> HttpResponse:
    return _page(request, run_uuid, image_uuid, "segmentation")


def file(user: User, run_uuid: UUID, image_uuid: UUID, kind: Kind) -> HttpResponse:
    """Raises CannotExportDicom and CannotEvaluate."""
    score, _ = scored_film(user, run_uuid, image_uuid)
    response = HttpResponse(export(score=score, author=user, kind=kind), content_type="application/dicom")
    record_exposure(user, MAP, [score.image_id], run=run_uuid)
    name = f"hilum-{kind}-{str(run_uuid)[:8]}-{str(image_uuid)[:8]}.dcm"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _page(request: SignedInRequest, run_uuid: UUID, image_uuid: UUID, kind: Kind) -> HttpResponse:
    try:
        return file(request.user, run_uuid, image_uuid, kind)
    except CannotExportDicom as error:
        title, sentence, status = "Not exported", str(error), 409
    except CannotEvaluate as error:
        title, sentence, status = "Nothing to export", str(error), 410
    return render(request, "portal/error.html", {"title": title, "sentence": sentence}, status=status)
