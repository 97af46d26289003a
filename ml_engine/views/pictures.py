"""The pictures of a fitted alignment. They show films, so the same access rules and cache headers apply."""

from collections.abc import Sequence
from uuid import UUID

from django.http import FileResponse, Http404
from django.views.decorators.http import require_GET

from ml_engine.core.json_objects import IncompleteJson
from ml_engine.models import AlignmentModel, Run
from ml_engine.runs import paths
from portal.people.access import get_visible
from portal.people.signed_in import SignedInRequest


@require_GET
def picture(request: SignedInRequest, uuid: UUID, name: str) -> FileResponse:
    """A picture that the run's report names; 404 for any other file."""
    run = get_visible(Run.objects.select_related("alignment_made"), request.user, uuid)
    alignment = getattr(run, "alignment_made", None)
    path = paths.picture_path(run.uuid, name)
    if alignment is None or name not in _pictures(alignment) or not path.is_file():
        raise Http404("This run has no such picture.")
    response = FileResponse(path.open("rb"), content_type="image/png")
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"  # a shared cache must not store a film
    return response


def _pictures(alignment: AlignmentModel) -> Sequence[str]:
    try:
        return alignment.fit_report.pictures
    except IncompleteJson:  # the run's page explains the missing file
        return ()
