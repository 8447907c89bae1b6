"""Neurodynamics: what was seen must tell how the whole window is as a process, not only what it held.

A window-level target is what makes frozen features usable (REVE, El Ouahidi et al. 2025; DeeperBrain, arXiv:2601.06134).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.objectives import Loss, Objective, Sampled, Shapes
from brainfm.pooling import pool_tokens
from brainfm.statistics import sensor_names, sensor_statistics, window_names, window_statistics
from brainfm.tokens import Tokenized, Tokens
from brainfm.view import View, mean_over_windows

Waves = Float[Tensor, "batch row time"]
"""The signal of every row of tokens."""


class Neurodynamics(Objective):
    """The statistics of each row of tokens and of the window as a whole, z-scored over the corpus, by Smooth-L1."""

    def build(self, shapes: Shapes) -> "NeurodynamicsLoss":
        return NeurodynamicsLoss(shapes)


class NeurodynamicsLoss(nn.Module):
    """A `Describe` for each modality."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.describe = nn.ModuleDict({one: Describe(shapes.width, one) for one in shapes.patches})

    @torch.no_grad()
    def fit(self, sampled: Sampled) -> None:
        """Learn the corpus's mean and spread of each statistic of each modality, so that all weigh the same."""
        for modality, describe in self.describe.items():
            assert isinstance(describe, Describe)
            describe.fit([pair for pair in sampled if pair[0].modality == modality])

    def forward(self, view: View) -> Loss:
        told = [
            self.describe[piece.modality](piece.batch, waves(piece.batch, piece.tokenized), seen)
            for piece, seen in zip(view.pieces, view.seen, strict=True)
            if seen.count
        ]
        return Loss({"statistics": torch.stack(told).mean()}, {"statistics": 1.0})


class Describe(nn.Module):
    """Tell each row's statistics from the mean of its seen tokens, and the head's fields from the mean of all.

    A row is a sensor, or what stands for several. The targets come from the whole window, hidden parts included; a row of
    which nothing was seen is not asked.
    """

    def __init__(self, width: int, modality: str) -> None:
        super().__init__()
        told, fields = len(sensor_names(modality)), len(window_names(modality))
        self.sensor, self.window = nn.Linear(width, told), nn.Linear(width, fields)
        self.mean, self.std = nn.Buffer(torch.zeros(told)), nn.Buffer(torch.ones(told))
        self.window_mean, self.window_std = nn.Buffer(torch.zeros(fields)), nn.Buffer(torch.ones(fields))

    def fit(self, sampled: Sampled) -> None:
        """Mean and spread of each statistic over these windows and their rows."""
        rows = torch.cat([statistics(batch, waves(batch, made)).flatten(0, 1) for batch, made in sampled])
        windows = torch.cat([fields(batch) for batch, _ in sampled])
        self.mean.copy_(rows.mean(dim=0))
        self.std.copy_(rows.std(dim=0, correction=0).clamp(min=1e-3))
        self.window_mean.copy_(windows.mean(dim=0))
        self.window_std.copy_(windows.std(dim=0, correction=0).clamp(min=1e-3))

    def forward(self, batch: Batch, waves_: Waves, seen: Tokens) -> Float[Tensor, ""]:
        wanted = ((fields(batch) - self.window_mean) / self.window_std).clamp(-5, 5)
        told = self.window(pool_tokens(seen, "mean")).float()
        loss = mean_over_windows(F.smooth_l1_loss(told, wanted, reduction="none"))
        pooled, counted = per_row(seen, waves_.shape[1])
        wanted = ((statistics(batch, waves_) - self.mean) / self.std).clamp(-5, 5)
        error = F.smooth_l1_loss(self.sensor(pooled).float(), wanted, reduction="none")
        return loss + mean_over_windows(error, counted.unsqueeze(-1))


def waves(batch: Batch, tokenized: Tokenized) -> Waves:
    """What each row of tokens stands for over the whole window; the sensors themselves where tokens are events."""
    if not tokenized.tokens.period:
        return batch.signal
    return tokenized.targets[batch.modality].value.unflatten(1, (tokenized.tokens.rows, -1)).flatten(2)


def statistics(batch: Batch, waves_: Waves) -> Float[Tensor, "batch row statistic"]:
    """The statistics of each row."""
    return sensor_statistics(waves_, batch.sfreq, batch.modality)


def fields(batch: Batch) -> Float[Tensor, "batch field"]:
    """The statistics of the window as a whole, from its sensors."""
    return window_statistics(statistics(batch, batch.signal), batch.position, batch.located)


def per_row(tokens: Tokens, rows: int) -> tuple[Float[Tensor, "batch row width"], Bool[Tensor, "batch row"]]:
    """The mean of each row's tokens, and which rows have any."""
    member = F.one_hot(tokens.sensor, rows).to(tokens.embedding.dtype) * tokens.valid.unsqueeze(-1)
    count = member.sum(dim=1)
    pooled = member.transpose(1, 2) @ tokens.embedding / count.clamp(min=1).unsqueeze(-1)
    return pooled, count > 0
