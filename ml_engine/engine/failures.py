"""Sentences for the failures of a machine: memory and disk."""

from __future__ import annotations

import torch

from ml_engine.core.errors import EngineError
from ml_engine.core.files import disk_problem
from ml_engine.engine.outcome import ExitStatus, Outcome

# Of torch on a CPU, of faiss on a CPU and on a GPU (a RuntimeError with an assertion's text).
OUT_OF_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc")
OUT_OF_GPU_MEMORY = ("StandardGpuResources: alloc fail", "cudaMalloc error", "CUDA out of memory")


def known_failure(problem: Exception) -> Outcome | None:
    """How a run ends by this exception; None for a bug."""
    text = str(problem)
    if isinstance(problem, EngineError):
        return Outcome(ExitStatus.REFUSED, text)
    if isinstance(problem, torch.OutOfMemoryError) or any(words in text for words in OUT_OF_GPU_MEMORY):
        return Outcome(
            ExitStatus.REFUSED, "The GPU's memory ran out: choose device cpu, or a smaller size, rate or batch."
        )
    if sentence := disk_problem(problem):
        return Outcome(ExitStatus.REFUSED, sentence, is_temporary=True)
    if isinstance(problem, MemoryError) or any(words in text for words in OUT_OF_MEMORY):
        return Outcome(ExitStatus.REFUSED, "The memory ran out: choose a smaller size, rate or batch, or fewer films.")
    return None
