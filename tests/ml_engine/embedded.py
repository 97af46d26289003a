"""A finished embedding map without an engine: its row, and its folder with drawn arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from django.utils import timezone

from ml_engine.core.embedding.neighbours import centred_directions, nearest_films
from ml_engine.engine import manifest
from ml_engine.engine.embedding_folder import LAYOUTS, EmbeddingFolder
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.study_plans import EmbeddingPlan
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.paths import run_folder
from portal.models import Dataset, Image
from tests.ml_engine import made


def mapped(*datasets: Dataset, features: np.ndarray | None = None, places: np.ndarray | None = None) -> Run:
    """A map of all films of the datasets. Places are drawn unless they are passed, (N, 2) for both layouts."""
    films = list(Image.objects.filter(dataset__in=datasets).select_related("patient").order_by("pk"))
    run = Run.objects.create(
        site=datasets[0].site,
        name="A map",
        kind=RunKind.EMBEDDING,
        state=RunState.DONE,
        config=made.small_config(weights="imagenet").to_json(),
        asked={"embedding": EmbeddingPlan().to_json()},
        finished_at=timezone.now(),
    )
    run.datasets.set(datasets)
    write_files(run, films, features=features, places=places)
    return run


def write_files(
    run: Run, films: Sequence[Image], *, features: np.ndarray | None = None, places: np.ndarray | None = None
) -> None:
    draws = np.random.default_rng(0)
    features = draws.normal(size=(len(films), 6)).astype(np.float32) if features is None else features
    places = draws.normal(size=(len(films), 2)) if places is None else places
    folder = EmbeddingFolder(run_folder(run.uuid))
    folder.path.mkdir(parents=True)
    rows = [ManifestRow(f"files/{film.uuid}.u16.gz", image=str(film.uuid), patient=str(film.pk)) for film in films]
    manifest.write(folder.path / "images.csv", rows, with_labels=False)
    nearest = nearest_films(centred_directions(features), 10)
    folder.write_features(features)
    folder.write_layout(np.repeat(places[:, None], len(LAYOUTS), axis=1).astype("<f4"))
    folder.write_neighbours(nearest.films, nearest.similarities)
    folder.write_summary({"films": len(films)})
