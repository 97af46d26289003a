"""What the commands do before a run: provide weights, write the run folder, fit the alignment that a run needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_engine.command import alignment_inputs
from ml_engine.command.console import Console
from ml_engine.core import files
from ml_engine.core.backbone import weight_import, weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.detector.pipeline import FittedDetector, load_detector
from ml_engine.core.errors import EngineError
from ml_engine.engine import manifest
from ml_engine.engine import run_folder as run_folders
from ml_engine.engine.outcome import Outcome
from ml_engine.engine.prepared_films import PreparedFilms
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.run_kinds import ASKED, KINDS, RunKind
from ml_engine.engine.stages import needed_weights
from ml_engine.engine.stages.runner import run_folder


def provide_weights(name: str, architecture: str, console: Console) -> str:
    """Download or import weights if necessary, and return their name."""

    def progress(done: int, total: int) -> None:
        console.line(f"downloading the weights of {architecture}: {done >> 20} of {total >> 20} MiB")

    return weight_import.ensure(name, architecture, folder=weights.default_folder(), progress=progress)


def provide_backbone(config: PipelineConfig, console: Console, *, fits_alignment: bool) -> PipelineConfig:
    """The config with the name of its weights, after all weights that a fit needs have been provided."""
    if fits_alignment:
        provide_perceptual_weights(config, console)
    return config.replace(weights=provide_weights(config.weights, config.backbone, console))


def provide_perceptual_weights(config: PipelineConfig, console: Console) -> None:
    """Download VGG's weights if the alignment's network has a perceptual loss. For a trial with random weights nothing
    is downloaded: WeightsMissing is raised."""
    for name, architecture in needed_weights.of_alignment(config):
        if config.weights == weights.RANDOM:
            weights.require(name, architecture, folder=weights.default_folder())
        provide_weights(name, architecture, console)


def has_head(model: Path) -> bool:
    """Whether ``model`` is a folder that fit_head wrote."""
    return (model / "head.safetensors").is_file()


def detector_folder(model: Path) -> Path:
    """The folder of a model's detector: the model itself, or the inputs of a folder that fit_head wrote."""
    return model / "inputs" if has_head(model) else model


def open_detector(model: Path) -> FittedDetector:
    """The detector of a model folder. Raises EngineError if there is none."""
    path = detector_folder(model) / "detector.safetensors"
    if not path.is_file():
        raise EngineError(f"{model} holds no detector.safetensors: name the folder that fit wrote with --model.")
    return load_detector(path)


def model_inputs(model: Path, config: PipelineConfig) -> dict[str, str]:
    """The SHA-256 of the model files that a run needs, by name. Raises EngineError if one is missing."""
    hashes = {}
    for name in ("detector", "alignment") if config.align == "network" else ("detector",):
        source = detector_folder(model) / f"{name}.safetensors"
        if not source.is_file():
            raise EngineError(f"{model} holds no {name}.safetensors, which its detector needs: fit it again.")
        hashes[name] = files.sha256_of(source)
    return hashes


def link_model(model: Path, names: list[str], out: Path) -> None:
    """Link or copy a model's files into the inputs of the run in ``out``."""
    for name in names:
        folder = model if name == "head" else detector_folder(model)
        files.link_or_copy(folder / f"{name}.safetensors", out / "inputs" / f"{name}.safetensors")


def films_for_next(rows: list[manifest.ManifestRow]) -> PreparedFilms:
    """Where the fit of the alignment keeps the films that it prepares; without room where it has films of its own."""
    is_shared = manifest.alignment_part(row.part for row in rows) != "align"
    return PreparedFilms() if is_shared else PreparedFilms(most_bytes=0)


def fit_alignment_first(
    out: Path,
    config: PipelineConfig,
    rows: list[manifest.ManifestRow],
    *,
    images: Path,
    console: Console,
    extra: dict[str, bytes],
    films: PreparedFilms,
) -> Outcome:
    """Fit the alignment for the run in ``out`` in OUT/alignment-run, and link it into that run's inputs. ``extra`` are
    further input files of the alignment fit: contents by name. The films that it prepares are kept in ``films``."""
    aligning = manifest.alignment_rows(rows)
    spec = RunSpec(kind="fit_alignment", config=config, name="alignment", inputs=alignment_inputs.hashes(extra))
    prepare_folder(out / "alignment-run", spec, aligning)
    alignment_inputs.write(out / "alignment-run", extra)
    outcome = run_folder(out / "alignment-run", images=images, listener=console.event, films=films)
    if outcome.has_results:
        alignment = out / "alignment-run" / "alignment.safetensors"
        files.link_or_copy(alignment, out / "alignment.safetensors")
        files.link_or_copy(alignment, out / "inputs" / "alignment.safetensors")
    return outcome


def prepare_folder(path: Path, spec: RunSpec, rows: list[manifest.ManifestRow]) -> None:
    """Write a run folder, or keep an existing one of the same run, which goes on with the ``memory_gib`` that is
    requested now. Raises EngineError if it is of another run."""
    requested = spec.to_json()
    if (path / "run.json").exists():
        existing = _read_existing(path)
        before, now = _without_budget(existing), _without_budget(requested)
        if before != now or manifest.read(path / "images.csv") != _as_stored(rows, spec.kind):
            raise EngineError(f"{path} already holds {_difference(before, now)}. Choose another --out, or delete it.")
        if existing != requested:
            files.write_json(path / "run.json", requested)
        return
    run_folders.write_run_folder(path, requested, rows)


def _without_budget(run: dict[str, Any]) -> dict[str, Any]:
    """A run without ``memory_gib``, which changes no result: a run that it stopped goes on with another."""
    config = run.get("config")
    return run | {"config": config | {"memory_gib": None}} if isinstance(config, dict) else run


def _read_existing(path: Path) -> dict[str, Any]:
    try:
        existing = files.read_json(path / "run.json")
    except ValueError:
        existing = None
    if not isinstance(existing, dict):
        raise EngineError(f"{path} holds a run.json that cannot be read. Choose another --out, or delete it.")
    return existing


def _as_stored(rows: list[manifest.ManifestRow], kind: str) -> list[manifest.ManifestRow]:
    return rows if KINDS[RunKind(kind)].has_labels else [replace(row, label="") for row in rows]


def _difference(existing: dict[str, Any], requested: dict[str, Any]) -> str:
    """How an existing run differs from the requested one, in words."""
    before, after = existing.get("config", {}), requested["config"]
    for name, value in after.items():
        if before.get(name) != value and name != "alignment":
            return f"a run with {name} = {before.get(name)}, and {value} was requested"
    for name in ("kind", "code_version", "inputs", "weights", "config", "figures", "axes", *ASKED):
        if existing.get(name) != requested.get(name):
            return f"a run with another {name.replace('_', ' ')}"
    return "a run of other films"
