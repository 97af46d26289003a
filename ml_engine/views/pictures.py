"""The pictures that a fitted alignment comes with. They show films, so they are served as films are."""

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
    """One of the run's pictures by its name in the report; no other file."""
    run = get_visible(Run.objects.select_related("alignment_made"), request.user, uuid)
    made = getattr(run, "alignment_made", None)
    path = paths.picture_path(run.uuid, name)
    if made is None or name not in _pictures(made) or not path.is_file():
        raise Http404("This run has no such picture.")
    response = FileResponse(path.open("rb"), content_type="image/png")
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"  # no shared cache keeps a film
    return response


def _pictures(alignment: AlignmentModel) -> Sequence[str]:
    try:
        return alignment.fit_report.pictures
    except IncompleteJson:  # the run's page says what is missing
        return ()
