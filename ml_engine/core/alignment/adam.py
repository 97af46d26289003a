"""Adam (Kingma and Ba 2015) in torch's arithmetic and with torch's names of its state.

torch.optim loads torch._dynamo and triton with its first optimiser: 1.4 s and 150 MiB in every process that aligns.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """The state for each parameter, by its index: ``step`` (), ``exp_avg`` and ``exp_avg_sq`` like the parameter.

    It is made at the first step; until then ``slots`` is empty.
    """

    def __init__(self, parameters: Iterable[Tensor], *, learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.slots: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, *, learning_rate: float | None = None) -> None:
        """Change each parameter that has a gradient; ``learning_rate`` holds for this step only."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                self._change(index, parameter, parameter.grad, rate)

    def _change(self, index: int, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        if index not in self.slots:
            first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self.slots[index] = {"step": torch.tensor(0.0), "exp_avg": first, "exp_avg_sq": second}
        slot = self.slots[index]
        slot["step"] += 1
        slot["exp_avg"].lerp_(gradient, 1 - BETAS[0])
        slot["exp_avg_sq"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        count = float(slot["step"])
        correction = (1 - BETAS[1] ** count) ** 0.5
        denominator = (slot["exp_avg_sq"].sqrt() / correction).add_(EPSILON)
        parameter.addcdiv_(slot["exp_avg"], denominator, value=-rate / (1 - BETAS[0] ** count))

    def load(self, slots: dict[int, dict[str, Tensor]]) -> None:
        """Continue from the state of an earlier process; it moves to the devices of the parameters."""
        self.slots = {
            index: {name: value if name == "step" else value.to(self.parameters[index]) for name, value in slot.items()}
            for index, slot in slots.items()
        }
