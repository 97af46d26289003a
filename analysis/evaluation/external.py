"""External validation: a frozen detector on whole datasets that its split does not have, beside its own test part.

Films of patients who are in the detector's split, and of those who share a film with one of them, are left out. Where
the films are in the test part of another split, the validation is a look at that part, and refused while it is sealed.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from analysis.evaluation.evaluate import ScoredPart, labelled_part
from analysis.evaluation.looks import CannotEvaluate, look
from analysis.evaluation.run_results import results_of
from analysis.models import Evaluation, ExternalValidation
from ml_engine.models import Run, RunKind, RunState, Score
from portal.labels.events import CHUNK, labels_at
from portal.models import Part, Split, SplitImage, SplitMember, User
from portal.people import audit
from portal.people.access import require
from portal.sets.film_copies import FilmCopies

EXTERNAL = "external"  # in the place of a part's name
REASON = "external validation"
IN_SPLIT = "of patients in the detector's split"


def validate(*, run: Run, author: User) -> ExternalValidation:
    """The external validation of a run that scored whole datasets, at the labels of now. One that was made before is
    returned while its labels are still those of now. Raises CannotEvaluate and PermissionDenied."""
    require(author, "evaluate runs", run.site)
    if run.kind != RunKind.SCORE or run.state != RunState.DONE or run.detector is None or run.parts:
        raise CannotEvaluate(
            f"The run {run.name!r} did not score whole datasets: score a dataset that its detector was not fitted on."
        )
    internal = _internal(run)
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)  # two simultaneous requests make one validation
        now = timezone.now()
        external = external_part(run, cutoff=now)
        if not len(external.labels):
            reasons = ", ".join(f"{count} {reason}" for reason, count in external.left_out.items())
            raise CannotEvaluate(
                f"No film of the run {run.name!r} can validate the detector: {reasons or 'none scored'}."
            )
        before = ExternalValidation.objects.filter(run=run, evaluation=internal).first()
        if before is not None and external_part(run, cutoff=before.label_cutoff).digest == external.digest:
            return before
        for split in _splits_with_test(run, external):
            look(split=split, author=author, reason=REASON)
        validation = ExternalValidation.objects.create(
            run=run, evaluation=internal, label_cutoff=now, created_by=author
        )
        audit.record(verb="validate externally", site=run.site, actor=author, target=validation)
    return validation


def external_part(run: Run, *, cutoff: datetime) -> ScoredPart:
    """The films of the run that are labelled normal or abnormal at the cut-off, of patients outside the detector's
    split. Raises CannotEvaluate when the run's folder is gone."""
    assert run.detector is not None
    members = SplitMember.objects.filter(split_id=run.detector.split_id).values_list("patient_id", flat=True)
    known = FilmCopies(run.site).patients_joined_with(set(members))
    scores = list(Score.objects.filter(run=run).select_related("image").order_by("row"))
    outside = [score for score in scores if score.image.patient_id not in known]
    patient_of = {score.image_id: score.image.patient_id for score in outside}
    part = labelled_part(run, EXTERNAL, outside, patient_of=patient_of, labels=labels_at(list(patient_of), cutoff))
    if len(outside) < len(scores):
        part.left_out[IN_SPLIT] = len(scores) - len(outside)
    return part


def weight_of(run: Run) -> float:
    with results_of(run) as folder:
        return folder.summary.fusion_weight


def validations_on_the_same(validation: ExternalValidation) -> int:
    """How many external validations used one of the datasets, this one included: each is a look at them."""
    datasets = validation.run.datasets.all()
    return ExternalValidation.objects.filter(run__datasets__in=datasets).distinct().count()


def _internal(run: Run) -> Evaluation:
    evaluations = Evaluation.objects.filter(run__detector=run.detector, run__rescores=None)
    if run.head is not None:  # without one, only the one-class score is compared, which a head leaves as it is
        evaluations = evaluations.filter(run__head=run.head)
    for evaluation in evaluations.order_by("-created_at"):
        if Part.TEST in evaluation.metrics["parts"]:
            return evaluation
    assert run.detector is not None
    raise CannotEvaluate(
        f"The detector {run.detector.run.name!r} was not evaluated on the test part of its own split, with which an "
        "external result is compared: score that part and evaluate it first."
    )


def _splits_with_test(run: Run, external: ScoredPart) -> list[Split]:
    """The other splits in whose test part one of the films is."""
    assert run.detector is not None
    found_in: set[int] = set()
    for start in range(0, len(external.images), CHUNK):
        rows = SplitImage.objects.filter(image__uuid__in=external.images[start : start + CHUNK], member__part=Part.TEST)
        found_in |= set(rows.values_list("member__split_id", flat=True).distinct())
    found_in.discard(run.detector.split_id)
    return list(Split.objects.filter(pk__in=found_in).order_by("pk"))
