"""The pictures of a fitted alignment. They show films beside what the alignment did to them, so that they are refused
to those who have yet to read the film blinded, and never cached."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404
from django.views.decorators.http import require_GET

from ml_engine.core.json_objects import IncompleteJson
from ml_engine.engine import manifest
from ml_engine.engine.manifest import InvalidManifest
from ml_engine.engine.reports import AlignmentReport, PicturePair
from ml_engine.models import AlignmentModel, Run
from ml_engine.runs import paths, run_bucket
from portal.models import User
from portal.people.access import get_visible
from portal.people.blinding import withheld_images
from portal.people.signed_in import SignedInRequest

OF_ALL_FILMS = ("mean", "variance")  # names of pairs


@require_GET
def picture(request: SignedInRequest, uuid: UUID, name: str) -> FileResponse:
    """A picture that the run's report names; 404 for any other file."""
    run = get_visible(Run.objects.select_related("alignment_made"), request.user, uuid)
    alignment = getattr(run, "alignment_made", None)
    path = paths.picture_path(run.uuid, name)
    report = _report(alignment) if alignment else None
    if report is not None and name in report.pictures and not path.is_file():
        path = run_bucket.here(run) / "pictures" / name
    if report is None or name not in report.pictures or not path.is_file():
        raise Http404("This run has no such picture.")
    if any(name in (pair.before, pair.after) for pair in withheld_pairs(request.user, run, report)):
        raise PermissionDenied(
            "The picture shows a film that you have yet to read blinded, or one of the same patient. Read it first, or "
            "hand back what is left of the list."
        )
    return FileResponse(path.open("rb"), content_type="image/png")


def _report(alignment: AlignmentModel) -> AlignmentReport | None:
    try:
        return alignment.fit_report
    except IncompleteJson:  # the run's page explains the missing file
        return None


def withheld_pairs(user: User, run: Run, report: AlignmentReport) -> list[PicturePair]:
    """The pairs of pictures of films that the person has yet to read blinded. All pairs of single films if the run's
    list of films is gone."""
    withheld = {str(uuid) for uuid in withheld_images(user).values_list("uuid", flat=True)}
    of_films = [pair for pair in report.pairs if pair.name not in OF_ALL_FILMS]
    if not withheld or not of_films:
        return []
    try:
        rows = manifest.read(run_bucket.here(run) / "images.csv")
    except InvalidManifest:
        return of_films
    return [pair for pair in of_films if pair.row is None or rows[pair.row].image in withheld]
