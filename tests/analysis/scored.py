"""A scored run as rows and arrays, without an engine: films of one split whose scores are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from analysis.models import TestLook
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reports import AlignmentReport, SuspectFilm, TuneReport
from ml_engine.engine.scored_folder import ScoredFolder
from ml_engine.models import AlignmentModel, DetectorModel, Run, RunKind, RunState, Score
from ml_engine.runs.paths import run_folder
from portal.models import Dataset, Image, LabelEvent, Part, Site, Split, User
from portal.sets.splits import SplitRequest, split_from_csv
from tests.ml_engine import reports, scored_folders
from tests.ml_engine.scored_folders import GRID
from tests.portal import factories
from tests.portal.factories import FilmFacts


@dataclass(frozen=True)
class Scored:
    run: Run
    split: Split
    films: list[Image]  # in the order of the arrays
    sweep: np.ndarray  # (N, 101)


def scored_run(
    at: Site,
    *,
    author: User,
    random_weights: bool = True,
    weight: float = 0.6,
    seed: int = 0,
    alignment: AlignmentReport | None = None,
    tune: TuneReport | None = None,
    suspects: int = 0,
    facts: Sequence[Mapping[str, Any]] = ({},) * 24,
    imported: Callable[[Dataset], tuple[list[Image], list[Image]]] | None = None,
) -> Scored:
    """8 fit films; tune and test with 6 normal and 6 abnormal films each, one per patient. `alignment` is the
    report of the alignment that the detector was fitted with, or None; `tune` is what the detector reports of its
    choice on tune, and its first `suspects` fit films are its least normal; `facts` are fields of the 24 films.
    `imported` makes fit films and the 24 others in another way."""
    dataset = factories.dataset(f"Set {seed}", at=at)
    fitted, films = imported(dataset) if imported else _films(dataset, facts)
    split = split_from_csv(
        SplitRequest(site=at, name=f"Split {seed}", datasets=[dataset], seed=0, author=_splitter(at, author))
    )
    run = _run(at, split, RunKind.FIT_DETECTOR, f"Detector {seed}", random_weights)
    detector = DetectorModel.objects.create(
        site=at,
        run=run,
        split=split,
        alignment=_alignment(at, split, alignment) if alignment is not None else None,
        sha256="0" * 64,
        config=PipelineConfig.from_preset("default").replace(weights="random").to_json(),
        summary=reports.detector_report(
            fusion_weight=weight,
            suspects=[
                SuspectFilm(image=str(film.uuid), filename="a.gz", fused=4.5, p_value=0.125)
                for film in fitted[:suspects]
            ],
            **({"tune": tune} if tune else {}),
        ).to_json(),
        fusion_weight=weight,
        random_weights=random_weights,
    )
    scoring = _run(at, split, RunKind.SCORE, f"Scores {seed}", random_weights, detector=detector)
    sweep = _arrays(scoring, films, weight=weight, seed=seed)
    return Scored(scoring, split, films, sweep)


def _films(dataset: Dataset, facts: Sequence[Mapping[str, Any]]) -> tuple[list[Image], list[Image]]:
    made = [FilmFacts("normal", person=f"fit {n}", csv_split="fit") for n in range(8)]
    made += [
        FilmFacts(label, f"{part} {label} {n}", **{"csv_split": part, **_arguments(fields)})
        for (part, label, n), fields in zip(places(), facts, strict=True)
    ]
    films = factories.films_with(dataset, made)
    return films[:8], films[8:]


def _arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The view is an argument of its own."""
    others = {name: value for name, value in fields.items() if name != "view"}
    return {"fields": others} | ({"view": fields["view"]} if "view" in fields else {})


def places() -> list[tuple[str, str, int]]:
    """Part, label and number of the 24 films."""
    return list(product(("tune", "test"), ("normal", "abnormal"), range(6)))


def scored_dataset(scored: Scored, dataset: Dataset, *, shift: float = 0.0) -> Run:
    """A run that scored a whole dataset, of films with a label, with the detector of `scored`: abnormal films score
    higher by 1, all by `shift`."""
    detector = scored.run.detector
    assert detector is not None
    run = Run.objects.create(
        site=dataset.site,
        name=f"Scores of {dataset}",
        kind=RunKind.SCORE,
        split=scored.split,
        detector=detector,
        state=RunState.DONE,
        random_weights=scored.run.random_weights,
    )
    run.datasets.add(dataset)
    films = list(dataset.images.order_by("pk"))
    labels = np.array([film.label_events.get().value == "abnormal" for film in films])
    values = np.random.default_rng(len(films)).normal(3 + shift, 1, len(films)) + labels
    sweep = scored_folders.sweep_between(values, values)
    rows = [ManifestRow(filename=f"files/{film.uuid}.u16.gz", image=str(film.uuid)) for film in films]
    maps = np.ones((len(films), 2, GRID, GRID), dtype=np.float32)
    calibrated = ScoredFolder(run_folder(scored.run.uuid)).summary
    scored_folders.write(
        run_folder(run.uuid),
        rows,
        sweep,
        maps=maps,
        weight=detector.fusion_weight,
        calibration_scores=calibrated.calibration_scores,
        calibration_patients=calibrated.calibration_patients,
    )
    Score.objects.bulk_create(
        Score(run=run, image=film, row=row, global_score=value, region_score=value, fused_score=value)
        for row, (film, value) in enumerate(zip(films, sweep[:, 0].tolist(), strict=True))
    )
    return run


def looked_at(run: Run) -> Run:
    """The run, with a look at its test part, so that its films of test may be seen with their scores."""
    assert run.detector is not None
    TestLook.objects.create(split=run.detector.split, run=run, reason="made for a test")
    return run


def _alignment(at: Site, split: Split, report: AlignmentReport) -> AlignmentModel:
    run = _run(at, split, RunKind.FIT_ALIGNMENT, f"Alignment of {split}", False)
    return AlignmentModel.objects.create(
        site=at, run=run, split=split, sha256="0" * 64, config={}, report=report.to_json()
    )


def _splitter(at: Site, author: User) -> User:
    return author if author.is_superuser else factories.user(f"splitter {factories.somewhere()}", is_superuser=True)


def _run(
    at: Site, split: Split, kind: str, name: str, random_weights: bool, detector: DetectorModel | None = None
) -> Run:
    return Run.objects.create(
        site=at,
        name=name,
        kind=kind,
        split=split,
        detector=detector,
        state=RunState.DONE,
        random_weights=random_weights,
        parts=[Part.TUNE, Part.TEST],
    )


def _arrays(run: Run, films: list[Image], *, weight: float, seed: int) -> np.ndarray:
    """Abnormal films score higher by region than by global, so that the weight matters."""
    generator = np.random.default_rng(seed)
    abnormal = set(LabelEvent.objects.filter(image__in=films, value="abnormal").values_list("image", flat=True))
    labels = np.array([film.pk in abnormal for film in films])
    global_score = generator.normal(3, 1, len(films)) + 0.5 * labels
    region_score = generator.normal(3, 1, len(films)) + 1.5 * labels
    sweep = scored_folders.sweep_between(global_score, region_score)
    maps = generator.normal(1, 0.2, (len(films), 2, GRID, GRID)).astype(np.float32)
    maps[:, :, 0, 0] = np.nan  # a masked corner
    rows = [ManifestRow(filename=f"files/{film.uuid}.u16.gz", image=str(film.uuid)) for film in films]
    scored_folders.write(run_folder(run.uuid), rows, sweep, maps=maps, weight=weight)
    at = round(weight * 100)
    Score.objects.bulk_create(
        Score(
            run=run,
            image=film,
            row=row,
            global_score=sweep[row, 0],
            region_score=sweep[row, 100],
            fused_score=sweep[row, at],
        )
        for row, film in enumerate(films)
    )
    return sweep
