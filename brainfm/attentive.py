"""The attentive probe: a few learned queries over frozen tokens, and a linear map on what they attend to."""

import math
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from brainfm.baselines import Fold
from brainfm.stepwise import Stepwise

QUERIES = 4
BATCH = 128
RATE, DECAY = 1e-2, 0.1


Seen = tuple[Float[Tensor, "window token width"], Bool[Tensor, "window token"]]
"""Standardised tokens, zero where padded, and which are none."""


class AttentiveProbe(Stepwise[Seen]):
    """Attention with one learned query a head, then a linear classifier (Bardes et al. 2024, V-JEPA, section 4; Lee et al. 2019).

    The projections of keys and values are left out: between linear maps they only turn a query and the classifier. Tokens are
    standardised by the training windows' and every class weighs the same. Two fits with the same `seed` are equal.
    """

    check_every = 10

    def __init__(self, folds: list[Fold], seed: int = 0) -> None:
        super().__init__(folds)
        self.seed = seed

    def fit(self, tokens: NDArray[np.float32], label: NDArray[np.int64]) -> Self:
        """Fit on (window, token, width), NaN where a token is padding."""
        self.classes_ = np.unique(label)
        return super().fit(tokens, label)

    @torch.inference_mode()
    def predict_proba(self, tokens: NDArray[np.float32]) -> NDArray[np.float64]:
        """(window, class)"""
        parts = [self._logits(*self._ready(part)) for part in _parts(tokens)]
        return torch.cat(parts).double().softmax(dim=1).numpy()

    def _scale(self, tokens: NDArray[np.float32]) -> None:
        self.mean = np.nanmean(tokens, axis=(0, 1))
        std = np.nanstd(tokens, axis=(0, 1))
        self.std = np.where(std > 1e-6 * std.max(), std, np.inf)

    def _learn(self, ready: Seen, label: NDArray[np.int64], steps: int) -> Iterator[int]:
        """Queries and a classifier, on a batch of windows a step."""
        seen, absent = ready
        width = seen.shape[2]
        draw = torch.Generator().manual_seed(self.seed)
        self.query = (torch.randn(QUERIES, width, generator=draw) / math.sqrt(width)).requires_grad_()
        self.weight = torch.zeros(len(self.classes_), QUERIES * width, requires_grad=True)
        self.bias = torch.zeros(len(self.classes_), requires_grad=True)
        truth, weight = self._truth(label)
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

    def _loss(self, ready: Seen, label: NDArray[np.int64]) -> Tensor:
        return F.cross_entropy(self._logits(*ready), *self._truth(label))

    def _truth(self, label: NDArray[np.int64]) -> tuple[Int[Tensor, " window"], Float[Tensor, " class"]]:
        """The number of each window's class, and how much every class weighs."""
        truth = torch.from_numpy(np.searchsorted(self.classes_, label))
        return truth, _balance(truth, len(self.classes_))

    def _ready(self, tokens: NDArray[np.float32]) -> Seen:
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
