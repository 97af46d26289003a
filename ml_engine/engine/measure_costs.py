"""Measures what single steps of a run cost on this machine, in a few seconds, on drawn films and features."""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ml_engine.core import determinism
from ml_engine.core.alignment.fit import fit_alignment
from ml_engine.core.alignment.model import FittedAlignment
from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.backbone import networks
from ml_engine.core.backbone import weights as backbone_weights
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank import coreset
from ml_engine.core.bank.covering_radius import covering_radius
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.bank.nearest_search import NearestSearch, scores_at
from ml_engine.core.config import PipelineConfig
from ml_engine.core.film.preprocess import prepare
from ml_engine.engine import unit_costs
from ml_engine.engine.decode_films import decode_film
from ml_engine.engine.run_folder import reset_peak_memory
from ml_engine.engine.unit_costs import AligningCosts, BackboneCosts, BankCosts, ProcessCosts, Stopwatch, UnitCosts

SIDE = 1024  # of the drawn film that is decoded
# Of the two selections that are timed. In the small one a pick is all overhead; a selection of a run is larger than
# the large one, whose distances should take most of its time.
ROWS, PICKS = (2048, 65536), (82, 656)
QUERIES, VECTORS = 512, (512, 4096)  # of the searches
LARGEST_WIDTH = 256  # dimensions of the features that are selected from and searched
LEAST_REPEATS, MOST_REPEATS, REPEAT_SECONDS = 2, 25, 0.5  # of a step that is timed
BATCH = 32  # films of a search, which takes as many batches at a time as there are threads


def of(config: PipelineConfig, *, path: Path | None = None) -> UnitCosts:
    """The costs for the settings of ``config``: those kept, or measured now and kept. Raises InvalidConfig as a run
    does."""
    if kept := unit_costs.stored(config, path):
        return kept
    determinism.fix(threads=config.threads)
    determinism.keep_freed_memory()
    process = _process(config)  # its memory, before anything is computed
    device = determinism.device_for(config.device)
    backbone = _backbone(config, device)
    aligns = config.align == "network" and config.alignment.method != "landmarks"
    costs = UnitCosts(
        process=process,
        backbone=backbone,
        bank=_bank(config, device, wide=min(backbone.dimensions, LARGEST_WIDTH)),
        aligning=_aligning(config, device) if aligns else None,
    )
    determinism.give_back_memory()
    with suppress(OSError):  # without a place to keep them they are measured again
        unit_costs.keep(config, costs, path)
    return costs


def _seconds(step: Callable[[], object]) -> float:
    """The shortest of some times: another program delays a step, and nothing speeds it up. A short step is repeated
    more often, until once no other program took a turn."""
    times: list[float] = []
    while len(times) < LEAST_REPEATS or (sum(times) < REPEAT_SECONDS and len(times) < MOST_REPEATS):
        watch = Stopwatch()
        step()
        times.append(watch.seconds)
    return min(times)


# the process and its films


def _process(config: PipelineConfig) -> ProcessCosts:
    memory, started = _resident_mib(), time.process_time()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.png"
        small, large = (_read_seconds(path, rng, side, config) for side in (128, SIDE))
    pixel = max(0.0, large - small) / ((SIDE**2 - 128**2) / 1e6)
    return ProcessCosts(start_seconds=started, memory_mib=memory, pixel_seconds=pixel, film_seconds=small)


def _read_seconds(path: Path, rng: np.random.Generator, side: int, config: PipelineConfig) -> float:
    smooth = np.add.outer(np.arange(side), np.arange(side)) * 200 / (2 * side)
    values = (smooth + rng.normal(0, 3, (side, side))).clip(0, 255).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(values).save(packed, "PNG", compress_level=1)
    path.write_bytes(packed.getvalue())
    return _seconds(lambda: prepare(decode_film(path), config))


def _resident_mib() -> float:
    return _status("VmRSS:")


def _status(name: str) -> float:
    """A line of /proc/self/status in MiB; 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.split(name)[1].split()[0]) / 2**10
    except (OSError, ValueError, IndexError):
        return 0.0


# the backbone


def _backbone(config: PipelineConfig, device: torch.device) -> BackboneCosts:
    before = _resident_mib()
    reset_peak_memory()
    state = _state(config)
    extractor = FeatureExtractor(config, state, device)
    side = config.patches
    places = places_of(np.ones((side, side), dtype=np.bool_))
    films = torch.rand(config.batch, 1, config.size, config.size, generator=torch.Generator().manual_seed(0))
    wide = extractor.patches(films, places).shape[-1]
    seconds = _seconds(lambda: extractor.patches(films, places))
    return BackboneCosts(
        film_seconds=seconds / config.batch, dimensions=int(wide), memory_mib=max(0.0, _status("VmHWM:") - before)
    )


def _state(config: PipelineConfig) -> dict[str, torch.Tensor]:
    """The backbone's weights, or random ones where they are not on this machine: a film takes as long."""
    folder = backbone_weights.default_folder()
    try:
        return backbone_weights.load_backbone(config.weights, config.backbone, seed=config.seed, folder=folder).state
    except backbone_weights.WeightsMissing:
        return networks.random_state(config.backbone, config.seed)


# selection and search


def _bank(config: PipelineConfig, device: torch.device, *, wide: int) -> BankCosts:
    features = _features(ROWS[1], wide).to(device)
    small = min(config.coreset_dimensions, wide - 1)
    exact_row, exact_pick, exact_product = _selection(features, wide, small, is_projected=False)
    projected_row, projected_pick, projected_product = _selection(features, wide, small, is_projected=True)
    radius_sizes = [(features.numel(), features.numel() * picks) for picks in PICKS]
    radius_row, radius_product = _two_unknowns(radius_sizes, [_radius(features, picks) for picks in PICKS])
    call, row, product = _search(features[: max(VECTORS) + QUERIES], config)
    return BankCosts(
        exact_row=exact_row,
        exact_pick=exact_pick,
        exact_product=exact_product,
        projected_row=projected_row / small,  # a row of D dimensions is multiplied for each of d
        projected_pick=projected_pick,
        projected_product=projected_product,
        radius_row=radius_row,
        radius_product=radius_product,
        search_call=call,
        search_row=row,
        search_product=product,
    )


def _features(rows: int, wide: int) -> torch.Tensor:
    """Features with fewer degrees of freedom than dimensions, as a network's are."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, 24, generator=generator) @ torch.randn(24, wide, generator=generator)
    return (hidden + 0.3 * torch.randn(rows, wide, generator=generator)).relu()


def _selection(features: torch.Tensor, wide: int, small: int, *, is_projected: bool) -> tuple[float, float, float]:
    """Seconds of a row's dimension, of a pick, and of a row's dimension and pick."""
    limit, compared = (0.0, small) if is_projected else (math.inf, wide)
    preparing, picking = [], []
    for rows, picks in _sizes():

        def prepare_rows(rows: int = rows, picks: int = picks) -> torch.Tensor:
            return coreset.selection_grid(features[:rows], picks, seed=0, dimensions=small, exact_limit=limit)

        grid = prepare_rows()
        preparing.append(_seconds(prepare_rows) / (rows * wide))
        picking.append(_seconds(partial(coreset.greedy, grid, picks)))
    pick, product = _two_unknowns([(picks, rows * picks * compared) for rows, picks in _sizes()], picking)
    return preparing[-1], pick, product


def _radius(features: torch.Tensor, picks: int) -> float:
    return _seconds(lambda: covering_radius(features, torch.arange(picks)))


def _sizes() -> list[tuple[int, int]]:
    return list(zip(ROWS, PICKS, strict=True))


def _two_unknowns(sizes: Sequence[tuple[float, float]], seconds: Sequence[float]) -> tuple[float, float]:
    """a and b of seconds = a x + b y, from a small and a large step of sizes (x, y); neither below 0."""
    (x, y), (wide_x, wide_y) = sizes
    second = max(0.0, (seconds[1] * x - seconds[0] * wide_x) / (wide_y * x - y * wide_x))
    return max(0.0, (seconds[1] - second * wide_y) / wide_x), second


def _search(features: torch.Tensor, config: PipelineConfig) -> tuple[float, float, float]:
    """Seconds of a call, of a patch's dimension, and of a patch's dimension and bank vector."""
    wide = features.shape[1]

    def seconds(queries: int, vectors: int) -> float:
        search = NearestSearch(features[:vectors], search=config.search)
        asked = features[-queries:]
        return _seconds(lambda: scores_at(asked, search, neighbours=(config.neighbours,), distance="l2"))

    few, many, call = seconds(QUERIES, VECTORS[0]), seconds(QUERIES, VECTORS[1]), seconds(8, VECTORS[0])
    product = max(0.0, (many - few) / (QUERIES * wide * (VECTORS[1] - VECTORS[0])))
    row = max(0.0, few - call) / (QUERIES * wide)
    return call, row, product


# the alignment


def _aligning(config: PipelineConfig, device: torch.device) -> AligningCosts:
    settings = config.alignment
    changes: dict[str, Any] = {"perceptual": 0.0} if settings.uses_network and not _has_vgg() else {}
    settings = replace(settings, canonical="groupwise", canonical_fit="affine", guard_valid_area=0.0, **changes)
    once, model = _timed_fit(replace(settings, epochs=1, rounds=1), device)
    twice, _ = _timed_fit(replace(settings, epochs=2, rounds=2), device)
    films = _pictures(settings)
    placing = _seconds(lambda: model.affines(films, films >= 0)) / len(films)
    a_round = max(0.0, twice - once) / len(films)
    rest = max(0.0, once / len(films) - a_round)
    return AligningCosts(place_seconds=placing, round_seconds=a_round, rest_seconds=rest)


def _timed_fit(settings: AlignmentConfig, device: torch.device) -> tuple[float, FittedAlignment]:
    films = _pictures(settings)
    watch = Stopwatch()
    model = fit_alignment(
        films,
        valid=films >= 0,
        config=settings,
        seed=0,
        checkpoint=None,
        progress=lambda *_: None,
        device=device.type,
        vgg_weights=_vgg() if _has_vgg() else None,
    )
    return watch.seconds, model


def _pictures(settings: AlignmentConfig) -> torch.Tensor:
    """Smooth films (N, 1, S, S) that differ a little in place; a batch for each thread that takes one."""
    side = torch.linspace(-1, 1, settings.size)
    y, x = torch.meshgrid(side, side, indexing="ij")
    count = BATCH if settings.uses_network else BATCH * torch.get_num_threads()
    shifts = torch.linspace(-0.1, 0.1, count)[:, None, None]
    bright = torch.exp(-(((x + shifts) / 0.5) ** 2) - ((y - shifts) / 0.7) ** 2)
    return (bright * (1 + 0.3 * torch.sin(9 * (x + shifts)))).clamp(0, 1)[:, None]


def _vgg() -> Path:
    return backbone_weights.default_folder() / backbone_weights.KNOWN["vgg19"].stored_name


def _has_vgg() -> bool:
    return _vgg().exists()
