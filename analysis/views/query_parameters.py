"""Parameters shared by the pages of evaluations and studies: evaluation, part, fusion weight, theme, study."""

from uuid import UUID

from django.http import Http404

from analysis.evaluation.evaluate import is_stored, parts_of
from analysis.evaluation.operating_point import InvalidOperatingPoint
from analysis.figures.palette import Theme
from analysis.models import Evaluation
from ml_engine.models import Run, RunKind, RunState
from portal.models import Part, User
from portal.people.access import get_visible, require

OF_OPERATING_POINT = ("part", "weight", "score", "rule", "target", "prevalence")  # of a query


def get_evaluation(user: User, uuid: UUID) -> Evaluation:
    """The evaluation, if it belongs to a site where the user may see scores; 404 or 403 otherwise."""
    rows = Evaluation.objects.select_related(
        "run__site", "run__detector__run", "run__detector__alignment__run", "split__site", "created_by"
    )
    evaluation = get_visible(rows, user, uuid)
    require(user, "see scores", evaluation.run.site)
    return evaluation


def get_part(evaluation: Evaluation, text: str) -> str:
    """The part named by `text`, by default the first one evaluated. Raises Http404 for another."""
    parts = parts_of(evaluation)
    if text and text not in parts:
        raise Http404("This evaluation has no such part.")
    return text or parts[0]


def get_weight(text: str) -> float | None:
    """The weight, or None where no scores are stored for it."""
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if is_stored(weight) else None


def is_a_look(evaluation: Evaluation, part: str, weight: float) -> bool:
    """Whether showing this part at this weight is a counted look: on test, at any weight but the run's."""
    return part == Part.TEST and round(weight, 2) != round(float(evaluation.metrics["weight"]), 2)


def allowed_weight(evaluation: Evaluation, part: str, text: str) -> float:
    """The weight in `text`, by default the run's. Raises InvalidOperatingPoint where no scores are stored for it, and
    on test for any other weight than the run's."""
    weight = get_weight(text) if text else float(evaluation.metrics["weight"])
    if weight is None:
        raise InvalidOperatingPoint(f"The weight {text[:20]!r} is not one of 0, 0.01 … 1.")
    if is_a_look(evaluation, part, weight):
        raise InvalidOperatingPoint(
            f"On test the weight is the run's, {float(evaluation.metrics['weight']):g}: leave out the weight."
        )
    return weight


def theme_of(user: User) -> Theme:
    """The theme of the figures on the user's pages."""
    return "dark" if user.theme == "dark" else "light"


def get_study(user: User, uuid: UUID, *, kind: str = "") -> Run:
    """A finished ablation or sweep of a site where the user may see scores; 404 or 403 otherwise."""
    run = get_visible(Run.objects.select_related("site", "split"), user, uuid)
    if run.kind not in ([kind] if kind else [RunKind.ABLATION, RunKind.SWEEP]) or run.state != RunState.DONE:
        raise Http404("There is no finished study here.")
    require(user, "see scores", run.site)
    return run
