"""Arrays at the doors of the library: users pass tensors or arrays of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = Tensor | NDArray[Any]


def as_tensor(values: Array, *, name: str) -> Tensor:
    """Floating-point numbers as a float32 tensor, which shares memory with a float32 array that may be written to.

    Raises ValueError for anything else than a tensor or an array of real numbers; ``name`` is that of the argument.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise ValueError(f"{name} holds complex numbers: expected real ones")
        return values.float()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} is an array of {array.dtype}: expected real numbers")
    array = np.ascontiguousarray(array, dtype=np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
