"""Runs whose films took facts of a corrected header since, or other pixels where text was blacked out: which of these
the engine read, and of how many films.

The engine reads a film's gray scale always, its window where the config takes its gray scale from that, and its spacing
as the height of a pixel over its width, where films are padded to a square and in a detector's negative controls; blind
spots read it in millimetres. Studies of several configs count as reading all three. Patients say which films belong
together in calibration, cross-fitting and intervals. The other header values are not in a run's folder.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from ml_engine.core.config import PipelineConfig
from ml_engine.models import Run, RunKind
from portal.intake.header_facts import Fact
from portal.models import HeaderDifference, Image, Part, TextDecision

PIXELS = "pixels"


def earlier_facts(run: Run) -> dict[str, int]:
    """The films of the run that have taken a fact or other pixels since its folder was written, by the facts that
    matter to it."""
    if run.started_at is None:
        return {}
    pixels = TextDecision.objects.filter(
        verdict=TextDecision.Verdict.BLACKED_OUT, created_at__gt=run.started_at, image__dataset__site=run.site_id
    )
    changed = 0
    if pixels.exists():
        changed = pixels.filter(image__in=_films(run)).values("image").distinct().count()
    return _corrected_facts(run, run.started_at) | ({PIXELS: changed} if changed else {})


def _corrected_facts(run: Run, started_at: datetime) -> dict[str, int]:
    taken = HeaderDifference.objects.filter(
        state=HeaderDifference.State.TAKEN,
        decided_at__gt=started_at,
        fact__in=[Fact.GRAY, Fact.WINDOW, Fact.SPACING, Fact.PATIENT],
        image__dataset__site=run.site_id,
    )
    if not taken.exists():
        return {}
    rows = taken.filter(image__in=_films(run)).values_list("image_id", "fact", "old", "new")
    films = {(image, fact) for image, fact, old, new in rows if _matters(fact, old, new, run)}
    counts = Counter(fact for _, fact in films)
    return {str(fact): counts[fact] for fact in Fact if counts[fact]}


def _films(run: Run) -> QuerySet[Image]:
    """The films that the run scored; of other kinds those of the parts of its split, or of its datasets, that it
    may have read."""
    if run.kind == RunKind.SCORE:
        return Image.objects.filter(scores__run=run)
    if run.split_id is None:
        return Image.objects.filter(dataset__in=run.datasets.all())
    films = Image.objects.filter(split_images__member__split=run.split_id)
    fits = run.kind in (RunKind.FIT_ALIGNMENT, RunKind.FIT_DETECTOR)
    return films.exclude(split_images__member__in=_of_test(run)) if fits else films


def _of_test(run: Run) -> Any:
    assert run.split is not None  # constraint run_fit_has_split
    return run.split.members.filter(part=Part.TEST)


def _matters(fact: str, old: Mapping[str, Any], new: Mapping[str, Any], run: Run) -> bool:
    if run.kind == RunKind.EMBEDDING and fact == Fact.PATIENT:
        return False
    if run.facts.is_study or fact in (Fact.GRAY, Fact.PATIENT):
        return True
    config = PipelineConfig.from_json(run.config)
    if fact == Fact.WINDOW:
        return config.intensity == "window"
    reads_it = config.resize == "pad" or run.kind == RunKind.FIT_DETECTOR
    return reads_it and _aspect(old) != _aspect(new)


def _aspect(spacing: Mapping[str, Any]) -> float:
    """As `portal.imaging.film.PixelFacts.aspect`."""
    if spacing["spacing_mm"] is None:
        return float(spacing["pixel_aspect"])
    rows, columns = spacing["spacing_mm"]
    return float(rows / columns)
