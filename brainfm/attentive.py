"""The attentive probe: a few learned queries over frozen tokens, and a linear map on what they attend to."""

import math
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.baselines import Fold

QUERIES = 4
BATCH = 128
CHECK_EVERY, MOST = 10, 200
"""Steps after which held-out inner windows are asked, and the most that are taken."""
INNER = 3
"""Inner folds that the number of steps is chosen on."""
RATE, DECAY = 1e-2, 0.1


class AttentiveProbe:
    """Attention with one learned query a head, then a linear classifier (Bardes et al. 2024, V-JEPA, section 4; Lee et al. 2019).

    The projections of keys and values are left out: between linear maps they only turn a query and the classifier. Tokens are
    standardised by the training windows' and every class weighs the same. The number of steps is the one that tells held-out
    inner windows best. Two fits with the same `seed` are equal.
    """

    def __init__(self, folds: list[Fold], seed: int = 0) -> None:
        self.folds, self.seed = folds[:INNER], seed

    def fit(self, tokens: NDArray[np.float32], label: NDArray[np.int64]) -> Self:
        """Fit on (window, token, width), NaN where a token is padding."""
        self.classes_ = np.unique(label)
        losses = [self._held_out(tokens, label, *fold) for fold in self.folds]
        best = int(np.mean(losses, axis=0).argmin()) + 1 if losses else MOST // CHECK_EVERY // 2
        self.steps = best * CHECK_EVERY
        self._scale(tokens)
        for _ in self._learn(tokens, label, self.steps):
            pass
        return self

    @torch.inference_mode()
    def predict_proba(self, tokens: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, class)"""
        parts = [self._logits(*self._ready(part)) for part in _parts(tokens)]
        return torch.cat(parts).double().softmax(dim=1).numpy()

    def _held_out(
        self,
        tokens: NDArray[np.float32],
        label: NDArray[np.int64],
        fit: NDArray[np.int64],
        held: NDArray[np.int64],
    ) -> list[float]:
        """The balanced loss on held-out windows at every check of a fit."""
        truth = torch.from_numpy(np.searchsorted(self.classes_, label[held]))
        weight = _balance(truth, len(self.classes_))
        self._scale(tokens[fit])
        asked = self._ready(tokens[held])
        losses = []
        for step in self._learn(tokens[fit], label[fit], MOST):
            if step % CHECK_EVERY == 0:
                with torch.inference_mode():
                    losses.append(float(F.cross_entropy(self._logits(*asked), truth, weight)))
        return losses

    def _scale(self, tokens: NDArray[np.float32]) -> None:
        """Measure what tokens are standardised by."""
        self.mean = np.nanmean(tokens, axis=(0, 1))
        std = np.nanstd(tokens, axis=(0, 1))
        self.std = np.where(std > 1e-6 * std.max(), std, np.inf)

    def _learn(self, tokens: NDArray[np.float32], label: NDArray[np.int64], steps: int) -> Iterator[int]:
        """Fit queries and classifier to these windows; each step is told when it is done."""
        width = tokens.shape[2]
        draw = torch.Generator().manual_seed(self.seed)
        self.query = (torch.randn(QUERIES, width, generator=draw) / math.sqrt(width)).requires_grad_()
        self.weight = torch.zeros(len(self.classes_), QUERIES * width, requires_grad=True)
        self.bias = torch.zeros(len(self.classes_), requires_grad=True)
        seen, absent = self._ready(tokens)
        truth = torch.from_numpy(np.searchsorted(self.classes_, label))
        weight = _balance(truth, len(self.classes_))
        optimiser = torch.optim.AdamW([self.query, self.weight, self.bias], RATE, weight_decay=DECAY)
        order = torch.empty(0, dtype=torch.int64)
        for step in range(1, steps + 1):
            if not len(order):
                order = torch.randperm(len(truth), generator=draw)
            rows, order = order[:BATCH], order[BATCH:]
            loss = F.cross_entropy(self._logits(seen[rows], absent[rows]), truth[rows], weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield step

    def _ready(
        self, tokens: NDArray[np.float32]
    ) -> tuple[Float[Tensor, "window token width"], Bool[Tensor, "window token"]]:
        """Standardised tokens, zero where padded, and which are none."""
        absent = np.isnan(tokens[:, :, 0])
        scaled = np.nan_to_num((tokens - self.mean) / self.std).astype(np.float32)
        return torch.from_numpy(scaled), torch.from_numpy(absent)

    def _logits(
        self, tokens: Float[Tensor, "window token width"], absent: Bool[Tensor, "window token"]
    ) -> Float[Tensor, "window class"]:
        heard = torch.einsum("btw,qw->bqt", tokens, self.query) / math.sqrt(tokens.shape[2])
        share = heard.masked_fill(absent.unsqueeze(1), -torch.inf).softmax(dim=2)
        return F.linear(torch.einsum("bqt,btw->bqw", share, tokens).flatten(1), self.weight, self.bias)


def _balance(truth: Tensor, classes: int) -> Float[Tensor, " class"]:
    counts = torch.bincount(truth, minlength=classes).clamp(min=1)
    return len(truth) / (classes * counts.float())


def _parts(tokens: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return np.array_split(tokens, max(1, -(-len(tokens) // BATCH)))
