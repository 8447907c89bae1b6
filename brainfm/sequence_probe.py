"""A probe of sequences: one linear map, the same at all moments, that learns by CTC on frozen features."""

from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.answers import spelled
from brainfm.baselines import Fold

CHECK_EVERY, MOST = 20, 200
"""Steps after which held-out inner windows are asked, and the most that are taken."""
INNER = 3
"""Inner folds that the number of steps is chosen on."""
RATE, DECAY = 3e-2, 1e-2


class SequenceProbe:
    """Softmax regression at each moment under the CTC loss (Graves et al. 2006, equation 8), the blank being the last class.

    Features are standardised by the training windows'. The number of steps is the one that tells held-out inner windows best,
    so that a probe of many features does not learn its windows by heart.
    """

    def __init__(self, folds: list[Fold], classes: int) -> None:
        self.folds, self.classes = folds[:INNER], classes

    def fit(self, features: NDArray[np.float32], true: NDArray[np.int64]) -> Self:
        """Fit on (window, moment, feature) and (window, place) indices, −1 behind the last."""
        losses = [self._held_out(features, true, *fold) for fold in self.folds]
        best = int(np.mean(losses, axis=0).argmin()) + 1 if losses else MOST // CHECK_EVERY // 2
        self._begin(features)
        self._learn(features, true, best * CHECK_EVERY)
        return self

    @torch.inference_mode()
    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, moment, class)"""
        return self._logits(features).double().softmax(dim=-1).numpy()

    def _held_out(
        self,
        features: NDArray[np.float32],
        true: NDArray[np.int64],
        fit: NDArray[np.int64],
        held: NDArray[np.int64],
    ) -> list[float]:
        """The loss of held-out windows at every check of a fit."""
        self._begin(features[fit])
        losses = []
        for _ in range(MOST // CHECK_EVERY):
            self._learn(features[fit], true[fit], CHECK_EVERY)
            with torch.inference_mode():
                losses.append(float(spelled(self._logits(features[held]), torch.from_numpy(true[held]))))
        return losses

    def _begin(self, features: NDArray[np.float32]) -> None:
        """Measure what features are standardised by, and start from a map that says nothing."""
        flat = features.reshape(-1, features.shape[2])
        std = flat.std(axis=0)
        self.mean, self.std = flat.mean(axis=0), np.where(std > 1e-6 * std.max(), std, np.inf)
        self.map = torch.nn.Linear(features.shape[2], self.classes)
        torch.nn.init.zeros_(self.map.weight)
        torch.nn.init.zeros_(self.map.bias)
        self.adam = torch.optim.AdamW(self.map.parameters(), RATE, weight_decay=DECAY)

    def _learn(self, features: NDArray[np.float32], true: NDArray[np.int64], steps: int) -> None:
        """Take so many steps on all windows at once."""
        wanted = torch.from_numpy(true)
        for _ in range(steps):
            self.adam.zero_grad()
            spelled(self._logits(features), wanted).backward()
            self.adam.step()

    def _logits(self, features: NDArray[np.float32]) -> Float[Tensor, "window moment class"]:
        standard = ((features - self.mean) / self.std).astype(np.float32)
        logits: Tensor = self.map(torch.from_numpy(standard))
        return logits
