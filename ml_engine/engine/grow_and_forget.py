"""Banks that grow and forget: a detector with more normals, or without a patient.

With the features kept (``fit --keep-features``) the result is a fresh fit on the films that are left, byte for byte,
and only new films are read. Without them there is an approximation, on request only, that says so wherever the
detector is shown: `approximating`.
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
from ml_engine.engine.run_folder import INPUTS, RunSpec, lay
from ml_engine.engine.stages.run_context import store_key
from ml_engine.engine.stages.runner import run_folder

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Model:
    """A finished detector fit: its folder, what it was asked for and its films, in the manifest's order."""

    path: Path
    request: RunSpec
    rows: list[ManifestRow]

    @property
    def features(self) -> Path:
        return self.path / feature_store.FOLDER


def open_model(path: Path) -> Model:
    """Raises EngineError for a folder that holds no finished detector fit, or one that was aligned by landmarks."""
    if not (path / "detector.safetensors").is_file() or not (path / "run.json").is_file():
        raise EngineError(f"{path} holds no finished detector fit: give the folder that fit made with --model.")
    request = RunSpec.from_json(files.read_json(path / "run.json"))
    if "landmarks" in (request.inputs or {}):
        raise EngineError(f"{path} was aligned by landmarks, which come with each film: fit anew with --landmarks.")
    return Model(path, request, manifest.read(path / "images.csv"))


def grow(
    model: Model,
    new: list[ManifestRow],
    *,
    images: Path,
    out: Path,
    approximate: bool = False,
    listener: Listener | None = None,
) -> Outcome:
    """The detector of ``model`` with the normals ``new`` (with their hashes) in its fit part, in a new folder.

    A film that the model has already is left out. Raises EngineError for a patient of another part, for a name that
    means another film in the model, for nothing new, and where no features were kept and ``approximate`` is not asked.
    """
    known = {row.sha256 for row in model.rows if row.sha256}
    added = [replace(row, part="fit", label="normal") for row in new if row.sha256 not in known]
    _check_new(model, added)
    changed = replace(model, rows=[*model.rows, *added])
    if approximate:
        _refuse_exact(out)
        detector = approximate_banks.grown(model.path, added, images=images)
        _lay(changed, out)
        return approximate_banks.write(detector, model.path, out)
    _require_features(model)
    _lay(changed, out)
    feature_store.link(model.features, out / feature_store.FOLDER)
    return run_folder(out, images=images, listener=listener)


def forget(
    model: Model, patient: str, *, out: Path, approximate: bool = False, listener: Listener | None = None
) -> Outcome:
    """The detector of ``model`` without the films of ``patient``, in a new folder.

    The alignment stays as it was fitted, with the patient's films among the others where they were in its part.
    Raises EngineError for a patient that the model does not have, and where no features were kept and
    ``approximate`` is not asked.
    """
    gone = [row for row in model.rows if row.patient == patient]
    if not gone:
        raise EngineError(
            f"No film of the model is of the patient {patient!r}: name one as the column patient of "
            f"{model.path / 'images.csv'} has it."
        )
    left = [row for row in model.rows if row.patient != patient]
    if not any(row.part == "fit" for row in left):
        raise EngineError(f"Without the patient {patient!r} no film is left to fit on: delete the model instead.")
    changed = replace(model, rows=left)
    if approximate:
        _refuse_exact(out)
        kept = [row.patient != patient for row in model.rows]
        detector = approximate_banks.without(model.path, kept=kept)
        _lay(changed, out)
        return approximate_banks.write(detector, model.path, out, kept=kept)
    _require_features(model)
    _lay(changed, out)
    hashes = {row.sha256 for row in gone} - {row.sha256 for row in left}  # one file may be two patients'
    feature_store.link(model.features, out / feature_store.FOLDER, without=frozenset(hashes))
    return run_folder(out, images=model.path, listener=listener)


def _check_new(model: Model, added: list[ManifestRow]) -> None:
    if not added:
        raise EngineError("The CSV holds no normal film that the model does not have already: nothing was added.")
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
                f"The model has another film called {row.filename}: give the new one another name, so that each bank "
                "vector can name its film."
            )
        if not row.sha256:
            raise EngineError(f"{row.filename} is not in the folder of the films: check --images.")


def _require_features(model: Model) -> None:
    """Raises EngineError unless the new run will find the features of every film: those of the same key."""
    config = model.request.config
    device = determinism.device_for(config.device)
    named = model.request.weights or {}
    if not named.get("sha256"):
        named = weights.named(config.weights, config.backbone, folder=weights.default_folder())
    store = feature_store.folder_of(model.features, store_key(model.request, config, weights=named, device=device))
    unreadable = {int(row) for row in DetectorReport.read(model.path).unreadable}
    wanted = {row.sha256 for k, row in enumerate(model.rows) if k not in unreadable}
    kept = {path.stem for path in store.glob("*.safetensors")}
    if wanted - kept:
        raise EngineError(
            f"{model.path} keeps the features of {len(wanted & kept)} of its {len(wanted)} films for this version and "
            f"device ({device.type}), and a fit that equals a fresh one needs all: fit anew on all films (with "
            "--keep-features the next change is quick), or ask for --approximate."
        )


def _refuse_exact(out: Path) -> None:
    if (out / "stages").exists():
        raise EngineError(
            f"{out} already holds the exact detector of a run: choose another --out for an approximate one, or leave "
            "--approximate out."
        )


def _lay(model: Model, out: Path) -> None:
    """The run folder ``out`` of the changed model: the same request on other films."""
    if (out / "run.json").exists():
        there = files.read_json(out / "run.json")
        if there == model.request.to_json() and manifest.read(out / "images.csv") == model.rows:
            return  # an earlier attempt: go on
        raise EngineError(f"{out} already holds another run: choose another --out, or delete it.")
    for path in model.path.glob("alignment.safetensors"):
        files.link_or_copy(path, out / path.name)
    inputs = {name: model.path / INPUTS[name] for name in model.request.inputs or {}}
    lay(out, model.request.to_json(), model.rows, inputs={k: path for k, path in inputs.items() if path.is_file()})
