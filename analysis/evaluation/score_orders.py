"""The orders of the film grid by the scores of a run, least normal first (`portal.grid.film_order.sort_also`).

A film's place says something of its score. So a film has a place by its score where the person may see that score, by
the rules of `analysis.evaluation.shown_scores`, and otherwise comes last, with the films that the run did not score.
Films that the person has yet to read blinded are in no grid.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import (
    Case,
    ExpressionWrapper,
    F,
    FilteredRelation,
    FloatField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from analysis.evaluation.looks import runs_looked_at
from ml_engine.core.backbone.weights import RANDOM_NOTICE
from ml_engine.models import Run, RunKind, RunState
from portal.grid.film_order import LEAST_NORMAL, SCORE, SCORED_AT, WITHOUT_SCORE, ByScore, FilmOrder
from portal.models import Dataset, Part, Site, SplitImage, User
from portal.people.access import SCORES_AFTER, has_to_label, may

RUNS_LISTED = 20
_PART = "_part"  # of the film in the split of the run's detector
_RANDOM = f"{RANDOM_NOTICE.capitalize()}."
_LAST = "Films whose scores you may not see, and films that the run did not score, come last, as imported."


def scored_runs(person: User, site: Site, datasets: QuerySet[Dataset]) -> QuerySet[Run]:
    """Finished scoring runs of films of the datasets, newest first; none for people who may not see scores."""
    if not may(person, "see scores", site):
        return Run.objects.none()
    scored = Run.objects.filter(site=site, kind=RunKind.SCORE, state=RunState.DONE, detector__isnull=False)
    of_split = Q(datasets__isnull=True, split__datasets__in=datasets)  # a run of whole datasets may name a split too
    return scored.filter(Q(datasets__in=datasets) | of_split).distinct().order_by("-pk")


def listed(person: User, dataset: Dataset) -> Sequence[FilmOrder]:
    """The orders by the newest scoring runs, newest first."""
    runs = scored_runs(person, dataset.site, Dataset.objects.filter(pk=dataset.pk))[:RUNS_LISTED]
    return [_named(run) for run in runs]


def named(person: User, dataset: Dataset, uuid: str) -> FilmOrder | None:
    """The order by the scores of this run; None where the person may see none, or the run scored no film of the
    dataset."""
    try:
        address = UUID(uuid)
    except ValueError:
        return None
    runs = scored_runs(person, dataset.site, Dataset.objects.filter(pk=dataset.pk))
    run = runs.select_related("site", "detector").filter(uuid=address).first()
    return _named(run, person) if run is not None else None


def _named(run: Run, person: User | None = None) -> FilmOrder:
    """Without a person, only what the list of orders needs."""
    return FilmOrder(
        name=f"{LEAST_NORMAL}{run.uuid}",
        words=f"least normal first, by {run.name}",
        by=_above_is_first(person, run) if person else None,
        by_score=ByScore(beside=lambda: _beside(run), shown=_may_see(person, run)) if person else None,
        run=run.uuid,
        note=" ".join([_RANDOM] * run.random_weights + [f"Sorted by the scores of {run.name}. {_LAST}"]),
    )


def _beside(run: Run) -> dict[str, Any]:
    """Joins the score and the part. Django does not take a FilteredRelation twice."""
    assert run.detector is not None  # only a scoring run has scores
    of_split = SplitImage.objects.filter(member__split_id=run.detector.split_id, image=OuterRef("pk"))
    return {
        SCORE: FilteredRelation("scores", condition=Q(scores__run=run, scores__error="")),
        _PART: Coalesce(Subquery(of_split.values("member__part")[:1]), Value("")),
    }


def _above_is_first(person: User, run: Run) -> Case:
    """The negative fused score of a film, WITHOUT_SCORE where the person may see none."""
    negative = ExpressionWrapper(F(SCORED_AT) * Value(-1.0), output_field=FloatField())
    return Case(When(_may_see(person, run), then=negative), default=Value(WITHOUT_SCORE), output_field=FloatField())


def _may_see(person: User, run: Run) -> Q:
    shown = Q(**{f"{SCORED_AT}__isnull": False})
    if unlabelled := [part for part in Part.values if has_to_label(person, run.site, part)]:
        shown &= Q(current_label__value__in=SCORES_AFTER) | ~Q(**{f"{_PART}__in": unlabelled})
    if not runs_looked_at(Run.objects.filter(pk=run.pk)):
        shown &= ~Q(**{_PART: Part.TEST})
    return shown
