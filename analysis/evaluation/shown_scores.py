"""The scores of all films of a scoring run that a person may see, by the rules of `analysis.evaluation.blinding`."""

from dataclasses import dataclass

from analysis.evaluation.blinding import hidden_films
from analysis.evaluation.looks import runs_looked_at
from ml_engine.models import Run
from portal.models import Part, SplitImage, User
from portal.people.access import require
from portal.people.blinding import withheld_patients


@dataclass(frozen=True)
class ShownScores:
    """Fused score by primary key of the film. `note` says in a sentence that others are not shown; it does not count
    those that the person has yet to read blinded."""

    by_film: dict[int, float]
    note: str


def shown_scores_of_run(user: User, run: Run) -> ShownScores:
    """Not of films that the person has yet to label or read, and of test only where somebody has looked at the run's
    results on test. Raises PermissionDenied for people who may see no scores."""
    require(user, "see scores", run.site)
    detector = run.detector
    assert detector is not None  # only a scoring run has scores
    rows = run.scores.filter(error="").exclude(image__patient_id__in=withheld_patients(user))
    scores = {(pk, str(uuid)): fused for pk, uuid, fused in rows.values_list("image_id", "image__uuid", "fused_score")}
    hidden: set[str] = set().union(*(hidden_films(user, run, part=part) for part in Part.values))
    is_opened = bool(runs_looked_at(Run.objects.filter(pk=run.pk)))
    sealed: set[int] = set()
    if not is_opened:
        of_test = SplitImage.objects.filter(member__split_id=detector.split_id, member__part=Part.TEST)
        sealed = set(of_test.values_list("image_id", flat=True))
    kept = {
        pk: fused
        for (pk, uuid), fused in scores.items()
        if fused is not None and uuid not in hidden and pk not in sealed
    }
    notes = []
    if any(uuid in hidden for _, uuid in scores):
        notes.append("Scores of films that you still have to label stay hidden from you.")
    if any(pk in sealed for pk, _ in scores):
        notes.append("Nobody has looked at this run’s results on test: the scores of test are not shown.")
    return ShownScores(kept, " ".join(notes))
