"""The device that a config asks for."""

from __future__ import annotations

import pytest
import torch

from ml_engine.core.determinism import device_for, device_label
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
