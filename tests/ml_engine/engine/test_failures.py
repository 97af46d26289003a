"""The sentences for a machine's failures, by the texts that torch and faiss raise."""

from __future__ import annotations

import errno

import pytest
import torch

from ml_engine.core.errors import EmptyBank
from ml_engine.engine.failures import known_failure
from ml_engine.engine.outcome import ExitStatus

# As faiss 1.12 raises it, shortened: a RuntimeError with the place of the assertion.
FAISS = (
    "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory(const faiss::gpu::AllocRequest&) at "
    "/project/faiss/faiss/gpu/StandardGpuResources.cpp:452: Error: 'err == cudaSuccess' failed: StandardGpuResources: "
    "alloc fail type TemporaryMemoryOverflow dev 0 space Device stream 0x7f size 536870912 bytes (cudaMalloc error out "
    "of memory [2])"
)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (RuntimeError(FAISS), "The GPU's memory ran out: choose device cpu"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
            "The GPU's memory ran out: choose device cpu",
        ),
        (MemoryError(), "The memory ran out: choose a smaller size, rate or batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "The memory ran out"),
        (RuntimeError("std::bad_alloc"), "The memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The quota of the disk is used up: free some space"),
        (OSError(errno.EROFS, "Read-only file system"), "The disk of the run's folder is mounted read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "A file of the run may not be read or written"),
        (EmptyBank("No patch is left."), "No patch is left."),
    ],
)
def test_a_failure_of_the_machine_is_a_sentence(problem: Exception, words: str) -> None:
    failure = known_failure(problem)
    assert failure is not None
    assert failure.status == ExitStatus.REFUSED
    assert failure.sentence.startswith(words)
    assert failure.is_temporary == isinstance(problem, OSError)


@pytest.mark.parametrize("problem", [RuntimeError("shape mismatch"), OSError(errno.EIO, "input/output"), KeyError("x")])
def test_anything_else_is_a_bug(problem: Exception) -> None:
    assert known_failure(problem) is None
