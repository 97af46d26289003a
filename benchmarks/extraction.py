"""Time the extraction of patch features against its peer: `python -m benchmarks.extraction`.

The peer is anomalib 2.7, in the environment of `make bench`: timm's network as it is (NCHW, batch normalisation not
folded), average pooling, up-sampling, concatenation. Both have the same random weights and the
same films, in one process, taking turns; CPU seconds of one thread per film, medians. The last columns are the largest
relative difference of a feature from the peer's, by the largest feature, and the peak memory of a process that does
nothing else. The table of docs/performance.md is what this prints.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.anomalib_peer import BACKBONE, SIZE, Extraction
from ml_engine.core import determinism
from ml_engine.core.backbone.features import FeatureExtractor, random_state
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.run_folder import peak_memory_mib

BATCHES = (1, 8, 32)
TURNS = 3
Work = Callable[[Tensor], Tensor]


def films(count: int) -> Tensor:
    """float32 (count, 1, SIZE, SIZE) in [0, 1]"""
    return torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def state() -> dict[str, Tensor]:
    """Untrained weights with statistics of normalisation that keep the maps in range."""
    weights = random_state(BACKBONE, 0)
    for name, value in weights.items():
        if name.endswith("bn3.weight"):
            value.fill_(0.2)
    return weights


def ours(precision: str, batch: int) -> Work:
    config = PipelineConfig.from_preset("paper").replace(precision=precision, batch=batch, weights="random")
    extractor = FeatureExtractor(config, state(), torch.device("cpu"))
    return lambda images: extractor.grids(images).flatten(2).transpose(1, 2).contiguous()  # not rounded for keeping


def seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def rows(batch: int) -> list[str]:
    images = films(batch)
    works = {"float32": ours("float32", batch), "bfloat16": ours("bfloat16", batch), "peer": Extraction(state())}
    results = {name: work(images) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            times[name].append(seconds(lambda work=work: work(images)) / batch)  # type: ignore[misc]
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    lines = []
    for name in works:
        apart = float((results[name] - results["peer"]).abs().max() / results["peer"].abs().max())
        cells = [
            f"{middle[name] * 1000:.0f}",
            f"{middle['peer'] / middle[name]:.2f}",
            f"{apart:.1e}",
            peak(name, batch),
        ]
        lines.append("| " + " | ".join([str(batch), name, *cells]) + " |")
    return lines


def peak(name: str, batch: int) -> str:
    """The peak memory in MiB of a process of its own that extracts three batches."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--alone", name, "--batch", str(batch)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def alone(name: str, batch: int) -> None:
    if name != "peer":
        determinism.keep_freed_memory()  # as the engine does
    work = Extraction(state()) if name == "peer" else ours(name, batch)
    for _ in range(3):
        work(films(batch))
    print(round(peak_memory_mib()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--alone", choices=("float32", "bfloat16", "peer"))
    parser.add_argument("--batch", type=int)
    parser.add_argument(
        "--peers-memory", action="store_true", help="freed memory goes back to the kernel, as by default"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.alone:
        alone(options.alone, options.batch)
        return
    if not options.peers_memory:
        determinism.keep_freed_memory()
    print("| batch | | CPU ms/film | × peer | difference | peak (MiB) |\n|---|---|---|---|---|---|")
    for batch in [options.batch] if options.batch else BATCHES:
        print("\n".join(rows(batch)), flush=True)


if __name__ == "__main__":
    main()
