"""Finished ablations and sweeps as files, without an engine: experiments whose scores are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.reports import StudyAlignment
from ml_engine.engine.stages.ablation import plan as plan_ablation
from ml_engine.engine.stages.plans import ExperimentPlan
from ml_engine.models import Run, RunKind, RunState
from ml_engine.runs.paths import run_folder
from ml_engine.runs.study_requests import plan_sweep
from portal.models import Image, Site, Split
from tests.ml_engine import made, reports, scored_folders
from tests.ml_engine.scored_folders import GRID
from tests.portal import factories

MEASURES = reports.alignment_measures(ncc_after=0.9, known=reports.KNOWN)


def split_with_films(at: Site, *, films: int = 6) -> Split:
    """8 fit films; tune and test with `films` normal and as many abnormal films each, and an unsure film in test."""
    dataset = factories.dataset("Films", at=at)
    parts = {"fit": [factories.film(dataset, "normal", person=f"fit {n}") for n in range(8)]}
    for part in ("tune", "test"):
        parts[part] = [
            factories.film(dataset, label, person=f"{part} {label} {n}")
            for label in ("normal", "abnormal")
            for n in range(films)
        ]
    parts["test"].append(factories.film(dataset, "unsure", person="unsure"))
    return made.split(at, parts)


def ablation(split: Split, *, figures: tuple[str, ...] = ("12", "13", "14", "15"), refused: str = "") -> Run:
    config = made.small_config(mask="yes")
    return _laid(split, RunKind.ABLATION, plan_ablation(config, figures), config.to_json(), refused)


def sweep(split: Split, axes: dict[str, list[str]], *, refused: str = "", **changes: str) -> Run:
    config, planned = plan_sweep(made.small_config(**changes), axes)
    return _laid(split, RunKind.SWEEP, planned, config.to_json(), refused)


def _laid(split: Split, kind: RunKind, planned: ExperimentPlan, config: dict[str, Any], refused: str) -> Run:
    run = made.run(
        split, kind=kind, state=RunState.DONE, name=f"A {kind}", config=config, asked=planned.asked, random_weights=True
    )
    folder = run_folder(run.uuid)
    films = _films(split, planned.scored)
    experiments = []
    for number, experiment in enumerate(planned.experiments):
        facts = {
            "name": experiment.name,
            "words": experiment.words,
            "changes": experiment.changes,
            "alignment": experiment.alignment,
        }
        facts["refused"] = "too large" if experiment.name == refused else ""
        if not facts["refused"]:
            place = folder / "cells" / experiment.name / "scores"
            _scores(place, films, number)
            facts |= {"scores": str(place.relative_to(folder)), "fusion_weight": 0.6, "fusion_source": "tune"}
        experiments.append(facts)
    alignments = {
        name: StudyAlignment(changes=changes, refused="", measures=MEASURES).to_json()
        for name, changes in planned.alignments.items()
    }
    summary = {"weights": {"name": "random"}, "config": config, "cells": experiments, "alignments": alignments}
    (folder / f"{kind}.json").write_text(json.dumps(summary | planned.asked, sort_keys=True), encoding="utf-8")
    (folder / "run.json").write_text("{}", encoding="utf-8")
    return run


def _films(split: Split, parts: tuple[str, ...]) -> list[tuple[Image, str]]:
    return [
        (image, part)
        for part in parts
        for image in Image.objects.filter(split_images__member__split=split, split_images__member__part=part).order_by(
            "pk"
        )
    ]


def _scores(place: Path, films: list[tuple[Image, str]], number: int) -> None:
    """Abnormal films score higher, by region more than by global, and lower in the second experiment; each experiment
    has its own noise."""
    generator = np.random.default_rng(number + 1)
    abnormal = np.array([image.current_label.value == "abnormal" for image, _ in films])
    whole = generator.normal(3, 1, len(films)) + 0.5 * abnormal
    region = generator.normal(3, 1, len(films)) + (-3 if number == 1 else 1.5) * abnormal
    maps = generator.normal(1, 0.2, (len(films), 2, GRID, GRID)).astype(np.float32)
    maps[:, :, 0, 0] = np.nan
    maps[:, :, 1, 2] = 4
    rows = [
        ManifestRow(filename=f"files/{image.uuid}.u16.gz", image=str(image.uuid), part=part) for image, part in films
    ]
    scored_folders.write(place, rows, scored_folders.sweep_between(whole, region), maps=maps)
    manifest.write(place / "images.csv", rows, with_labels=False)
