"""How many normal films, and how clean: memory banks of different films on the same features, otherwise equal.

Every bank uses the mask, the alignment and the fusion weight of the whole fit part, so that only the films of the bank
differ. The run folder holds no label of the test part.
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
from ml_engine.core.score.calibration import patient_numbers
from ml_engine.core.score.fusion import Maps
from ml_engine.core.score.model_selection import Choice
from ml_engine.core.version import FORMAT, code_version
from ml_engine.engine import manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.run_folder import RunSpec, StageProgress
from ml_engine.engine.stages import fit_detector, read_and_align
from ml_engine.engine.stages.run_context import RunContext, require_films
from ml_engine.engine.study_plans import (
    BankPlan,
    PlannedBank,
    check_reachable,
    count_injected,
    draw_films,
    draw_injected_films,
)

COLUMNS = ("global", "region", "fused")


def stages(spec: RunSpec) -> tuple[tuple[str, Any], ...]:
    """The stages of a bank study: films, features, one stage per bank, summary."""
    plan = BankPlan.from_json(spec.asked.get("bank", {}))
    check_config(spec.config)
    scoring = [(f"bank-{bank.name}", partial(_score_bank, bank)) for bank in plan.banks]
    return (
        ("films", partial(_read_films, plan)),
        ("align", read_and_align.align),
        ("mask", fit_detector.find_mask),
        ("features", _extract),
        *scoring,
        ("results", partial(_results, plan)),
    )


def check_config(config: PipelineConfig) -> None:
    """Raises InvalidConfig if the detector has no memory bank."""
    if config.detector != "patchcore":
        raise InvalidConfig(
            f"detector is {config.detector!r}: a bank study needs patchcore, since only PatchCore has a memory bank. "
            "Leave the setting out."
        )


def method(config: PipelineConfig) -> PipelineConfig:
    """The config of every bank: nothing is chosen on tune."""
    return model_selection.restrict_to(config, model_selection.candidates(config)[0]).replace(fusion_choice="config")


# stages


def _read_films(plan: BankPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    manifest.check_parts(context.rows, context.config)
    parts = [row.part for row in context.rows]
    for part in ("calibrate", "test"):
        if part not in parts:
            raise EngineError(
                f"A bank study needs films in the {part} part, and there are none: calibrate standardises the maps and "
                "sets the threshold, test is scored."
            )
    abnormals = sum(row.part == "tune" and row.label == "abnormal" for row in context.rows)
    check_reachable(plan, normals=parts.count("fit"), abnormals=abnormals)
    return read_and_align.read_films(context, progress)


def _rows(context: RunContext) -> dict[str, NDArray[np.int64]]:
    """The readable rows of the manifest by role, in the order of features.npy."""
    abnormal = [k for k in context.readable("tune").tolist() if context.rows[k].label == "abnormal"]
    return {
        "fit": context.readable("fit"),
        "abnormal": np.array(abnormal, dtype=np.int64),
        "calibrate": context.readable("calibrate"),
        "test": context.readable("test"),
    }


def _extract(context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the unmasked patch features of all films: features.npy (F * P, D) float16, film by film."""
    by_role = _rows(context)
    require_films(by_role["fit"], least=1, part="fit")
    require_films(by_role["calibrate"], least=2 if context.config.standardise else 1, part="calibrate")
    require_films(by_role["test"], least=1, part="test")
    per_film, _ = context.keep_features(np.concatenate(list(by_role.values())), progress)
    return {"patches": per_film}


def _names(context: RunContext, rows: NDArray[np.int64]) -> list[str]:
    return [_patient(context.rows[row], row) for row in rows.tolist()]


def _patient(row: ManifestRow, number: int) -> str:
    return row.patient or f"row {number}"


def _bank_films(bank: PlannedBank, context: RunContext, by_role: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The films of a bank, int64 (n,), as indices into the fit films followed by the abnormal tune films."""
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    seed = (context.config.seed, bank.repeat)
    clean = np.arange(len(fit))
    if bank.share < 1:
        clean = draw_films(_names(context, fit), max(1, round(bank.share * len(fit))), seed)
    needed = count_injected(len(clean), bank.contamination)
    if needed > len(abnormal):
        raise EngineError(
            f"The bank needs {needed} abnormal films of tune, and {len(abnormal)} could be read: see in log.txt which "
            "could not, or choose a lower contamination."
        )
    injected = draw_injected_films(_names(context, abnormal), needed, seed)
    return np.concatenate([clean, len(fit) + injected])


def _score_bank(bank: PlannedBank, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Build a bank and score calibrate and test against it: scores-NAME.npy (N, 3) and calibration-NAME.npy (n, 3),
    columns as in `COLUMNS`."""
    by_role, config = _rows(context), method(context.config)
    per_film = context.folder.summary("features")["patches"]
    features = context.fit_features()
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    films = _bank_films(bank, context, by_role)
    source = Source(memory_bank.places_of(context.mask()), torch.from_numpy(np.concatenate([fit, abnormal])))
    evaluated = len(by_role["calibrate"]) + len(by_role["test"])
    jobs = config.grid**2 + 1
    banks = memory_bank.build(
        features,
        source,
        config,
        films=torch.from_numpy(films),
        with_radius=False,
        progress=lambda done, _: progress(done, jobs + evaluated),
    )
    scorer = MapScorer(banks, context.mask(), config, context.device)
    done = jobs

    def maps(first: int, count: int) -> Iterator[Maps]:
        nonlocal done
        for at in spans(count, config.batch):
            batch = features[(first + at.start) * per_film : (first + at.stop) * per_film]
            yield scorer.film_maps(batch.view(-1, per_film, batch.shape[1]))
            done += at.stop - at.start
            progress(done, jobs + evaluated)

    first = len(fit) + len(abnormal)
    normals = np.concatenate(list(maps(first, len(by_role["calibrate"]))))
    mask = masking.HardMask(context.mask(), context.folder.summary("mask")["threshold"])
    detector = FittedDetector(
        config=config,
        mask=mask,
        model=banks,
        calibration=pipeline.calibrate(
            normals,
            source="calibrate",
            config=config,
            patients=patient_numbers(_names(context, by_role["calibrate"])),
        ),
        choice=Choice(config.fusion_weight, "config"),
        weights=context.backbone.to_json(),
        alignment_sha256=(context.spec.inputs or {}).get("alignment"),
        code_version=code_version(),
    )
    weights = (0.0, 1.0, config.fusion_weight)
    held_out = np.stack([pipeline.normal_scores(detector, weight=weight) for weight in weights], axis=1)
    scores = []
    for batch in maps(first + len(by_role["calibrate"]), len(by_role["test"])):
        of_batch = pipeline.score_maps(batch, detector, weight=config.fusion_weight)
        scores.append(np.stack([of_batch.whole, of_batch.region, of_batch.fused], axis=1))
    files.write_npy(context.path(f"calibration-{bank.name}.npy"), held_out)
    files.write_npy(context.path(f"scores-{bank.name}.npy"), np.concatenate(scores))
    return _facts(bank, context, by_role, films) | {"vectors": len(banks.whole.vectors)}


def _facts(
    bank: PlannedBank, context: RunContext, by_role: dict[str, NDArray[np.int64]], films: NDArray[np.int64]
) -> dict[str, Any]:
    fit, abnormal = by_role["fit"], by_role["abnormal"]
    clean, injected = films[films < len(fit)], films[films >= len(fit)] - len(fit)
    return {
        "name": bank.name,
        "share": bank.share,
        "contamination": bank.contamination,
        "repeat": bank.repeat,
        "seed": [context.config.seed, bank.repeat],
        "normal_films": len(clean),
        "normal_patients": len(set(_names(context, fit[clean]))),
        "abnormal_films": len(injected),
        "injected": [context.rows[row].image or context.rows[row].filename for row in abnormal[injected].tolist()],
    }


def _results(plan: BankPlan, context: RunContext, progress: StageProgress) -> dict[str, Any]:
    """Writes scores.npy (B, N, 3) and calibration.npy (B, n, 3) by bank, film and `COLUMNS`, scores.csv and
    bank_study.json."""
    folder, by_role = context.folder, _rows(context)
    test = [k for k, row in enumerate(context.rows) if row.part == "test"]
    place_of = {row: place for place, row in enumerate(test)}
    scores = np.full((len(plan.banks), len(test), len(COLUMNS)), np.nan)
    at = [place_of[row] for row in by_role["test"].tolist()]
    for k, bank in enumerate(plan.banks):
        scores[k, at] = context.read(f"scores-{bank.name}.npy")
    calibration = np.stack([context.read(f"calibration-{bank.name}.npy") for bank in plan.banks])
    files.write_npy(folder.path / "scores.npy", scores)
    files.write_npy(folder.path / "calibration.npy", calibration)
    files.write_bytes(folder.path / "scores.csv", _table(context, test, plan, scores).encode())
    config = method(context.config)
    summary = {
        "format": FORMAT,
        "code_version": code_version(),
        "weights": context.backbone.to_json(),
        "config": config.to_json(),
        "alignment_sha256": (context.spec.inputs or {}).get("alignment"),
        "asked": plan.to_json(),
        "fusion_weight": config.fusion_weight,
        "false_alarm_rate": config.false_alarm_rate,
        "columns": list(COLUMNS),
        "mask": {"share_kept": float(context.mask().mean())},
        "parts": {role: len(rows) for role, rows in by_role.items()},
        "calibration_patients": patient_numbers(_names(context, by_role["calibrate"])).tolist(),
        "flagged": folder.summary("align")["flagged"],
        "unreadable": folder.summary("films")["errors"],
        "test": [context.rows[row].image or context.rows[row].filename for row in test],
        "cells": [folder.summary(f"bank-{bank.name}") for bank in plan.banks],
    }
    files.write_json(folder.path / "bank_study.json", summary)
    return {}


def _table(context: RunContext, test: list[int], plan: BankPlan, scores: NDArray[np.float64]) -> str:
    """The CSV text: one line per test film with its fused score against each bank, blank for an unreadable film."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "filename", *(bank.name for bank in plan.banks)])
    for place, row in enumerate(test):
        values = scores[:, place, 2].tolist()
        texts = ["" if np.isnan(value) else repr(value) for value in values]
        writer.writerow([context.rows[row].image, context.rows[row].filename, *texts])
    return text.getvalue()
