"""Films that a scoring run leaves out for their view: a detector of frontal films scores no lateral."""

from collections import Counter
from collections.abc import Sequence

from django.db.models import QuerySet

from ml_engine.models import Run, RunKind
from ml_engine.runs.lifecycle import RunRefused
from portal.imaging.views import in_words
from portal.models import Dataset, Image, Part, Split
from portal.sets.view_mix import of_other_views, views_of


def films_named(split: Split, parts: Sequence[str], datasets: Sequence[Dataset]) -> QuerySet[Image]:
    """The films of the parts of the split, or of the datasets."""
    if parts:
        return Image.objects.filter(split_images__member__split=split, split_images__member__part__in=parts)
    return Image.objects.filter(dataset__in=datasets)


def refuse_other_views_alone(films: QuerySet[Image], split: Split) -> None:
    """Raises RunRefused if a detector of the split would score none of the films."""
    views = _views(of_other_views(films, split))
    if views and views.total() == films.count():
        raise RunRefused(
            f"None of these films ({in_words(views)}) is frontal, and the detector was fitted on {fitted_on(split)}: "
            "it would call them abnormal for their view. Fit a detector on such views, or choose frontal films."
        )


def _views(films: QuerySet[Image]) -> Counter[str]:
    return Counter(films.order_by().values_list("view_position", flat=True))


def left_out(run: Run) -> QuerySet[Image]:
    """The films that a scoring run was asked for and does not score, for their view."""
    if run.kind != RunKind.SCORE or run.split is None or run.rescores is not None:
        return Image.objects.none()
    return of_other_views(films_named(run.split, run.parts, list(run.datasets.all())), run.split)


def left_out_in_words(run: Run) -> str:
    """A sentence on these films; "" where there is none."""
    views = _views(left_out(run))
    if not views or run.split is None:
        return ""
    films = "1 film is" if views.total() == 1 else f"{views.total():,} films are"
    return (
        f"{films} not scored ({in_words(views)}): the detector was fitted on {fitted_on(run.split)}, and would call "
        "other views abnormal."
    )


def fitted_on(split: Split) -> str:
    """The views of the fit part, in words."""
    return in_words(views_of(split, Part.FIT))
