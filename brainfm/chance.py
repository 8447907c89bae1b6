"""Random numbers for the windows of one step, the same however the step is divided.

The windows of a step may lie on several processes or in several micro-batches. Each window has a generator of its own, seeded by
its place among the windows of the step, so that masks, and with them losses, don't depend on who computes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class Chance:
    """What is drawn for the windows from number `first` of a step on. The same numbers in `seed` give the same draws."""

    def __init__(self, *seed: int, first: int = 0) -> None:
        self.seed, self.first = seed, first
        self.shared = generator_of(*seed)
        """For what is the same in every window of the step: draw from it alike whatever the windows here are."""
        self._own: list[torch.Generator] = []

    def uniform(self, windows: int, *shape: int) -> Float[Tensor, "windows ..."]:
        """Numbers from 0 to 1. A longer row begins with the numbers of a shorter one."""
        return torch.stack([torch.rand(shape, generator=own) for own in self._generators(windows)])

    def integers(self, high: int, windows: int, *shape: int) -> Int[Tensor, "windows ..."]:
        """Whole numbers from 0 to `high` − 1."""
        return torch.stack([torch.randint(high, shape, generator=own) for own in self._generators(windows)])

    def _generators(self, windows: int) -> list[torch.Generator]:
        for place in range(self.first + len(self._own), self.first + windows):
            self._own.append(generator_of(*self.seed, 1, place))
        return self._own[:windows]


def generator_of(*numbers: int) -> torch.Generator:
    """Torch's generator, seeded by a few small numbers."""
    return torch.Generator().manual_seed(entropy(*numbers))


def entropy(*numbers: int) -> int:
    """A well-mixed seed from a few small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers draw their first weights from torch's global generator; fix it here and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
