"""What holds on a GPU as on the processor. `python -m benchmarks.gpu` runs these; they are skipped without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ml_engine.core.backbone import weights
from ml_engine.core.backbone.features import FeatureExtractor
from ml_engine.core.bank import nearest_search
from ml_engine.core.bank.coreset import k_center
from ml_engine.core.bank.memory_bank import places_of
from ml_engine.core.bank.nearest_search import NearestSearch
from ml_engine.core.config import PipelineConfig
from ml_engine.engine.failures import known_failure
from ml_engine.engine.outcome import ExitStatus
from tests.ml_engine import films
from tests.ml_engine.films import UNALIGNED, engine

pytestmark = pytest.mark.gpu

RESULTS = ("scores.csv", "maps.npy", "sweep.npy", "p_values.npy")


@pytest.fixture(params=["full", "TF32 allowed"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """With TF32 allowed by the program that uses the library."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if request.param == "TF32 allowed" else "highest")
    yield str(request.param)
    torch.set_float32_matmul_precision(before)


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("exact_limit", [0.0, 1e12])
def test_a_coreset_has_the_picks_of_the_processor(precision: str, exact_limit: float) -> None:
    """In full dimension and projected, with copies."""
    features = draw(6000, 256, 0)
    features[3000:3500] = features[:500]
    ours = k_center(features, 300, exact_limit=exact_limit)
    on_gpu = k_center(features.cuda(), 300, exact_limit=exact_limit)
    if exact_limit:
        assert torch.equal(on_gpu.indices.cpu(), ours.indices)
    else:  # the projection's sums may be rounded otherwise
        assert (on_gpu.indices.cpu() == ours.indices).float().mean() > 0.95 or on_gpu.radius[-1] <= 1.02 * ours.radius[
            -1
        ]
    np.testing.assert_allclose(on_gpu.radius[-1], ours.radius[-1], rtol=0.02)


@pytest.mark.parametrize("search", ["torch", "faiss"])
@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_neighbours_are_those_of_the_processor(precision: str, search: str, far: float) -> None:
    bank, queries = draw(5000, 512, 1) + far, draw(300, 512, 2) + far
    bank[100:140] = bank[0]
    squared, rows = NearestSearch(bank).squared_distances(queries, 9)
    on_gpu = NearestSearch(bank.cuda(), search=search).squared_distances(queries.cuda(), 9)
    assert torch.equal(on_gpu[1].cpu(), rows)
    torch.testing.assert_close(on_gpu[0].cpu(), squared, rtol=1e-5, atol=0)


def test_all_banks_share_one_reserve_of_faiss() -> None:
    faiss: Any = pytest.importorskip("faiss")
    if not faiss.get_num_gpus():
        pytest.skip("faiss was built without a GPU")
    nearest_search.gpu_resources.cache_clear()
    free = torch.cuda.mem_get_info()[0]
    searches = [NearestSearch(draw(100, 32, seed).cuda(), search="faiss") for seed in range(17)]
    taken = free - torch.cuda.mem_get_info()[0]
    assert nearest_search.gpu_resources.cache_info().currsize == 1
    assert taken < 2 * nearest_search.FAISS_BYTES + 2**29
    assert len(searches) == 17


def test_a_failed_allocation_is_a_sentence() -> None:
    """Of torch, and of faiss where it has a GPU."""
    faiss: Any = pytest.importorskip("faiss")
    problems = []
    with pytest.raises(torch.OutOfMemoryError) as refused:
        torch.empty(2**45, dtype=torch.uint8, device="cuda")
    problems.append(refused.value)
    if faiss.get_num_gpus():
        index = faiss.GpuIndexFlatL2(nearest_search.gpu_resources(0), 2**16)
        with pytest.raises(RuntimeError) as failed:
            index.reserveMemory(2**31)
        problems.append(failed.value)
    for problem in problems:
        failure = known_failure(problem)
        assert failure is not None, str(problem)
        assert failure.status == ExitStatus.REFUSED
        assert failure.sentence.startswith("The GPU's memory ran out")


def test_features_are_those_of_the_processor_and_the_same_twice(precision: str, tmp_path: Path) -> None:
    config = PipelineConfig.from_preset("default").replace(backbone="resnet18", weights="random", size=224)
    state = weights.load_backbone("random", "resnet18", seed=0, folder=tmp_path).state
    shown = torch.rand(9, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    places = places_of(np.ones((config.patches, config.patches), dtype=np.bool_))
    on_cpu, on_gpu = (
        FeatureExtractor(config, state, torch.device(name)).patches(shown, places) for name in ("cpu", "cuda")
    )
    again = FeatureExtractor(config, state, torch.device("cuda")).patches(shown, places)
    assert torch.equal(again, on_gpu)
    if precision == "full":
        assert float((on_gpu - on_cpu).norm() / on_cpu.norm()) < 1e-3


def test_a_run_gives_the_same_bytes_twice_and_the_processors_scores(tmp_path: Path) -> None:
    with films.fixed_code_version():
        csv = films.write_set(tmp_path / "films", train=16, tune_abnormal=2, test=4)
        common = ("--images", tmp_path / "films", "--csv", csv)
        for name, device in (("first", "cuda"), ("second", "cuda"), ("third", "cpu")):
            model, scores = tmp_path / f"model-{name}", tmp_path / f"scores-{name}"
            fitted = engine("fit", *common, "--out", model, *UNALIGNED, "--device", device, data=tmp_path)
            assert fitted.returncode == 0, fitted.stderr
            scored = engine("score", *common, "--model", model, "--out", scores, "--device", device, data=tmp_path)
            assert scored.returncode == 0, scored.stderr
    first, second, third = (tmp_path / f"scores-{name}" for name in ("first", "second", "third"))
    for name in RESULTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    on_gpu, on_cpu = np.load(first / "maps.npy"), np.load(third / "maps.npy")
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2, atol=1e-3 * np.nanmax(on_cpu))
