"""Download of a run as an archive, to run it again elsewhere."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, StreamingHttpResponse
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import WHY, hidden_films
from ml_engine.engine import archive
from ml_engine.models import STUDIES, Run, RunKind, RunState
from ml_engine.runs.paths import run_folder
from portal.models import Part
from portal.people import audit
from portal.people.access import get_visible, require
from portal.people.signed_in import SignedInRequest


@require_GET
def run_archive(request: SignedInRequest, uuid: UUID) -> StreamingHttpResponse:
    """The run's folder as a zip, for those who may request runs. It holds films, so each download is audited; a run
    with scores hidden from the user is refused."""
    run = get_visible(Run.objects.select_related("site", "detector__split"), request.user, uuid)
    require(request.user, "request runs", run.site)
    folder = run_folder(run.uuid)
    if run.state != RunState.DONE or not (folder / "run.json").is_file():
        raise Http404("This run has no archive: it is not done, or its folder is not in the data folder any more.")
    if run.kind == RunKind.SCORE or run.kind in STUDIES:
        hidden = sum(len(hidden_films(request.user, run, part=part)) for part in (Part.TUNE, Part.CALIBRATE, Part.TEST))
        if hidden:
            raise PermissionDenied(
                f"The archive holds scores of {hidden} films that stay hidden from you until they are labelled, since "
                f"{WHY}. Ask an analyst who does not label, or label them first."
            )
    with transaction.atomic():
        audit.record(verb="download run", site=run.site, actor=request.user, target=run, after={"kind": run.kind})
    name = f"hilum-{run.kind.replace('_', '-')}-{str(run.uuid)[:8]}"
    response = StreamingHttpResponse(archive.stream(folder, name=name), content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response
