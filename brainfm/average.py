"""A running mean of the weights: what a noisy last step costs is averaged out, and a slow copy can teach the fast one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The exponential running mean of a module's weights after every step (Polyak & Juditsky 1992; Tarvainen & Valpola 2017, §2).

    `values` holds it by the weight's name, on its device and, where that is sharded, in the same shards. Buffers (statistics of
    the corpus, a codebook) are not averaged: they are means themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, module: nn.Module, steps: int) -> None:
        """Take in the weights as they are after `steps` steps, the first of which is 1."""
        share = 1 - decay_after(steps, self.decay)
        for name, value in module.named_parameters():
            self.values[name].lerp_(value, share)

    @contextmanager
    def worn(self, module: nn.Module) -> Iterator[None]:
        """Within, the module's weights are the mean."""
        own = {name: value.detach().clone() for name, value in module.named_parameters()}
        self._put(module, self.values)
        try:
            yield
        finally:
            self._put(module, own)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The mean of the weights whose names begin so, by the rest of their names."""
        return {
            name.removeprefix(prefix): value for name, value in self.values.items() if name.startswith(prefix)
        }

    @torch.no_grad()
    def _put(self, module: nn.Module, values: dict[str, Tensor]) -> None:
        for name, parameter in module.named_parameters():
            parameter.copy_(values[name])


def decay_after(steps: int, most: float) -> float:
    """How much of the mean is kept at a step: min(most, (1 + steps) / (10 + steps)).

    So it spans about the last ninth of the steps until that is as long as `most` says, and forgets the untrained weights (the
    warm-up of TensorFlow's `ExponentialMovingAverage(num_updates=...)`).
    """
    return min(most, (1 + steps) / (10 + steps))
