"""Banks that grow and forget: a detector with more normal films, or without a patient.

If the model kept its features (``fit --keep-features``), the result equals a fresh fit on the remaining films byte for
byte, and only new films are decoded. Otherwise an approximation is made, on request only; the detector's note states it
wherever the detector is shown (`approximate_banks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_engine.core import determinism, files
from ml_engine.core.backbone import feature_store, weights
from ml_engine.core.errors import EngineError
from ml_engine.engine import approximate_banks, manifest
from ml_engine.engine.manifest import ManifestRow
from ml_engine.engine.outcome import Outcome
from ml_engine.engine.reports import DetectorReport
from ml_engine.engine.run_folder import INPUTS, RunSpec, write_run_folder
from ml_engine.engine.stages.run_context import store_key
from ml_engine.engine.stages.runner import run_folder

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Model:
    """A finished detector fit: its folder, its specification and its films, in the manifest's order."""

    path: Path
    spec: RunSpec
    rows: list[ManifestRow]

    @property
    def features(self) -> Path:
        return self.path / feature_store.FOLDER


def open_model(path: Path) -> Model:
    """Raises EngineError if the folder holds no finished detector fit, or one that was aligned by landmarks."""
    if not (path / "detector.safetensors").is_file() or not (path / "run.json").is_file():
        raise EngineError(f"{path} holds no finished detector fit: name the folder that fit wrote with --model.")
    spec = RunSpec.from_json(files.read_json(path / "run.json"))
    if "landmarks" in (spec.inputs or {}):
        raise EngineError(f"{path} was aligned by landmarks, which come with each film: fit again with --landmarks.")
    if "hand_affines" in (spec.inputs or {}):
        raise EngineError(f"{path} holds films that were aligned by hand on the portal: fit it again there.")
    return Model(path, spec, manifest.read(path / "images.csv"))


def grow(
    model: Model,
    new: list[ManifestRow],
    *,
    images: Path,
    out: Path,
    approximate: bool = False,
    listener: Listener | None = None,
) -> Outcome:
    """Fit the detector of ``model`` again with the normal films ``new`` (with their hashes) in its fit part, into the
    new folder ``out``.

    A film that the model has already is left out. Raises EngineError if a patient is in another part, if another film
    of the model has the same name, if no film is new, and if no features were kept and ``approximate`` is false.
    """
    known = {row.sha256 for row in model.rows if row.sha256}
    added = [replace(row, part="fit", label="normal") for row in new if row.sha256 not in known]
    _check_new(model, added)
    changed = replace(model, rows=[*model.rows, *added])
    if approximate:
        _refuse_exact(out)
        detector = approximate_banks.with_films(model.path, added, images=images)
        _write_folder(changed, out)
        return approximate_banks.write(detector, model.path, out)
    _require_features(model)
    _write_folder(changed, out)
    feature_store.link(model.features, out / feature_store.FOLDER)
    return run_folder(out, images=images, listener=listener)


def forget(
    model: Model, patient: str, *, out: Path, approximate: bool = False, listener: Listener | None = None
) -> Outcome:
    """Fit the detector of ``model`` again without the films of ``patient``, into the new folder ``out``.

    The alignment is unchanged; it may have been fitted with the patient's films. Raises EngineError for a patient that
    the model does not have, and if no features were kept and ``approximate`` is false.
    """
    forgotten = [row for row in model.rows if row.patient == patient]
    if not forgotten:
        raise EngineError(
            f"No film of the model is of the patient {patient!r}: write the ID as in the column patient of "
            f"{model.path / 'images.csv'}."
        )
    remaining = [row for row in model.rows if row.patient != patient]
    if not any(row.part == "fit" for row in remaining):
        raise EngineError(f"Without the patient {patient!r} no film is left to fit on: delete the model instead.")
    changed = replace(model, rows=remaining)
    if approximate:
        _refuse_exact(out)
        kept = [row.patient != patient for row in model.rows]
        detector = approximate_banks.without_rows(model.path, kept=kept)
        _write_folder(changed, out)
        return approximate_banks.write(detector, model.path, out, kept=kept)
    _require_features(model)
    _write_folder(changed, out)
    hashes = {row.sha256 for row in forgotten} - {row.sha256 for row in remaining}  # two patients may share a file
    feature_store.link(model.features, out / feature_store.FOLDER, without=frozenset(hashes))
    return run_folder(out, images=model.path, listener=listener)


def _check_new(model: Model, added: list[ManifestRow]) -> None:
    if not added:
        raise EngineError(
            "The model already has every normal film of the CSV, so nothing was added: list new films in the CSV."
        )
    part_of = {row.patient: row.part for row in model.rows if row.patient}
    names = {row.filename for row in model.rows}
    for row in added:
        if part_of.get(row.patient, "fit") != "fit":
            raise EngineError(
                f"{row.filename} is of a patient in the {part_of[row.patient]} part of the model: a patient's films "
                "stay in one part. Leave it out."
            )
        if row.filename in names:
            raise EngineError(
                f"The model has another film called {row.filename}: rename the new one, so that each bank "
                "vector can name its film."
            )
        if not row.sha256:
            raise EngineError(f"{row.filename} is not in the folder of the films: check --images.")


def _require_features(model: Model) -> None:
    """Raises EngineError unless the features of every readable film are stored under the key of the new run."""
    config = model.spec.config
    device = determinism.device_for(config.device)
    identity = model.spec.weights or {}
    if not identity.get("sha256"):
        identity = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    store = feature_store.folder_of(model.features, store_key(model.spec, config, weights=identity, device=device))
    unreadable = {int(row) for row in DetectorReport.read(model.path).unreadable}
    needed = {row.sha256 for k, row in enumerate(model.rows) if k not in unreadable}
    stored = {path.stem for path in store.glob("*.safetensors")}
    if needed - stored:
        raise EngineError(
            f"{model.path} keeps the features of {len(needed & stored)} of its {len(needed)} films for this version "
            f"and device ({device.type}), and a fit that equals a fresh one needs all: fit again on all films (with "
            "--keep-features the next change is quick), or add --approximate."
        )


def _refuse_exact(out: Path) -> None:
    if (out / "stages").exists():
        raise EngineError(
            f"{out} already holds the exact detector of a run: choose another --out for an approximate one, or leave "
            "--approximate out."
        )


def _write_folder(model: Model, out: Path) -> None:
    """Write the run folder ``out`` of the changed model: the same specification on other films."""
    if (out / "run.json").exists():
        existing = files.read_json(out / "run.json")
        if existing == model.spec.to_json() and manifest.read(out / "images.csv") == model.rows:
            return  # an earlier attempt: continue it
        raise EngineError(f"{out} already holds another run: choose another --out, or delete it.")
    for path in model.path.glob("alignment.safetensors"):
        files.link_or_copy(path, out / path.name)
    paths = {name: model.path / INPUTS[name] for name in model.spec.inputs or {}}
    inputs = {name: path for name, path in paths.items() if path.is_file()}
    write_run_folder(out, model.spec.to_json(), model.rows, inputs=inputs)
