"""Template filters for the pages of runs: words and numbers."""

from collections.abc import Mapping
from typing import Any

from django import template

from ml_engine.engine.forecast import in_words
from ml_engine.models import Run
from ml_engine.runs import ranges

register = template.Library()

STAGES = {
    "alignment-base": "fitting the alignment",
    "films": "loading films",
    "network": "fitting the alignment network",
    "align": "aligning films",
    "mask": "computing the mask",
    "features": "extracting patch features",
    "banks": "selecting the memory banks",
    "calibrate": "calibrating on normals",
    "tune": "scoring the tune part",
    "crossfit": "scoring the fit films by models of other patients",
    "control": "comparing known with scored normals",
    "head": "fitting the semi-supervised head",
    "curve": "measuring what the reads bought",
    "controls": "scoring normal films that were changed harmlessly",
    "maps": "scoring films",
    "lungs": "locating the lungs",
    "lesions": "pasting lesions and scoring them",
    "pool": "averaging the patch features of films",
    "neighbours": "finding the nearest films of each film",
    "layout": "laying out the map",
    "results": "writing results",
    "ranges": "working in ranges",
    "merge": "joining the ranges",
}

_OF_STUDIES = (
    ("cell-", "fitting and scoring detector"),
    ("alignment-", "fitting alignment"),
    ("bank-", "selecting and scoring bank"),
)

CONTROLS = {
    "unchanged": "Unchanged",
    "re_exposed": "Re-exposed",
    "rotated": "Rotated",
    "collimated": "Collimated",
    "with_device": "With a device",
    "larger_habitus": "Larger habitus",
}


@register.filter
def control_words(kind: str) -> str:
    return CONTROLS.get(kind, kind)


@register.filter
def stage_words(stage: str) -> str:
    if stage in STAGES:
        return STAGES[stage]
    for prefix, words in _OF_STUDIES:
        if stage.startswith(prefix):
            return f"{words} {stage.removeprefix(prefix)}"
    return stage


@register.filter
def child_words(child: Run) -> str:
    """ "films 1 to 100", of a child of a divided run."""
    return ranges.words(child)


@register.filter
def child_share(child: Run) -> int:
    """The percentage of a child's work that is done."""
    return round(100 * ranges.share(child))


@register.filter
def duration(seconds: float | None) -> str:
    """ "45 s", "12 min", "3 h 5 min"."""
    return "" if seconds is None else in_words(seconds)


@register.filter
def left(seconds: float) -> str:
    """ "a few seconds", "about 12 min": what is left is an estimate, and 0 s left is not the end."""
    return "a few seconds" if seconds < 5 else f"about {in_words(seconds)}"


@register.filter
def took(run: Run) -> str:
    if run.started_at is None or run.finished_at is None:
        return ""
    return duration((run.finished_at - run.started_at).total_seconds())


@register.filter
def number(value: Any, digits: int = 3) -> str:
    """A number of a report; a dash if there is none."""
    return "–" if value is None or value == "" else f"{value:.{digits}f}"


@register.filter
def signed(value: Any, digits: int = 1) -> str:
    """A change with its sign; a dash if there is none."""
    return "–" if value is None or value == "" else f"{value:+.{digits}f}".replace("-", "−")


@register.filter
def percent(value: Any) -> str:
    return "–" if value is None or value == "" else f"{100 * value:.0f} %"


@register.filter
def complement(share: float) -> float:
    return 1 - share


@register.filter
def entry(values: Mapping[str, Any], name: str) -> Any:
    return values.get(name)


@register.filter
def area(auroc: Any) -> float | str:
    """The number of an AUROC, for the page's scripts; "" if there is none."""
    return "" if auroc is None or auroc.auroc is None else float(auroc.auroc)
