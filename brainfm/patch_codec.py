"""Rows of patches to codes and back: the network inside a codec, whatever tokenizer cut the patches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.layers.along import Along
from brainfm.layers.apart import APART
from brainfm.layers.codebook import Quantised
from brainfm.layers.seanet import Down, Up
from brainfm.objectives import Loss
from brainfm.recipe_codes import Codes

Rows = Float[Tensor, "row times sample"]
"""What the tokens of one row of one window hold, in order of time."""


@dataclass(frozen=True)
class Level:
    """What is taken off and divided out of rows before they are coded."""

    mean: Float[Tensor, "#row #times #sample"]
    spread: Float[Tensor, "#row #times #sample"]

    def off(self, rows: Rows) -> Rows:
        """The rows without it."""
        return (rows - self.mean) / self.spread

    def on(self, rows: Rows) -> Rows:
        """Rows that were coded without it, with it again."""
        return rows * self.spread + self.mean


class PatchCodec(nn.Module):
    """Patches to codes and back.

    Of signals the corpus's spread is divided out, so that every modality weighs its parts alike. Amplitude spectra are
    normalised row by row (EEGFormer's instance norm): their codes say which frequencies are strong when, not how strong all are.
    """

    def __init__(self, part: Codes, samples: int, seconds: float) -> None:
        super().__init__()
        self.part = part
        self.spectra = part.of == "amplitude"
        held = samples // 2 + 1 if self.spectra else samples
        self.encoder = encoder(part, held, seconds)
        self.quantizer = part.quantizer.build(part.width)
        self.mix: nn.Module | None = None
        if part.seanet is not None:
            self.decoder: nn.Module = Up(part.seanet, part.width)
        elif part.decoder_depth:
            self.decoder = Along(part.width, part.hidden, held, part.decoder_depth, seconds, **part.shape)
        else:
            self.mix = nn.Conv1d(part.width, part.hidden, 2 * part.context + 1, padding=part.context)
            self.decoder = Through(part.hidden, part.hidden, held)
        self.spread = nn.Buffer(torch.ones(()))
        self.weights = {**part.apart, "commitment": 1.0}

    def held(self, patches: Float[Tensor, "row times time"]) -> Float[Tensor, "row times number"]:
        """What is coded of patches: their signal, or the amplitude of each frequency from 0 to half the rate."""
        return torch.fft.rfft(patches.float(), norm="ortho").abs() if self.spectra else patches

    def level(self, rows: Rows) -> Level:
        """What is taken off these rows before they are coded."""
        if not self.spectra:
            return Level(torch.zeros((1, 1, 1), device=rows.device), self.spread.expand(1, 1, 1))
        return Level(
            rows.mean(dim=(1, 2), keepdim=True),
            rows.std(dim=(1, 2), keepdim=True, correction=0).clamp(min=1e-12),
        )

    @torch.no_grad()
    def fit(self, rows: Rows, generator: torch.Generator) -> None:
        """Learn the corpus's spread, and put the codes where the untrained encoder's vectors are."""
        self.spread.copy_(rows.std(correction=0).clamp(min=1e-12))
        self.quantizer.start(self.encoder(self.level(rows).off(rows)), generator)

    def encode(self, rows: Rows, generator: torch.Generator | None = None) -> Quantised:
        """The codes of rows; without blocks along the row, each patch by itself."""
        quantised: Quantised = self.quantizer(self.encoder(self.level(rows).off(rows)), generator)
        return quantised

    def decode(self, vectors: Float[Tensor, "row times width"], level: Level) -> Rows:
        """What the codes of whole rows say, at a level that codes don't tell."""
        return level.on(self.said(vectors))

    def said(self, vectors: Float[Tensor, "row times width"]) -> Rows:
        """The same without its level."""
        if self.mix is not None:
            vectors = self.mix(vectors.transpose(1, 2)).transpose(1, 2)
        told: Tensor = self.decoder(vectors).float()
        return told

    def forward(self, rows: Rows, generator: torch.Generator) -> Loss:
        quantised = self.encode(rows, generator)
        held, told = self.level(rows).off(rows).flatten(1), self.said(quantised.value).flatten(1)
        parts = {name: APART[name](told, held) for name in self.part.apart}
        return Loss({**parts, "commitment": quantised.loss}, self.weights)


def encoder(part: Codes, held: int, seconds: float) -> nn.Module:
    """What makes a vector of each patch, which becomes a code."""
    if part.seanet is not None:
        return Down(part.seanet, part.width)
    if part.depth:
        return Along(held, part.hidden, part.width, part.depth, seconds, **part.shape)
    return Through(held, part.hidden, part.width)


class Through(nn.Module):
    """A linear map and a small network beside it: what is linear need not be learnt by the other."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Float[Tensor, "*row inputs"]) -> Float[Tensor, "*row outputs"]:
        return self.straight(x) + self.bent(x)
