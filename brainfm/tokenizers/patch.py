"""Patches: each stretch of each sensor becomes one token, through one linear map or one small convolution."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.sensor import SensorFeatures
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class Patch(Tokenizer):
    """Cut every sensor into patches of `seconds` and embed each alone, with the sensor's kind and orientation.

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
        self.sensor = SensorFeatures(width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        rows = Rows.of_sensors(batch, self.who(batch))
        return tokenized(batch, rows, self.embed(patches), patches, self.part.seconds, self.modality)

    def who(self, batch: Batch) -> Float[Tensor, "batch sensor width"]:
        """What is known of each sensor beside its place."""
        return self.sensor(batch.kind, batch.orientation)


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
    """Apply a module that knows one batch axis to (batch, sensor, patch, ...)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, x: Float[Tensor, "batch sensor patch 1 time"]
    ) -> Float[Tensor, "batch sensor patch width"]:
        return self.module(x.flatten(0, 2)).unflatten(0, x.shape[:3])
