"""Download of a run as an archive, to run it again elsewhere."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, StreamingHttpResponse
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import WHY, hidden_films
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.looks import ARCHIVE, CannotEvaluate, look_once, scored_test
from analysis.studies.opening import open_test
from ml_engine.engine import archive
from ml_engine.models import STUDIES, Run, RunKind, RunState
from ml_engine.runs import write_folder
from ml_engine.runs.lifecycle import RunRefused
from ml_engine.runs.run_bucket import here
from portal.models import Image, Part, User
from portal.people import audit
from portal.people.access import get_visible, require
from portal.people.blinding import refuse_file
from portal.people.signed_in import SignedInRequest


@require_GET
def run_archive(request: SignedInRequest, uuid: UUID) -> StreamingHttpResponse:
    """The run's folder as a zip, for those who may request runs. It holds films, so each download is audited; a run
    with scores hidden from the user, or with a film that they have yet to read blinded, is refused. The first archive
    with results on test is a look at every fusion weight; it is refused while test is sealed."""
    run = get_visible(Run.objects.select_related("site", "split", "detector__split__site"), request.user, uuid)
    require(request.user, "request runs", run.site)
    folder = here(run)
    if run.state != RunState.DONE or not (folder / "run.json").is_file():
        raise Http404("This run has no archive: it is not done, or its folder is not in the data folder any more.")
    refuse_file(request.user, _films(run))
    if run.kind == RunKind.SCORE or run.kind in STUDIES:
        hidden = sum(len(hidden_films(request.user, run, part=part)) for part in (Part.TUNE, Part.CALIBRATE, Part.TEST))
        if hidden:
            raise PermissionDenied(
                f"The archive holds scores of {hidden} film{'' if hidden == 1 else 's'} that "
                f"{'stays' if hidden == 1 else 'stay'} hidden from you until "
                f"{'it is' if hidden == 1 else 'they are'} labelled, since "
                f"{WHY}. Ask an analyst who does not label, or label them first."
            )
    try:
        _look(request.user, run)
    except CannotEvaluate as error:
        raise PermissionDenied(f"The archive holds results on test. {error}") from error
    try:
        write_folder.place_films(folder)
    except RunRefused as refusal:
        raise Http404(str(refusal)) from refusal
    _record(request.user, run)
    with transaction.atomic():
        audit.record(verb="download run", site=run.site, actor=request.user, target=run, after={"kind": run.kind})
    name = f"hilum-{run.kind.replace('_', '-')}-{str(run.uuid)[:8]}"
    response = StreamingHttpResponse(archive.stream(folder, name=name), content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response


def _look(person: User, run: Run) -> None:
    """Raises CannotEvaluate and PermissionDenied where the archive would disclose results on test that may not be."""
    if run.kind in STUDIES:
        open_test(run=run, author=person)
    elif run.kind == RunKind.SCORE and scored_test(run):
        assert run.detector is not None  # `scored_test`
        look_once(split=run.detector.split, author=person, reason=ARCHIVE, run=run)


def _films(run: Run) -> QuerySet[Image]:
    """The films that the run scored, was grown with or learned verdicts of, and those of its split and of its
    detector's: the part of a film reveals its label, since only normal films are fitted."""
    splits = [run.split_id, run.detector.split_id if run.detector else None]
    named = Image.objects.filter(Q(scores__run=run) | Q(split_images__member__split__in=filter(None, splits)))
    of_run = Q(pk__in=run.grown_with.values("pk")) | Q(pk__in=run.reads.values("image"))
    if run.kind == RunKind.EMBEDDING:
        of_run |= Q(dataset__in=run.datasets.all())
    return Image.objects.filter(Q(pk__in=named.values("pk")) | of_run)


def _record(person: User, run: Run) -> None:
    """Scores and maps of the scored films; of a run that fits, in which part each film is. An embedding map says
    nothing of labels, unless a filter chose its films."""
    if run.kind == RunKind.EMBEDDING and "filter" not in run.asked:
        return
    films = Image.objects.filter(scores__run=run) if run.kind == RunKind.SCORE else _films(run)
    kinds = [SCORE, MAP] if run.kind == RunKind.SCORE or run.kind in STUDIES else [LABEL]
    if run.kind == RunKind.FIT_HEAD:  # it holds the verdicts that it was fitted on
        kinds = [*kinds, LABEL]
    record_shown(person, films.values_list("uuid", flat=True), kinds, runs=[run.uuid])
