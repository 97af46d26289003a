"""Finished studies as rows and files, without an engine: scores drawn with a seed, in the engine's file layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from ml_engine.engine.stages.blind_spots import FILM_FIELDS, LESION_FIELDS
from ml_engine.engine.study_plans import BankPlan, LesionPlan, count_injected
from ml_engine.models import DetectorModel, Run, RunKind, RunState
from ml_engine.runs.paths import run_folder
from portal.models import Image, Site, Split
from portal.sets.splits import SplitRequest, split_from_csv
from tests.ml_engine import reports
from tests.portal import factories

MAPS = ("global", "region", "fused")
RATE = 0.2


def split(at: Site, *, normals: int = 12, name: str = "Studied") -> tuple[Split, list[Image]]:
    """Test films: alternately normal and abnormal, two of the same patient, and one that the split left out."""
    dataset = factories.dataset(name, at=at)
    for part, count in (("fit", 20), ("calibrate", 9), ("tune", 3)):
        for n in range(count):
            factories.film(dataset, "normal", person=f"{name} {part} {n}", csv_split=part)
    for n in range(3):
        factories.film(dataset, "abnormal", person=f"{name} tune abnormal {n}", csv_split="tune")
    test = []
    for n in range(2 * normals):
        person = f"{name} test {0 if n == 2 else n}"
        test.append(factories.film(dataset, ("normal", "abnormal")[n % 2], person=person, csv_split="test"))
    test.append(factories.film(dataset, "unsure", person=f"{name} unsure", csv_split="test"))
    author = factories.user(f"splitter {factories.somewhere()}", is_superuser=True)
    new_split = split_from_csv(SplitRequest(site=at, name=name, datasets=[dataset], seed=0, author=author))
    return new_split, test


def bank_study(at: Site, *, state: str = RunState.DONE, random_weights: bool = False) -> tuple[Run, dict[str, Any]]:
    """The run, and its scores by name: scores (C, N, 3), calibration (C, n, 3), labels (N,), -1 if left out."""
    new_split, test = split(at)
    planned = BankPlan(shares=(0.25, 0.5), repeats=2, contaminations=(0.0, 0.05))
    run = Run.objects.create(
        site=at, name="Banks", kind=RunKind.BANK_STUDY, split=new_split, state=state, random_weights=random_weights,
        asked={"bank": planned.to_json()},
    )  # fmt: skip
    rng = np.random.default_rng(4)
    labels = np.array([{"normal": 0, "abnormal": 1}.get(film.label_events.get().value, -1) for film in test])
    banks = planned.banks
    scores = rng.normal(0, 1, (len(banks), len(test), 3)) + 1.2 * (labels == 1)[None, :, None]
    calibration = rng.normal(0, 1, (len(banks), 9, 3))
    folder = run_folder(run.uuid)
    folder.mkdir(parents=True)
    np.save(folder / "scores.npy", scores)
    np.save(folder / "calibration.npy", calibration)
    facts = [
        {
            "name": cell.name,
            "share": cell.share,
            "contamination": cell.contamination,
            "repeat": cell.repeat,
            "normal_films": round(20 * cell.share),
            "normal_patients": round(20 * cell.share),
            "abnormal_films": count_injected(20, cell.contamination),
        }
        for cell in banks
    ]
    summary = {
        "cells": facts,
        "test": [str(film.uuid) for film in test],
        "false_alarm_rate": RATE,
        "fusion_weight": 0.6,
        "weights": {"name": "random" if random_weights else "imagenet"},
        "parts": {"fit": 20, "abnormal": 3, "calibrate": 9, "test": len(test)},
        "flagged": [],
        "config": {"seed": 0},
    }
    (folder / "bank_study.json").write_text(json.dumps(summary))
    return run, {"scores": scores, "calibration": calibration, "labels": labels, "films": test}


def blind_spots(at: Site, *, part: str = "tune", random_weights: bool = False) -> tuple[Run, list[dict[str, Any]]]:
    """The run, and its lesions: bigger and brighter lesions are found more often."""
    new_split, _ = split(at, name="Blind")
    fit = Run.objects.create(site=at, name="Detector", kind=RunKind.FIT_DETECTOR, split=new_split, state=RunState.DONE)
    detector = DetectorModel.objects.create(
        site=at, run=fit, split=new_split, sha256="0" * 64, config={}, summary=reports.detector_report().to_json(),
        fusion_weight=0.6, random_weights=random_weights,
    )  # fmt: skip
    planned = LesionPlan(part=part, films=6, places=2)
    run = Run.objects.create(
        site=at, name="Spots", kind=RunKind.BLIND_SPOTS, split=new_split, detector=detector, parts=[part],
        state=RunState.DONE, random_weights=random_weights, asked={"lesions": planned.to_json()},
    )  # fmt: skip
    lesions, films = _lesions(planned)
    folder = run_folder(run.uuid)
    folder.mkdir(parents=True)
    _write(folder / "lesions.csv", LESION_FIELDS, lesions)
    _write(folder / "films.csv", FILM_FIELDS, films)
    summary = {
        "asked": planned.to_json(),
        "grid": 4,
        "fusion_weight": 0.6,
        "false_alarm_rate": RATE,
        "weights": {"name": "random" if random_weights else "imagenet"},
        "thresholds": {name: {"kind": "film", "value": 2.0} for name in MAPS},
        "lungs": {"how": "films"},
        "films_of_nominal_width": 2,
        "nominal_width_mm": 400.0,
        "no_room": 3,
        "seed": 0,
    }
    (folder / "blind_spots.json").write_text(json.dumps(summary))
    return run, lesions


def _lesions(planned: LesionPlan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rng = np.random.default_rng(7)
    lesions: list[dict[str, Any]] = []
    films: list[dict[str, Any]] = []
    for number in range(planned.films):
        about = {"image": f"film {number}", "filename": f"{number}.gz", "patient": f"p{number // 2 * 2 % 5}"}
        films.append(about | {f"{name}_marked": number == 0 for name in MAPS})
        for kind in planned.kinds:
            for place in range(planned.places):
                row, column = int(rng.integers(6, 22)), int(rng.choice([4, 8, 19, 23]))
                for size in planned.sizes(kind):
                    for contrast in planned.contrasts:
                        masked = column == 4
                        line: dict[str, Any] = about | {
                            "kind": kind, "size_mm": size, "contrast": contrast, "place": place, "patch_row": row,
                            "patch_column": column, "cell": row // 7 * 4 + column // 7, "masked_off": masked,
                            "masked_share": 1.0 if masked and size < 20 else 0.5 if masked else 0.0,
                            "cells_touched": 2 if size > 20 else 1,
                        }  # fmt: skip
                        for name in MAPS:
                            chance = min(0.95, 0.02 * size * (5 * contrast + 0.2)) * (line["masked_share"] < 1)
                            is_hit = bool(rng.random() < chance)
                            line |= {f"{name}_found_there": is_hit, f"{name}_peak_there": is_hit and size > 10}
                            line |= {f"{name}_marked_after": is_hit or number == 0}
                        lesions.append(line)
    return lesions, films


def _write(path: Path, names: tuple[str, ...], lines: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        words = {True: "yes", False: "no"}
        for line in lines:
            values = [line.get(name, "") for name in names]
            writer.writerow([words[value] if isinstance(value, bool) else value for value in values])
