"""Arrays of NumPy where the library takes tensors: the same results, and a sentence for what is no array of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ml_engine.core import Detector, k_center
from ml_engine.core.arrays import as_tensor
from tests.ml_engine import made


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int16, np.uint8, bool])
def test_numbers_become_float32(dtype: Any) -> None:
    array = np.array([[0, 1], [1, 0]], dtype=dtype)
    tensor = as_tensor(array, name="films")
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == [[0, 1], [1, 0]]
    assert as_tensor(torch.from_numpy(array), name="films").tolist() == tensor.tolist()


def test_views_and_read_only_arrays_are_taken() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    array.flags.writeable = False
    assert torch.equal(as_tensor(array, name="films"), torch.arange(12.0).view(3, 4))
    assert as_tensor(array[::-1, ::2], name="films").tolist() == [[8, 10], [4, 6], [0, 2]]


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j]), torch.tensor([1j]), np.array([None])])
def test_anything_else_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"^films (is an array of|holds complex numbers).*real"):
        as_tensor(values, name="films")


def test_a_coreset_of_an_array_is_that_of_the_tensor() -> None:
    features = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    picked, radius = k_center(features, 20)
    for same in (features.numpy(), features.double().numpy()):
        again = k_center(same, 20)
        assert torch.equal(again.indices, picked)
        assert np.array_equal(again.radius, radius, equal_nan=True)


def test_a_detector_of_arrays_is_that_of_the_tensors() -> None:
    config = made.small_config(align="none", controls="0")
    films = torch.rand(9, 64, 64, generator=torch.Generator().manual_seed(0))
    odd = np.array([False, True])
    ours = Detector.fit(films[:5], config, calibrate=films[5:7], tune=films[7:], abnormal=odd)
    theirs = Detector.fit(films[:5].numpy(), config, calibrate=films[5:7].numpy(), tune=films[7:].numpy(), abnormal=odd)
    assert torch.equal(theirs.banks.whole.vectors, ours.banks.whole.vectors)
    assert theirs.choice == ours.choice
    assert np.array_equal(theirs.maps(films.double().numpy()), ours.maps(films), equal_nan=True)
