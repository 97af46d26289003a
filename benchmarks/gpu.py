"""The tests that need a GPU, and what extraction, selection and scoring take on it, in under five minutes.

    python -m benchmarks.gpu [--out FILE]

Prints a Markdown table; `--out` writes the numbers as JSON. Ends with 1 where there is no usable NVIDIA GPU, or where
a test failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from ml_engine.core import determinism
from ml_engine.core.backbone import networks
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank import coreset
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.bank.nearest_search import NearestSearch, patch_scores
from ml_engine.core.config import PipelineConfig

SECONDS_OF_TESTS = 180
FILMS, PATCHES, WIDE = 256, 200_000, 1536
ROUNDS = 3


def seconds(work: Callable[[], Any]) -> float:
    """The median of three rounds, after one that is not counted."""
    times = []
    for _ in range(ROUNDS + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def extraction(device: torch.device) -> dict[str, Any]:
    config = PipelineConfig.from_preset("paper").replace(weights="random", batch=32)
    extractor = FeatureExtractor(config, networks.random_state(config.backbone, 0), device)
    films = torch.rand(FILMS, 1, config.size, config.size)
    places = places_of(np.ones((config.patches, config.patches), dtype=np.bool_))
    taken = seconds(lambda: extractor.patches(films, places))
    return {"work": f"features of {FILMS} films, {config.backbone}, 224 px", "seconds": taken, "rate": FILMS / taken}


def selection(device: torch.device) -> dict[str, Any]:
    features = torch.randn(PATCHES, WIDE, generator=torch.Generator().manual_seed(0)).to(device)
    count = PATCHES // 100
    grid = coreset.selection_grid(features, count, seed=0, dimensions=128, exact_limit=0)
    taken = seconds(lambda: coreset.greedy(grid, count))
    return {"work": f"coreset, 1 % of {PATCHES:,} patches, projected", "seconds": taken, "rate": count / taken}


def scoring(device: torch.device, *, search: str) -> dict[str, Any]:
    bank = torch.randn(20_000, WIDE, generator=torch.Generator().manual_seed(0)).to(device)
    queries = torch.randn(784 * 16, WIDE, generator=torch.Generator().manual_seed(1)).to(device)
    searched = NearestSearch(bank, search=search)
    taken = seconds(lambda: patch_scores(queries, searched, neighbours=1, distance="l2"))
    return {"work": f"scores of 16 films, bank 20,000, {search}", "seconds": taken, "rate": 16 / taken}


def run_tests() -> tuple[bool, str]:
    """Whether tests/gpu passed, and the summary of pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "gpu", "tests/gpu"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_OF_TESTS, check=False)
    except subprocess.TimeoutExpired:
        return False, f"not finished after {SECONDS_OF_TESTS} s"
    if result.returncode:
        print(result.stdout[-6000:])
    lines = result.stdout.strip().splitlines()
    return result.returncode == 0, lines[-1] if lines else f"status {result.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers as JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no usable NVIDIA GPU here: nothing was tested or measured.")
        return 1
    passed, summary = run_tests()
    determinism.fix(threads=torch.get_num_threads())
    device = torch.device("cuda")
    rows = [extraction(device), selection(device), scoring(device, search="torch"), scoring(device, search="faiss")]
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; tests: {summary}\n")
    cells = [[row["work"], f"{row['seconds']:.3f}", f"{row['rate']:.1f}"] for row in rows]
    print(tabulate(cells, ["work", "seconds", "a second"], tablefmt="github", disable_numparse=True))
    if options.out:
        facts = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "tests": summary, "rows": rows}
        options.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
