"""A probe of sequences: one linear map, the same at all moments, that learns by CTC on frozen features."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.answers import spelled
from brainfm.baselines import Fold
from brainfm.stepwise import Stepwise

RATE, DECAY = 3e-2, 1e-2


class SequenceProbe(Stepwise[Float[Tensor, "window moment feature"]]):
    """Softmax regression at each moment under the CTC loss (Graves et al. 2006, equation 8), the blank being the last class.

    Features are (window, moment, feature), standardised by the training windows'; what is so of a window are indices, −1 behind
    the last. The number of steps is chosen, so that a probe of many features does not learn its windows by heart.
    """

    check_every = 20

    def __init__(self, folds: list[Fold], classes: int) -> None:
        super().__init__(folds)
        self.classes = classes

    @torch.inference_mode()
    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, moment, class)"""
        return self.map(self._ready(features)).double().softmax(dim=-1).numpy()

    def _scale(self, features: NDArray[np.float32]) -> None:
        flat = features.reshape(-1, features.shape[2])
        std = flat.std(axis=0)
        self.mean, self.std = flat.mean(axis=0), np.where(std > 1e-6 * std.max(), std, np.inf)

    def _ready(self, features: NDArray[np.float32]) -> Float[Tensor, "window moment feature"]:
        return torch.from_numpy(((features - self.mean) / self.std).astype(np.float32))

    def _learn(
        self, ready: Float[Tensor, "window moment feature"], true: NDArray[np.int64], steps: int
    ) -> Iterator[int]:
        """From a map that says nothing, on all windows at once."""
        self.map = torch.nn.Linear(ready.shape[2], self.classes)
        torch.nn.init.zeros_(self.map.weight)
        torch.nn.init.zeros_(self.map.bias)
        adam = torch.optim.AdamW(self.map.parameters(), RATE, weight_decay=DECAY)
        for step in range(1, steps + 1):
            adam.zero_grad()
            self._loss(ready, true).backward()
            adam.step()
            yield step

    def _loss(self, ready: Float[Tensor, "window moment feature"], true: NDArray[np.int64]) -> Tensor:
        return spelled(self.map(ready), torch.from_numpy(true))
