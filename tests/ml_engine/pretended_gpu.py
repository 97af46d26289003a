"""A GPU that is not there: tensors in main memory that say they are on ``cuda:0``, and fail as CUDA's do where a tensor
of the processor meets them. It shows that a path works on another device, not how fast, nor how CUDA rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda:0")
COPIES = ("aten::copy_", "aten::_to_copy")  # from one device to the other
INDEXING = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")  # take indices of the processor


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU; ``inner`` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnGpu:
        made: OnGpu = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=GPU,
        )
        made.inner = inner
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnGpu({self.inner})"

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class _Machine(TorchDispatchMode):
    """Functions without a tensor, such as torch.zeros, reach the pretended GPU as well."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Inside the block the device that is given has tensors."""
    made = torch.tensor

    def tensor(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        on_processor = made(data, **options)
        return on_processor.to(device) if device is not None else on_processor

    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    with monkeypatch.context() as patch, _Machine():
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch, "tensor", tensor)
        yield GPU


def numbers(tensor: Tensor) -> Tensor:
    """The tensor on the processor."""
    return tensor.inner if isinstance(tensor, OnGpu) else tensor


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = function._schema.name
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    is_on_gpu = any(isinstance(value, OnGpu) for value in given)
    if is_on_gpu and name not in COPIES:
        _check(name, args, given)
    device = kwargs.get("device")
    if device is not None:
        is_on_gpu = torch.device(device).type == "cuda"
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = function(*tree_map(numbers_of, args), **tree_map(numbers_of, kwargs))
    if name.endswith("_"):
        return args[0]
    if isinstance(kwargs.get("out"), OnGpu):
        return kwargs["out"]
    return tree_map(lambda value: OnGpu(value) if isinstance(value, Tensor) else value, result) if is_on_gpu else result


def numbers_of(value: Any) -> Any:
    return numbers(value) if isinstance(value, Tensor) else value


def _check(name: str, args: Any, given: list[Tensor]) -> None:
    """Raises RuntimeError where the processor's tensors meet those of the GPU."""
    strangers = [value for value in given if not isinstance(value, OnGpu)]
    if name in INDEXING:
        assert isinstance(args[0], OnGpu), f"{name}: indices on the GPU, numbers on the processor"
        strangers = [] if name == "aten::index" else [value for value in args[2:3] if value in strangers]
    if any(value.dim() for value in strangers) or (strangers and name in ("aten::index_select", "aten::cat")):
        shapes = ", ".join(str(tuple(value.shape)) for value in strangers)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device; of the processor are {shapes}")
