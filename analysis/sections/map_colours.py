"""What colours the points of an embedding map: a value of each film, and only those that the person may see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTextTransform

from analysis.evaluation.exposures import LABEL, SCORE, record_whole_set
from analysis.evaluation.shown_scores import shown_scores_of_run
from ml_engine.core.backbone.weights import RANDOM_NOTICE
from ml_engine.models import Run
from ml_engine.runs.embedding_maps import MapPoints
from portal.models import CurrentLabel, Image, Split, SplitImage, User
from portal.sets.film_filters import UNLABELLED
from portal.sets.film_pairs import UNJUDGED, pairs_for, with_verdict

UNKNOWN = "unknown"
NO_PART = "in no part"
NOT_PAIRED, PAIRED = "not in a pair to judge", "in a pair to judge"
MOST_NAMES = 40  # the rarest are put together as OTHER
OTHER = "other"


@dataclass(frozen=True)
class MapColours:
    """One value for each point: an index into `names`, or a number, None where it is not shown."""

    names: Sequence[str] = ()
    values: Sequence[int] = ()
    numbers: Sequence[float | None] = ()
    note: str = ""
    counts: Sequence[int] = field(default=())

    def to_json(self) -> dict[str, Any]:
        kind = "names" if self.names else "numbers"
        return {
            "kind": kind,
            "names": list(self.names),
            "counts": list(self.counts),
            "values": list(self.values if self.names else self.numbers),
            "note": self.note,
        }


Texts = Callable[[User, Run, Any], dict[int, str]]


def _films(run: Run) -> QuerySet[Image]:
    return Image.objects.filter(dataset__in=run.datasets.all()).order_by()


def _column(path: str) -> Texts:
    def texts(person: User, run: Run, of: Any) -> dict[int, str]:
        return dict(_films(run).values_list("pk", path))

    return texts


def _header(*keys: str) -> Texts:
    """Values of the header, joined, equal ones once; an older header may lack them."""

    def texts(person: User, run: Run, of: Any) -> dict[int, str]:
        columns = {f"of_{key}": KeyTextTransform(key, "header") for key in keys}
        rows = _films(run).annotate(**columns).values_list("pk", *columns)
        return {pk: " ".join(dict.fromkeys(filter(None, values))) for pk, *values in rows}

    return texts


def _labels(person: User, run: Run, of: Any) -> dict[int, str]:
    return dict(CurrentLabel.objects.filter(dataset__in=run.datasets.all()).values_list("image_id", "value"))


def _parts(person: User, run: Run, of: Split) -> dict[int, str]:
    return dict(SplitImage.objects.filter(member__split=of).values_list("image_id", "member__part"))


def _pairs(person: User, run: Run, of: Any) -> dict[int, str]:
    pairs = with_verdict(pairs_for(person).filter(site=run.site), UNJUDGED)
    return {pk: PAIRED for pair in pairs.values_list("first_id", "second_id") for pk in pair}


# By the value of the page's list: words, where the texts come from, and what a film without one is called.
BY_TEXT: dict[str, tuple[str, Texts, str]] = {
    "label": ("Label", _labels, UNLABELLED),
    "dataset": ("Dataset", _column("dataset__name"), UNKNOWN),
    "source": ("Source of the dataset", _column("dataset__source"), UNKNOWN),
    "view": ("View position", _column("view_position"), UNKNOWN),
    "manufacturer": ("Manufacturer", _header("manufacturer"), UNKNOWN),
    "scanner": ("Scanner", _header("manufacturer", "model"), UNKNOWN),
    "duplicates": ("Possible duplicates", _pairs, NOT_PAIRED),
    "part": ("Part of a split", _parts, NO_PART),
}
SCORES = "score"
REVEALS_LABELS = ("label", "part")  # a part tells of a label: only normal films are fitted


def colours_by_text(person: User, run: Run, points: MapPoints, *, by: str, of: Split | None = None) -> MapColours:
    """Colours by one of `BY_TEXT`. Records that the person is shown labels."""
    _, texts, missing = BY_TEXT[by]
    by_film = texts(person, run, of)
    shown = [by_film.get(film) or missing for film in points.films.tolist()]
    if by in REVEALS_LABELS:
        revealed = [film for film, text in zip(points.films.tolist(), shown, strict=True) if text != missing]
        record_whole_set(person, revealed, LABEL)
    counts: dict[str, int] = {}
    for text in shown:
        counts[text] = counts.get(text, 0) + 1
    names = sorted(counts, key=lambda name: (name == missing, -counts[name], name))
    note = ""
    if len(names) > MOST_NAMES:
        rare = set(names[MOST_NAMES - 1 :])
        note = f"The {len(rare)} rarest of {len(names)} values are shown together as “{OTHER}”."
        shown = [OTHER if text in rare else text for text in shown]
        counts[OTHER] = sum(counts[name] for name in rare)
        names = [*names[: MOST_NAMES - 1], OTHER]
    index = {name: place for place, name in enumerate(names)}
    return MapColours(names=names, values=[index[text] for text in shown], counts=[counts[n] for n in names], note=note)


def colours_by_score(person: User, scored: Run, points: MapPoints) -> MapColours:
    """Colours by the fused scores of a scoring run, of the films whose scores the person may see. Records that they are
    shown. Raises PermissionDenied."""
    scores = shown_scores_of_run(person, scored)
    numbers = [scores.by_film.get(film) for film in points.films.tolist()]
    revealed = [film for film, number in zip(points.films.tolist(), numbers, strict=True) if number is not None]
    record_whole_set(person, revealed, SCORE, run=scored.uuid)
    notes = [RANDOM_NOTICE] if scored.random_weights else []
    return MapColours(numbers=numbers, note=" ".join([*notes, *filter(None, [scores.note])]))
