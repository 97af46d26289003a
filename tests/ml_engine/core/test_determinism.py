"""The device that a config asks for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ml_engine.core.bank import coreset
from ml_engine.core.bank.nearest_search import NearestSearch
from ml_engine.core.determinism import device_for, device_label, exact_products
from ml_engine.core.errors import InvalidConfig


def test_cpu_is_the_processor_whatever_else_is_there() -> None:
    assert device_for("cpu") == torch.device("cpu")
    assert device_label(device_for("cpu")) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused_and_auto_is_the_processor() -> None:
    assert device_for("auto") == torch.device("cpu")
    with pytest.raises(InvalidConfig, match="no usable NVIDIA GPU here"):
        device_for("cuda")


@pytest.mark.gpu
def test_auto_takes_the_gpu() -> None:
    assert device_for("auto").type == device_for("cuda").type == "cuda"


@pytest.fixture
def loose() -> Iterator[None]:
    """A program that uses the library and allows TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("loose")
def test_products_are_exact_inside_the_block_and_as_before_after_it() -> None:
    assert torch.backends.cuda.matmul.allow_tf32
    with exact_products():
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.usefixtures("loose")
@pytest.mark.parametrize("what", ["search", "greedy", "covering radius"])
def test_distances_are_computed_without_tf32(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    square = torch.Tensor.square

    def watched(self: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_float32_matmul_precision())
        return square(self)

    bank = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    search = NearestSearch(bank)
    grid = coreset.integer_grid(coreset.Rows(bank, None))
    monkeypatch.setattr(torch.Tensor, "square", watched)
    if what == "search":
        search.squared_distances(bank, 2)
    elif what == "greedy":
        coreset.greedy(grid, 4)
    else:
        coreset.covering_radius(bank, torch.arange(3))
    assert seen == {"highest"}


@pytest.mark.parametrize("backend", ["cuda", "mkldnn"])
def test_products_are_exact_where_a_backend_was_set_by_its_name(backend: str) -> None:
    """torch then refuses to say what the precision is: the library ended with a RuntimeError."""
    matmul = getattr(torch.backends, backend).matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with exact_products():
            assert torch.get_float32_matmul_precision() == "highest"
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before
    assert torch.get_float32_matmul_precision() == "highest"
