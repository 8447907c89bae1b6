"""Patches: each stretch of each sensor becomes one token, through one linear map or one small convolution."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.errors import DataError
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Target, Tokenized, Tokens


class Patch(Tokenizer):
    """Cut every sensor into patches of `seconds` and embed each alone.

    Nothing is normalised across patches or sensors: a loud artefact on one electrode cannot change the token of another, as
    it does through LaBraM's and CBraMod's group norm.
    """

    embed: Literal["linear", "convolution"] = "linear"

    def build(self, width: int, modality: int) -> "PatchTokenizer":
        return PatchTokenizer(self, width, modality)


class PatchTokenizer(nn.Module):
    """`Batch -> Tokenized`, sensor after sensor, each in order of time."""

    def __init__(self, part: Patch, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.embed = (
            nn.Linear(part.times, width) if part.embed == "linear" else convolution(part.times, width)
        )

    def forward(self, batch: Batch) -> Tokenized:
        patches = self.cut(batch)
        n_batch, sensors, times, samples = patches.shape
        flat = patches.reshape(n_batch, sensors * times, samples)
        per_sensor = torch.arange(sensors, device=flat.device).repeat_interleave(times)
        centre = (torch.arange(times, device=flat.device) + 0.5) * self.part.seconds
        tokens = Tokens(
            embedding=self.embed(flat),
            time=centre.repeat(sensors).expand(n_batch, -1),
            position=batch.position[:, per_sensor],
            located=batch.located[:, per_sensor],
            modality=torch.full_like(per_sensor, self.modality).expand(n_batch, -1),
            sensor=per_sensor.expand(n_batch, -1),
            valid=batch.valid[:, per_sensor],
            period=self.part.seconds,
            padded=batch.padded,
        )
        return Tokenized(tokens, {batch.modality: Target(flat, batch.sfreq)})

    def cut(self, batch: Batch) -> Float[Tensor, "batch sensor patch time"]:
        """Whole patches; raises `DataError` where the window is not a whole number of them."""
        if abs(batch.sfreq - self.part.sfreq) > 1e-6:
            raise DataError(
                f"this tokenizer wants {self.part.sfreq:g} Hz, the signal has {batch.sfreq:g} Hz: resample it"
            )
        samples = self.part.times
        if batch.signal.shape[-1] % samples or not batch.signal.shape[-1]:
            raise DataError(
                f"a window of {batch.signal.shape[-1]} samples is not a whole number of patches of {samples}: "
                f"choose a window that is a multiple of {self.part.seconds:g} s"
            )
        return batch.signal.unflatten(-1, (-1, samples))


def convolution(samples: int, width: int) -> nn.Sequential:
    """Two convolutions inside the patch and a linear map: waveform shapes at any lag before they are mixed."""
    inner = 16
    length = (samples + 1) // 2
    return nn.Sequential(
        nn.Unflatten(-1, (1, samples)),
        _Rows(
            nn.Sequential(
                nn.Conv1d(1, inner, kernel_size=9, padding=4),
                nn.GELU(),
                nn.Conv1d(inner, inner, kernel_size=5, stride=2, padding=2),
                nn.GELU(),
                nn.Flatten(1),
                nn.Linear(inner * length, width),
            )
        ),
    )


class _Rows(nn.Module):
    """Apply a module that knows one batch axis to (batch, token, ...)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "batch token 1 time"]) -> Float[Tensor, "batch token width"]:
        return self.module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
