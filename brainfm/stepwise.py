"""A probe that learns step by step, and stops where windows that it has not learnt from were told best."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.baselines import Fold

MOST = 200
"""The most steps that are taken."""
INNER = 3
"""Inner folds that the number of steps is chosen on."""

Ready = TypeVar("Ready")
"""Features as a probe works on them."""


class Stepwise(ABC, Generic[Ready]):
    """The number of steps is the one that tells held-out inner windows best; without folds it is half of the most."""

    check_every: ClassVar[int]
    """Steps after which held-out inner windows are asked."""

    def __init__(self, folds: list[Fold]) -> None:
        self.folds = folds[:INNER]

    def fit(self, features: NDArray[np.float32], true: NDArray[np.int64]) -> Self:
        """Fit on windows and what is so of each."""
        losses = [self._held_out(features, true, *fold) for fold in self.folds]
        best = int(np.mean(losses, axis=0).argmin()) + 1 if losses else MOST // self.check_every // 2
        self.steps = best * self.check_every
        self._scale(features)
        for _ in self._learn(self._ready(features), true, self.steps):
            pass
        return self

    def _held_out(
        self,
        features: NDArray[np.float32],
        true: NDArray[np.int64],
        fit: NDArray[np.int64],
        held: NDArray[np.int64],
    ) -> list[float]:
        """The loss of held-out windows at every check of a fit."""
        self._scale(features[fit])
        asked = self._ready(features[held])
        losses = []
        for step in self._learn(self._ready(features[fit]), true[fit], MOST):
            if step % self.check_every == 0:
                with torch.inference_mode():
                    losses.append(float(self._loss(asked, true[held])))
        return losses

    @abstractmethod
    def _scale(self, features: NDArray[np.float32]) -> None:
        """Measure what features are standardised by."""

    @abstractmethod
    def _ready(self, features: NDArray[np.float32]) -> Ready:
        """Standardised features."""

    @abstractmethod
    def _learn(self, ready: Ready, true: NDArray[np.int64], steps: int) -> Iterator[int]:
        """Learn from nothing; each step, counted from 1, is told when it is done."""

    @abstractmethod
    def _loss(self, ready: Ready, true: NDArray[np.int64]) -> Tensor:
        """What it costs to tell what is so of these windows."""
