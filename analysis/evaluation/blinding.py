"""Scores that a person may not see yet, for many films at once: because they still have to label the film
(`portal.people.access.may_see_scores`), or have yet to read one of its patient blinded (`portal.people.blinding`)."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404

from analysis.evaluation.looks import require_look, runs_looked_at
from ml_engine.models import Run, Score
from portal.models import Image, Part, SplitImage, User
from portal.people.access import get_visible, has_to_label, may, may_see_scores
from portal.people.blinding import is_withheld, refuse_file, refuse_withheld, withheld_patients

WHY = "a label or verdict given after seeing a score is no reference"
UNNAMED = "Until then the figures name no film, since the one point without a name would be known."
HIDDEN = f"The scores of this film stay hidden from you until it is labelled: it is in {{part}}, and {WHY}."


def hidden_films(user: User, run: Run, *, part: str) -> set[str]:
    """The UUIDs of the films of a part, in the split of the run's detector or of a study, whose scores stay hidden
    from the person. The rule for labels depends only on a film's part and label, so it is applied once per label.
    """
    split_id = run.detector.split_id if run.detector else run.split_id
    assert split_id is not None  # only a run that scores datasets has none, and that has a detector
    films = Image.objects.filter(
        split_images__member__split_id=split_id, split_images__member__part=part
    ).select_related("dataset__site", "current_label")
    patients = withheld_patients(user)
    withheld = films.filter(patient_id__in=patients).values_list("uuid", flat=True) if patients else ()
    hidden = {str(uuid) for uuid in withheld}
    if may(user, "see scores", run.site) and not has_to_label(user, run.site, part):
        return hidden
    for value in films.order_by().values_list("current_label__value", flat=True).distinct():
        of_label = films.filter(current_label__value=value)
        film = of_label.first()
        if film is not None and not may_see_scores(user, film, part):
            hidden.update(str(uuid) for uuid in of_label.values_list("uuid", flat=True))
    return hidden


def withheld_of(user: User, images: Collection[str]) -> set[str]:
    """Those of the films with these UUIDs that are withheld from a person who reads blinded."""
    patients = withheld_patients(user)
    if not patients:
        return set()
    withheld = Image.objects.filter(patient_id__in=patients).values_list("uuid", flat=True)
    return {str(uuid) for uuid in withheld}.intersection(images)


def refuse_file_of(user: User, images: Collection[str]) -> None:
    """Raises PermissionDenied if a file with the films of these UUIDs would hold a withheld one."""
    withheld = withheld_of(user, images)
    if withheld:
        refuse_file(user, Image.objects.filter(uuid__in=withheld))


def named_films(user: User, run: Run, *, part: str, images: Sequence[str]) -> list[str | None]:
    """The films of a figure, None for those that it may not name or mark. While one of them is withheld none is named:
    the others would tell which point of the figure is the withheld film."""
    if withheld_of(user, images):
        return [None] * len(images)
    hidden = hidden_films(user, run, part=part)
    return [None if image in hidden else image for image in images]


def shown_scores(user: User, film: Image, scores: Sequence[Score], parts: Mapping[int, str]) -> list[Score]:
    """Those of a film's scores that the person may see: no score of test of a run that nobody has looked at. The rule
    for labels is applied once per part. Select `run__detector` with `scores`."""
    if is_withheld(user, film):
        return []
    part_of = {score.pk: parts.get(score.run.detector.split_id, "") if score.run.detector else "" for score in scores}
    allowed = {part: may_see_scores(user, film, part) for part in set(part_of.values())}
    of_test = [score.run_id for score in scores if part_of[score.pk] == Part.TEST]
    opened = runs_looked_at(Run.objects.filter(pk__in=of_test)) if of_test else set()
    return [
        score
        for score in scores
        if allowed[part_of[score.pk]] and (part_of[score.pk] != Part.TEST or score.run_id in opened)
    ]


def parts_of_film(film: Image) -> dict[int, str]:
    """Primary key of a split -> the film's part in it."""
    return dict(SplitImage.objects.filter(image=film).values_list("member__split_id", "member__part"))


def sentence(films: int, part: str) -> str:
    """How many evaluated films of a part are hidden, and why; blank if none is."""
    if not films:
        return ""
    which = f"1 film of {part} is" if films == 1 else f"{films} films of {part} are"
    return (
        f"{which} hidden from you until you have labelled or read {'it' if films == 1 else 'them'}, since {WHY}. "
        f"The curves count {'it' if films == 1 else 'them'}."
    )


def scored_film(user: User, run_uuid: UUID, image_uuid: UUID) -> tuple[Score, str]:
    """A film's score in a run, and the film's part in the split of the run's detector. Raises Http404, and
    PermissionDenied while the score is hidden, or is one of test and nobody has looked at the run's test results."""
    run = get_visible(Run.objects.select_related("site", "detector__split", "detector__run"), user, run_uuid)
    rows = Score.objects.select_related("image__dataset__site", "image__patient", "image__current_label")
    score = rows.filter(run=run, image__uuid=image_uuid).first()
    if score is None:
        raise Http404("The run did not score this film.")
    refuse_withheld(user, score.image)
    score.run = run
    part = _part_of(score)
    if not may_see_scores(user, score.image, part):
        raise PermissionDenied(HIDDEN.format(part=part or "no part"))
    if part == Part.TEST:
        require_look(run)
    return score, part


def _part_of(score: Score) -> str:
    """The film's part in the split that the run's detector was fitted on."""
    if score.run.detector is None:
        return ""
    row = SplitImage.objects.filter(image_id=score.image_id, member__split_id=score.run.detector.split_id)
    return row.values_list("member__part", flat=True).first() or ""
