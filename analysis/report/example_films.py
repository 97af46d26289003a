"""Example films for a report: the surest and the worst calls, as far as the person who asks may be shown them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from analysis.evaluation.blinding import hidden_films, sentence, withheld_of
from analysis.evaluation.evaluate import ScoredPart
from analysis.evaluation.exposures import LABEL, MAP, SCORE, record_shown
from analysis.evaluation.operating_points import OperatingResult
from analysis.models import Evaluation
from analysis.sections.galleries import WORDS, GalleryFilm, rows_of, shown_films
from portal.intake import film_files
from portal.labels.events import CHUNK
from portal.models import Image, User
from portal.people.blinding import omitted

EACH = 5  # films of each kind
BURNED_IN = "Films with text burned into them, according to their headers, are left out."


@dataclass(frozen=True)
class ExampleFilm:
    """`picture` (h, w) uint8 is the film's preview; `name` is made of its address, never of its file's name."""

    film: GalleryFilm
    name: str
    picture: NDArray[np.uint8]


@dataclass(frozen=True)
class ExampleFilms:
    """Title of a kind of call -> films; `notes` say what is left out."""

    films: dict[str, tuple[ExampleFilm, ...]]
    notes: tuple[str, ...]


def example_films(evaluation: Evaluation, scored: ScoredPart, result: OperatingResult, *, viewer: User) -> ExampleFilms:
    """At most five films of each kind at the operating point. While a film of the part is withheld from the person none
    is shown, since it would be known by its absence; films that they have yet to label are left out. What is shown is
    recorded. Raises CannotEvaluate when the run's folder is gone."""
    withheld = withheld_of(viewer, scored.images)
    if withheld:
        return ExampleFilms({}, (f"{omitted(len(withheld))} Until then no example is shown.",))
    hidden = hidden_films(viewer, evaluation.run, part=scored.part).intersection(scored.images)
    with_text = _with_text(scored.images)
    films = {}
    for kind, rows in rows_of(scored, weight=result.weight, threshold=result.threshold).items():
        allowed = [row for row in rows.tolist() if scored.images[row] not in hidden | with_text]
        shown = shown_films(evaluation, scored, allowed[:EACH], weight=result.weight)
        films[WORDS[kind]] = tuple(_with_pictures(shown))
    images = [example.film.image for examples in films.values() for example in examples]
    record_shown(viewer, images, [LABEL, SCORE, MAP], runs=[evaluation.run.uuid])
    notes = (sentence(len(hidden), scored.part), BURNED_IN if with_text else "")
    return ExampleFilms(films, tuple(note for note in notes if note))


def _with_text(images: Sequence[str]) -> set[str]:
    """Those of the films with these UUIDs whose header says that text is burned in: it may be a name."""
    uuids: set[str] = set()
    for start in range(0, len(images), CHUNK):
        rows = Image.objects.filter(uuid__in=images[start : start + CHUNK], header__burned_in="YES")
        uuids |= {str(uuid) for uuid in rows.values_list("uuid", flat=True)}
    return uuids


def _with_pictures(shown: tuple[GalleryFilm, ...]) -> list[ExampleFilm]:
    films = {str(film.uuid): film for film in Image.objects.filter(uuid__in=[one.image for one in shown])}
    examples = []
    for one in shown:
        film = films[one.image]
        picture = np.asarray(Picture.open(io.BytesIO(film_files.preview_bytes(film))).convert("L"))
        examples.append(ExampleFilm(one, film.neutral_name, picture))
    return examples
