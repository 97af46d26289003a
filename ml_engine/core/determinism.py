"""Reproducible numbers: a fixed number of threads, deterministic kernels, and the choice of the device."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def fix(*, threads: int) -> None:
    """Set the number of CPU threads and request deterministic kernels of every library. Call before any computation.

    docs/engine.md names the flags. With a GPU, operations without a deterministic kernel warn instead of failing.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # in every library that uses cuBLAS, faiss included
    torch.set_num_threads(threads)
    # the same as use_deterministic_algorithms, which also loads torch._inductor: a second and 150 MiB
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def exact_products() -> Iterator[None]:
    """Inside the block matrix products of float32 are computed in float32, whatever the process has set: TF32 on a GPU
    and bfloat16 on a CPU keep too few digits for distances, whose bounds and integer grids count on them all."""
    by_name: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before_by_name = [backend.fp32_precision for backend in by_name]
    try:
        before: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # torch refuses to say once a backend was set by its name
        before = None
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if before is not None:
            torch.set_float32_matmul_precision(before)
        for backend, precision in zip(by_name, before_by_name, strict=True):
            backend.fp32_precision = precision


def keep_freed_memory() -> None:
    """Make glibc reuse large freed blocks instead of returning them to the kernel; without glibc, do nothing.

    Page faults in newly mapped blocks would otherwise take up to half of the time of feature extraction on a CPU.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return


def give_back_memory() -> None:
    """Return the memory kept by `keep_freed_memory` to the kernel; called between two stages."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def device_label(device: torch.device) -> str:
    """The device for display: ``cpu``, or the name of the GPU model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_for(name: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda`` on this machine. Raises InvalidConfig for cuda without a GPU."""
    from ml_engine.core.errors import InvalidConfig

    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidConfig("device is cuda, but there is no usable NVIDIA GPU here: choose auto or cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
