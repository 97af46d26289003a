"""The embedding maps that runs have made, as a person may see them.

A map shows films, and says of them how alike they are. Films that a person has yet to read blinded are left out of it
whole: beside labelled neighbours a place would say something about their label.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from ml_engine.engine.embedding_folder import EmbeddingFolder, NoMap
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.run_bucket import here
from portal.models import Dataset, Image, User
from portal.people.blinding import withheld_patients, without_withheld

TRIED = 20  # maps of a dataset whose folders are looked for


def maps_of(dataset: Dataset) -> QuerySet[Run]:
    """The runs that mapped films of the dataset, newest first."""
    done = Run.objects.filter(kind=RunKind.EMBEDDING, state=RunState.DONE, datasets=dataset)
    return done.select_related("site").order_by("-finished_at", "-pk")


def maps_under_way(dataset: Dataset) -> QuerySet[Run]:
    waiting = [RunState.QUEUED, RunState.RUNNING]
    return Run.objects.filter(kind=RunKind.EMBEDDING, state__in=waiting, datasets=dataset).order_by("-pk")


def open_map(run: Run) -> EmbeddingFolder:
    """Raises NoMap where the run's files are gone."""
    folder = EmbeddingFolder(here(run))
    folder.check()
    return folder


def newest_map(dataset: Dataset) -> Run | None:
    """The newest map of the dataset whose files are there: those of a map that held an erased patient are deleted."""
    for run in maps_of(dataset)[:TRIED]:
        try:
            open_map(run)
        except NoMap:
            continue
        return run
    return None


@dataclass(frozen=True)
class MapPoints:
    """The films of a map that are shown: their rows in the arrays of the map, primary keys and UUIDs, in the map's
    order. `omitted` is the number of films that the person has yet to read blinded."""

    rows: NDArray[np.int64]
    films: NDArray[np.int64]
    uuids: Sequence[UUID]
    omitted: int

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same points: answers that were made at different times are joined only where it agrees."""
        return hashlib.sha256(self.rows.tobytes() + self.films.tobytes()).hexdigest()[:16]


def points_for(person: User, run: Run, folder: EmbeddingFolder) -> MapPoints:
    """The points of a map that the person may see: of films that could be read and are still there."""
    row_of = {image: row for row, image in enumerate(folder.images) if image}
    drawn: NDArray[np.bool_] = np.asarray(np.isfinite(folder.places()).all(axis=(1, 2)))
    withheld = withheld_patients(person)
    of_map = Image.objects.filter(dataset__in=run.datasets.all()).order_by().values_list("pk", "uuid", "patient_id")
    films = [(row_of[str(uuid)], pk, uuid, patient) for pk, uuid, patient in of_map if str(uuid) in row_of]
    films = sorted(film for film in films if drawn[film[0]])
    shown = [film for film in films if film[3] not in withheld]
    return MapPoints(
        rows=np.array([row for row, _, _, _ in shown], dtype=np.int64),
        films=np.array([pk for _, pk, _, _ in shown], dtype=np.int64),
        uuids=[uuid for _, _, uuid, _ in shown],
        omitted=len(films) - len(shown),
    )


@dataclass(frozen=True)
class SimilarFilm:
    image: Image
    similarity: float  # cosine, -1 to 1


def similar_films(person: User, run: Run, film: Image, *, count: int) -> list[SimilarFilm] | None:
    """The films of the map that are most like `film`, most alike first, without those that the person has yet to read
    blinded; None where the map does not hold the film. Raises NoMap."""
    folder = open_map(run)
    try:
        row = folder.images.index(str(film.uuid))
    except ValueError:
        return None
    near = [(folder.images[other], float(value)) for other, value in _neighbours(folder, row)]
    films = Image.objects.filter(dataset__site=run.site_id, uuid__in=[image for image, _ in near if image])
    shown = without_withheld(films, person).select_related("dataset", "current_label")
    by_uuid = {str(image.uuid): image for image in shown}
    return [SimilarFilm(by_uuid[image], value) for image, value in near if image in by_uuid][:count]


def _neighbours(folder: EmbeddingFolder, row: int) -> list[tuple[int, float]]:
    pairs = zip(folder.neighbours()[row].tolist(), folder.similarities()[row].tolist(), strict=True)
    return [(other, value) for other, value in pairs if other >= 0]
