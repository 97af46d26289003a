"""What single steps of a run cost on this machine: measured in seconds, kept in the data folder. Does not import torch.

`ml_engine.engine.measure_costs` measures them, `ml_engine.engine.forecast` multiplies them by the size of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_engine.core import files
from ml_engine.core.backbone import weights
from ml_engine.core.config import PipelineConfig
from ml_engine.core.version import code_version

FORMAT = 2
NAME = "unit-costs.json"
BACKBONE = ("backbone", "layers", "size", "pool", "pool_padding", "batch", "threads", "device")
BANK = ("threads", "device", "search")
ALIGNING = ("threads", "device")


@dataclass(frozen=True)
class BackboneCosts:
    """Of one backbone: seconds a film, the number of feature dimensions, and MiB beside the process itself."""

    film_seconds: float
    dimensions: int
    memory_mib: float


@dataclass(frozen=True)
class BankCosts:
    """Seconds of the parts of selection and search, for N rows of D dimensions, K picks, Q patches, M bank vectors.

    Selecting takes ``exact_row`` N D + ``exact_pick`` K + ``exact_product`` N K D in full dimension, and with d
    projected dimensions ``projected_row`` N D d + ``projected_pick`` K + ``projected_product`` N K d; the covering
    radius ``radius_row`` N D + ``radius_product`` N K D; a search ``search_call`` + ``search_row`` Q D +
    ``search_product`` Q M D.
    """

    exact_row: float
    exact_pick: float
    exact_product: float
    projected_row: float
    projected_pick: float
    projected_product: float
    radius_row: float
    radius_product: float
    search_call: float
    search_row: float
    search_product: float


@dataclass(frozen=True)
class AligningCosts:
    """Seconds a film to place it by a fitted alignment, for each round or epoch of a fit, and for the rest of it."""

    place_seconds: float
    round_seconds: float
    rest_seconds: float


@dataclass(frozen=True)
class ProcessCosts:
    """Seconds until a run's first stage begins, MiB of the process before it, seconds to decode and prepare a million
    pixels and, for a film, those that do not depend on its pixels."""

    start_seconds: float
    memory_mib: float
    pixel_seconds: float
    film_seconds: float


@dataclass(frozen=True)
class UnitCosts:
    process: ProcessCosts
    backbone: BackboneCosts
    bank: BankCosts
    aligning: AligningCosts | None  # None for films that are not aligned


class Stopwatch:
    """Seconds of work since it was made. A step that waits for the processor, since other programs use it, takes longer
    than it works: its CPU time is then the better measure. Several threads work less time than their CPU time adds up
    to."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return min(time.perf_counter() - self.wall, time.process_time() - self.cpu)


def default_path() -> Path:
    """The file in the data folder."""
    return weights.default_folder().parent / NAME


def machine() -> dict[str, str]:
    """The fingerprint of processor, memory and code: costs that were measured under another are not used."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory_gib": f"{total_memory_gib():.0f}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "hilum": code_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def total_memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def stored(config: PipelineConfig, path: Path | None = None) -> UnitCosts | None:
    """The costs that were measured on this machine for the settings of ``config``; None where any is missing."""
    tables = _read(path or default_path())
    names = key(config, BACKBONE), key(config, BANK), key(config, ALIGNING, alignment=True)
    aligns = config.align == "network" and config.alignment.method != "landmarks"
    try:
        return UnitCosts(
            process=ProcessCosts(**tables["process"][key(config, ALIGNING)]),
            backbone=BackboneCosts(**tables["backbone"][names[0]]),
            bank=BankCosts(**tables["bank"][names[1]]),
            aligning=AligningCosts(**tables["aligning"][names[2]]) if aligns else None,
        )
    except (KeyError, TypeError):
        return None


def keep(config: PipelineConfig, costs: UnitCosts, path: Path | None = None) -> None:
    """Add costs to the file. Those of another machine are removed."""
    path = path or default_path()
    tables = _read(path)
    tables["process"][key(config, ALIGNING)] = asdict(costs.process)
    tables["backbone"][key(config, BACKBONE)] = asdict(costs.backbone)
    tables["bank"][key(config, BANK)] = asdict(costs.bank)
    if costs.aligning:
        tables["aligning"][key(config, ALIGNING, alignment=True)] = asdict(costs.aligning)
    files.write_json(path, {"format": FORMAT, "machine": machine(), **tables})


def key(config: PipelineConfig, names: tuple[str, ...], *, alignment: bool = False) -> str:
    """A key of the settings ``names``, with those of the alignment that change what a step of it costs."""
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    if alignment:
        free = ("epochs", "rounds", "seed", "learning_rate", "canonical_images", "least_valid_area", "alpha")
        settings |= {name: value for name, value in config.alignment.to_json().items() if name not in free}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of the file; empty where there is none, it is damaged, or it is of another machine or version."""
    empty: dict[str, dict[str, Any]] = {field.name: {} for field in fields(UnitCosts)}
    try:
        content = files.read_json(path)
    except (OSError, ValueError):
        return empty
    if not isinstance(content, Mapping) or content.get("format") != FORMAT or content.get("machine") != machine():
        return empty
    return {name: dict(content[name]) if isinstance(content.get(name), Mapping) else {} for name in empty}
