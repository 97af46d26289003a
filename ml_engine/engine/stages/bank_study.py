"""How many normal films, and how clean: one bank after the other from the same features, all else alike.

The mask, the alignment and the fusion weight are those of the whole fit part in every cell, so that cells differ by
their bank alone. No label of the test part is in the folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_engine.core import files
from ml_engine.core.alignment.batches import spans
from ml_engine.core.bank import memory_bank
from ml_engine.core.bank.memory_bank import MapScorer, Source
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector import pipeline
from ml_engine.core.detector.pipeline import FittedDetector
from ml_engine.core.errors import EngineError, InvalidConfig
from ml_engine.core.film import masking
from ml_engine.core.score import model_selection
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import RunSpec, StageProgress
from ml_engine.engine.stages import fit_detector, read_and_align
from ml_engine.engine.stages.run_context import RunContext, require
from ml_engine.engine.study_plans import (
    BankPlan,
    PlannedBank,
    check_reachable,
    drawn_films,
    injected_count,
    injected_films,
)

FILMS_AT_ONCE = 64  # whose maps are held
COLUMNS = ("global", "region", "fused")


def stages(request: RunSpec) -> tuple[tuple[str, Any], ...]:
    """The stages of a bank study: its films, their features, one bank after the other, its summary."""
    planned = BankPlan.from_json(request.asked.get("bank", {}))
    check_config(request.config)
    cells = [(f"bank-{cell.name}", partial(_cell, cell)) for cell in planned.cells]
    return (
        ("films", partial(_read_films, planned)),
        ("align", read_and_align.align),
        ("mask", fit_detector.find_mask),
        ("features", _extract),
        *cells,
        ("results", partial(_results, planned)),
    )


def check_config(config: PipelineConfig) -> None:
    """Raises InvalidConfig for a detector without a memory bank."""
    if config.detector != "patchcore":
        raise InvalidConfig(
            f"detector is {config.detector!r}: only PatchCore has a memory bank whose films can be counted. Leave it "
            "out."
        )


def method(config: PipelineConfig) -> PipelineConfig:
    """The config of every cell: nothing is chosen on tune."""
    return model_selection.restrict_to(config, model_selection.candidates(config)[0]).replace(fusion_choice="config")


# the stages


def _read_films(planned: BankPlan, work: RunContext, report: StageProgress) -> dict[str, Any]:
    manifest.check_parts(work.rows, work.config)
    parts = [row.part for row in work.rows]
    for part in ("calibrate", "test"):
        if part not in parts:
            raise EngineError(
                f"A bank study needs films in the {part} part, and there is none: calibrate standardises the maps and "
                "fixes the threshold, test is scored."
            )
    abnormals = sum(row.part == "tune" and row.label == "abnormal" for row in work.rows)
    check_reachable(planned, normals=parts.count("fit"), abnormals=abnormals)
    return read_and_align.read_films(work, report)


def _rows(work: RunContext) -> dict[str, NDArray[np.int64]]:
    """The readable rows of the manifest by role, in the order in which their features are kept."""
    abnormal = [k for k in work.readable("tune").tolist() if work.rows[k].label == "abnormal"]
    found = {part: work.readable(part) for part in ("fit", "calibrate", "test")}
    return {
        "fit": found["fit"],
        "abnormal": np.array(abnormal, dtype=np.int64),
        "calibrate": found["calibrate"],
        "test": found["test"],
    }


def _extract(work: RunContext, report: StageProgress) -> dict[str, Any]:
    """The unmasked patch features of all films, once: features.npy (F * P, D) float32, film by film."""
    by_role = _rows(work)
    require(by_role["fit"], least=1, part="fit")
    require(by_role["calibrate"], least=2 if work.config.standardise else 1, part="calibrate")
    require(by_role["test"], least=1, part="test")
    batches = work.features_of(np.concatenate(list(by_role.values())), report)
    _, first = next(batches)
    per_film, wide = first.shape[1:]

    def parts() -> Iterator[NDArray[np.float32]]:
        yield first.reshape(-1, wide).numpy()
        for _, batch in batches:
            yield batch.reshape(-1, wide).numpy()

    count = sum(len(rows) for rows in by_role.values())
    files.stream_npy(work.path("features.npy"), (count * per_film, wide), parts())
    return {"patches": per_film}


def _names(work: RunContext, rows: NDArray[np.int64]) -> list[str]:
    return [_patient(work.rows[row], row) for row in rows.tolist()]


def _patient(row: ManifestRow, number: int) -> str:
    return row.patient or f"row {number}"


def _bank_films(cell: PlannedBank, work: RunContext, by_role: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The films of a cell's bank as numbers into fit followed by the abnormal ones of tune."""
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    seed = (work.config.seed, cell.repeat)
    clean = np.arange(len(fit))
    if cell.share < 1:
        clean = drawn_films(_names(work, fit), max(1, round(cell.share * len(fit))), seed)
    wanted = injected_count(len(clean), cell.contamination)
    if wanted > len(abnormal):
        raise EngineError(
            f"{wanted} abnormal films of tune are to join the bank, and {len(abnormal)} could be read: see which could "
            "not in log.txt, or ask for less contamination."
        )
    injected = injected_films(_names(work, abnormal), wanted, seed)
    return np.concatenate([clean, len(fit) + injected])


def _cell(cell: PlannedBank, work: RunContext, report: StageProgress) -> dict[str, Any]:
    """A bank, what calibrate and test score against it: scores-NAME.npy (N, 3), calibration-NAME.npy (n, 3)."""
    by_role, config = _rows(work), method(work.config)
    per_film = work.folder.summary("features")["patches"]
    features = torch.from_numpy(files.open_npy(work.path("features.npy")))
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    films = _bank_films(cell, work, by_role)
    source = Source(memory_bank.places_of(work.mask()), torch.from_numpy(np.concatenate([fit, abnormal])))
    last = (len(fit) + len(abnormal)) * per_film
    evaluated = len(by_role["calibrate"]) + len(by_role["test"])
    jobs = config.grid**2 + 1
    banks = memory_bank.build(
        features[:last].to(work.device),
        source,
        config,
        films=torch.from_numpy(films),
        with_radius=False,
        progress=lambda done, _: report(done, jobs + evaluated),
    )
    scorer = MapScorer(banks, work.mask(), config, work.device)
    done = jobs

    def maps(first: int, count: int) -> Iterator[Maps]:
        nonlocal done
        for at in spans(count, FILMS_AT_ONCE):
            some = [features[(first + k) * per_film : (first + k + 1) * per_film] for k in range(at.start, at.stop)]
            yield np.stack([scorer.maps(film) for film in some])
            done += len(some)
            report(done, jobs + evaluated)

    first = len(fit) + len(abnormal)
    normals = np.concatenate(list(maps(first, len(by_role["calibrate"]))))
    mask = masking.HardMask(work.mask(), work.folder.summary("mask")["threshold"])
    detector = FittedDetector(
        config=config,
        mask=mask,
        model=banks,
        calibration=pipeline.calibrate(normals, source="calibrate", config=config),
        choice=Choice(config.fusion_weight, "config"),
        weights=work.backbone.to_json(),
        alignment_sha256=(work.request.inputs or {}).get("alignment"),
        code_version=code_version(),
    )
    weights = (0.0, 1.0, config.fusion_weight)
    held_out = np.stack([pipeline.normal_scores(detector, weight=weight) for weight in weights], axis=1)
    scores = []
    for some in maps(first + len(by_role["calibrate"]), len(by_role["test"])):
        found = pipeline.score_maps(some, detector, weight=config.fusion_weight)
        scores.append(np.stack([found.whole, found.region, found.fused], axis=1))
    files.write_npy(work.path(f"calibration-{cell.name}.npy"), held_out)
    files.write_npy(work.path(f"scores-{cell.name}.npy"), np.concatenate(scores))
    return _facts(cell, work, by_role, films) | {"vectors": len(banks.whole.vectors)}


def _facts(
    cell: PlannedBank, work: RunContext, by_role: dict[str, NDArray[np.int64]], films: NDArray[np.int64]
) -> dict[str, Any]:
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    clean, injected = films[films < len(fit)], films[films >= len(fit)] - len(fit)
    return {
        "name": cell.name,
        "share": cell.share,
        "contamination": cell.contamination,
        "repeat": cell.repeat,
        "seed": [work.config.seed, cell.repeat],
        "normal_films": len(clean),
        "normal_patients": len(set(_names(work, fit[clean]))),
        "abnormal_films": len(injected),
        "injected": [work.rows[row].image or work.rows[row].filename for row in abnormal[injected].tolist()],
    }


def _results(planned: BankPlan, work: RunContext, report: StageProgress) -> dict[str, Any]:
    """scores.npy (C, N, 3) and calibration.npy (C, n, 3) by cell, film and `COLUMNS`; scores.csv; bank_study.json."""
    folder, by_role = work.folder, _rows(work)
    test = [k for k, row in enumerate(work.rows) if row.part == "test"]
    place_of = {row: place for place, row in enumerate(test)}
    scores = np.full((len(planned.cells), len(test), len(COLUMNS)), np.nan)
    at = [place_of[row] for row in by_role["test"].tolist()]
    for k, cell in enumerate(planned.cells):
        scores[k, at] = work.read(f"scores-{cell.name}.npy")
    calibration = np.stack([work.read(f"calibration-{cell.name}.npy") for cell in planned.cells])
    files.write_npy(folder.path / "scores.npy", scores)
    files.write_npy(folder.path / "calibration.npy", calibration)
    files.write_bytes(folder.path / "scores.csv", _table(work, test, planned, scores).encode())
    config = method(work.config)
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": work.backbone.to_json(),
        "config": config.to_json(),
        "alignment_sha256": (work.request.inputs or {}).get("alignment"),
        "asked": planned.to_json(),
        "fusion_weight": config.fusion_weight,
        "false_alarm_rate": config.false_alarm_rate,
        "columns": list(COLUMNS),
        "mask": {"share_kept": float(work.mask().mean())},
        "parts": {role: len(rows) for role, rows in by_role.items()},
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
        "test": [work.rows[row].image or work.rows[row].filename for row in test],
        "cells": [folder.summary(f"bank-{cell.name}") for cell in planned.cells],
    }
    files.write_json(folder.path / "bank_study.json", summary)
    return {}


def _table(work: RunContext, test: list[int], planned: BankPlan, scores: NDArray[np.float64]) -> str:
    """One line a test film with its fused score in each cell; empty where it could not be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "filename", *(cell.name for cell in planned.cells)])
    for place, row in enumerate(test):
        values = scores[:, place, 2].tolist()
        shown = ["" if np.isnan(value) else repr(value) for value in values]
        writer.writerow([work.rows[row].image, work.rows[row].filename, *shown])
    return text.getvalue()
