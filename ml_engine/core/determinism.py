"""The same numbers each time: fixed threads, deterministic kernels, no global random state."""

from __future__ import annotations

import ctypes
import os

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def fix(*, threads: int) -> None:
    """Fix the CPU threads and ask every library for deterministic kernels. Call before any computation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning each to the kernel; elsewhere do nothing.

    The page faults of fresh blocks otherwise take up to half of the time of feature extraction on a CPU.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return


def give_back_memory() -> None:
    """Return the freed memory that `keep_freed_memory` kept to the kernel, between two stages."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def device_label(device: torch.device) -> str:
    """The device in words: ``cpu``, or the name that the GPU gives itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_for(name: str) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` means on this machine. Raises InvalidConfig."""
    from ml_engine.core.errors import InvalidConfig

    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidConfig("device is cuda, but no NVIDIA GPU answers here: choose auto or cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
