"""The films that two compared runs call differently, as galleries and as lists."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from analysis.evaluation.blinding import UNNAMED, sentence, withheld_of
from analysis.evaluation.exposures import LABEL, SCORE, record_shown
from analysis.evaluation.looks import CannotEvaluate, note_of
from analysis.sections.comparison import SPECIFICITY, CannotCompare, ComparedRun, Comparison
from analysis.views.comparison import changed_run, hidden_of, requested_comparison
from portal.labels.events import labels_at
from portal.models import Image
from portal.people.accepted_query import accepts_query
from portal.people.blinding import omitted
from portal.people.signed_in import SignedInRequest

MOST = 60  # films of a side on the page; the CSV of the comparison has all


@dataclass(frozen=True)
class ChangedFilm:
    """A film with its label at the cut-off and its scores by the reference and by the other run."""

    film: Image
    label: str
    findings: tuple[str, ...]
    first: float
    second: float


@require_GET
@accepts_query("part", "reference", "run", repeated="evaluation")
def changed_films(request: SignedInRequest) -> HttpResponse:
    """Parameters as of the comparison, and `run`, the address of the run whose films are shown, which may be left out
    of a comparison of two."""
    try:
        compared, query = requested_comparison(request.user, request.GET)
        row = _row(compared, request.GET.get("run", ""))
    except (CannotCompare, CannotEvaluate) as error:
        refusal = {"title": "Nothing to show", "sentence": str(error)}
        return render(request, "portal/error.html", refusal, status=400)
    request.hilum_site = compared.rows[0].evaluation.run.site
    hidden = hidden_of(request.user, compared)
    changed = changed_run(compared, row, hidden=hidden, query=query)
    withheld = withheld_of(request.user, compared.images)
    sides = []
    for side, words, count in changed.sides if not withheld else ():
        assert row.changed is not None
        images = [image for image in getattr(row.changed, side) if image not in hidden]
        films = _films(compared, row, images[:MOST])
        sides.append((side, words, count, films))
    shown = [one.film.uuid for _, _, _, films in sides for one in films]
    runs = [compared.rows[0].evaluation.run.uuid, row.evaluation.run.uuid]
    record_shown(request.user, shown, [LABEL, SCORE], runs=runs)
    context = {
        "room": "results",
        "found": compared,
        "first": compared.rows[0],
        "row": row,
        "sides": sides,
        "most": MOST,
        "specificity": SPECIFICITY,
        "query": query,
        "note": note_of(compared.rows[0].evaluation.split, compared.part),
        "left_out": f"{omitted(len(withheld))} {UNNAMED}" if withheld else sentence(len(hidden), compared.part),
        "random_weights": any(one.evaluation.run.random_weights for one in (compared.rows[0], row)),
    }
    return render(request, "analysis/changed_films.html", context)


def _row(compared: Comparison, run: str) -> ComparedRun:
    """The compared run with this address; "" is the other one of two. Raises CannotCompare."""
    others = [row for row in compared.rows[1:] if not run or str(row.evaluation.run.uuid) == run]
    if len(others) != 1:
        names = ", ".join(repr(row.evaluation.run.name) for row in compared.rows[1:])
        raise CannotCompare(f"The run {run[:40]!r} is not compared with the reference; choose one of {names}.")
    if others[0].changed is None:
        raise CannotCompare(
            f"No film changed sides: the run {others[0].evaluation.run.name!r} or its reference has no threshold for a "
            f"specificity of {SPECIFICITY:g} on {compared.part}; compare them on test."
        )
    return others[0]


def _films(compared: Comparison, row: ComparedRun, images: list[str]) -> list[ChangedFilm]:
    """In their order; a film that was erased since is left out."""
    rows = Image.objects.filter(uuid__in=images).only("uuid", "original_name", "rows", "columns")
    films = {str(film.uuid): film for film in rows}
    labels = labels_at([film.pk for film in films.values()], compared.rows[0].evaluation.label_cutoff)
    place = {image: k for k, image in enumerate(compared.images)}
    second = compared.rows.index(row)
    return [
        ChangedFilm(
            film=films[image],
            label="abnormal" if compared.labels[place[image]] else "normal",
            findings=labels[films[image].pk].findings if films[image].pk in labels else (),
            first=float(compared.scores[0, place[image]]),
            second=float(compared.scores[second, place[image]]),
        )
        for image in images
        if image in films
    ]
