"""What the commands do before a run: fetch weights, lay the run folder, fit the alignment that another run needs."""

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
from ml_engine.engine.run_folder import RunSpec
from ml_engine.engine.run_kinds import KINDS, RunKind
from ml_engine.engine.stages.runner import run_folder


def provide_weights(name: str, architecture: str, console: Console) -> str:
    def progress(done: int, total: int) -> None:
        console.line(f"downloading the weights of {architecture}: {done >> 20} of {total >> 20} MiB")

    return weight_import.ensure(name, architecture, folder=weights.default_folder(), progress=progress)


def provide_perceptual_weights(config: PipelineConfig, console: Console) -> None:
    """VGG's weights, where the alignment's network has a perceptual loss."""
    if config.weights != weights.RANDOM and config.alignment.uses_network and config.alignment.perceptual > 0:
        provide_weights(weights.IMAGENET, "vgg19", console)


def open_detector(model: Path) -> FittedDetector:
    """The detector of a model folder. Raises EngineError where there is none."""
    if not (model / "detector.safetensors").is_file():
        raise EngineError(f"{model} holds no detector.safetensors: give the folder that fit made with --model.")
    return load_detector(model / "detector.safetensors")


def model_inputs(model: Path, config: PipelineConfig) -> dict[str, str]:
    """The SHA-256 of the model's files that a run needs, by name. Raises EngineError where one is missing."""
    hashes = {}
    for name in ("detector", "alignment") if config.align == "network" else ("detector",):
        source = model / f"{name}.safetensors"
        if not source.is_file():
            raise EngineError(f"{model} holds no {name}.safetensors, which its detector needs: fit it again.")
        hashes[name] = files.sha256_of(source)
    return hashes


def link_model(model: Path, names: list[str], out: Path) -> None:
    """Put a model's files among the inputs of the run in ``out``."""
    for name in names:
        files.link_or_copy(model / f"{name}.safetensors", out / "inputs" / f"{name}.safetensors")


def fit_alignment_first(
    out: Path,
    config: PipelineConfig,
    rows: list[manifest.ManifestRow],
    *,
    images: Path,
    console: Console,
    extra: dict[str, bytes],
) -> Outcome:
    """Fit the alignment that the run in ``out`` uses, in OUT/alignment-run, and put it among that run's inputs;
    ``extra`` are further inputs, by name."""
    provide_perceptual_weights(config, console)
    aligning = manifest.alignment_rows(rows)
    request = RunSpec(kind="fit_alignment", config=config, name="alignment", inputs=alignment_inputs.hashes(extra))
    lay(out / "alignment-run", request, aligning)
    alignment_inputs.write(out / "alignment-run", extra)
    outcome = run_folder(out / "alignment-run", images=images, listener=console.event)
    if outcome.has_results:
        made = out / "alignment-run" / "alignment.safetensors"
        files.link_or_copy(made, out / "alignment.safetensors")
        files.link_or_copy(made, out / "inputs" / "alignment.safetensors")
    return outcome


def lay(path: Path, request: RunSpec, rows: list[manifest.ManifestRow]) -> None:
    """Write a run folder, or go on with the one that is there. Raises EngineError where that one is another run's."""
    wanted = request.to_json()
    if (path / "run.json").exists():
        there = _what_is_there(path)
        if there != wanted or manifest.read(path / "images.csv") != _as_stored(rows, request.kind):
            raise EngineError(f"{path} already holds {_difference(there, wanted)}. Choose another --out, or delete it.")
        return
    run_folders.lay(path, wanted, rows)


def _what_is_there(path: Path) -> dict[str, Any]:
    try:
        there = files.read_json(path / "run.json")
    except ValueError:
        there = None
    if not isinstance(there, dict):
        raise EngineError(f"{path} holds a run.json that cannot be read. Choose another --out, or delete it.")
    return there


def _as_stored(rows: list[manifest.ManifestRow], kind: str) -> list[manifest.ManifestRow]:
    return rows if KINDS[RunKind(kind)].has_labels else [replace(row, label="") for row in rows]


def _difference(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What distinguishes a run that is there from the one asked for, in words."""
    before, after = there.get("config", {}), wanted["config"]
    for name, value in after.items():
        if before.get(name) != value and name != "alignment":
            return f"a run with {name} = {before.get(name)}, and {value} was asked for"
    for name in ("kind", "code_version", "inputs", "weights", "config", "figures", "axes"):
        if there.get(name) != wanted.get(name):
            return f"a run with another {name.replace('_', ' ')}"
    return "a run of other films"
