"""Films that a run of whole datasets leaves out as copies of test films: their scores would be results on test that no
look counts and no seal covers."""

from collections.abc import Sequence

from django.db.models import QuerySet

from ml_engine.models import Run, RunKind
from ml_engine.runs.lifecycle import RunRefused
from portal.models import Dataset, Image, Part, Split
from portal.sets.film_copies import outside_copies_of

_WHY = "would show results on test. Score the part test of the split instead."


def copies_among(split: Split, datasets: Sequence[Dataset]) -> QuerySet[Image]:
    """The films of the datasets that are copies of films in the split's test part, and not in the split themselves."""
    return outside_copies_of(split, Part.TEST).filter(dataset__in=datasets)


def refuse_copies_alone(split: Split, datasets: Sequence[Dataset]) -> None:
    """Raises RunRefused if all films of the datasets are copies of test films."""
    copies = copies_among(split, datasets).count()
    if copies and copies == Image.objects.filter(dataset__in=datasets).count():
        raise RunRefused(
            f"All of these films are copies of films in the test part of “{split.name}”: their scores {_WHY}"
        )


def copies_left_out(run: Run) -> QuerySet[Image]:
    """The films that a scoring run of datasets was asked for and does not score, as copies of test films."""
    if run.kind != RunKind.SCORE or run.split is None or run.rescores is not None or run.parts:
        return Image.objects.none()
    return copies_among(run.split, list(run.datasets.all()))


def copies_in_words(run: Run) -> str:
    """A sentence on these films; "" where there is none."""
    films = copies_left_out(run).exclude(scores__run=run).count()  # runs of before this rule scored them
    if not films or run.split is None:
        return ""
    if films == 1:
        which, score = "1 film is not scored, as it is a copy of one", "its score"
    else:
        which, score = f"{films:,} films are not scored, as copies of films", "their scores"
    return f"{which} in the test part of “{run.split.name}”: {score} {_WHY}"
