"""Masked patches: the encoder sees some tokens, a light decoder says what the others held (He et al. 2022, arXiv:2111.06377)."""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.layers.attention import CrossBlock, heads_for
from brainfm.layers.position import PositionFeatures
from brainfm.objectives import Loss, Objective, Shapes
from brainfm.tokens import Hidden, Tokenized, Tokens, join
from brainfm.view import Piece, View, mean_over_windows

SHORT = 16
"""Samples from which on a patch has a shape of its own."""


class MaskedPatches(Objective):
    """Mean squared error on hidden patches at mean 0 and variance 1 (`patches_wanted`)."""

    decoder_depth: int = Field(default=2, ge=1)

    def build(self, shapes: Shapes) -> "MaskedPatchLoss":
        return MaskedPatchLoss(self, shapes)


class MaskedPatchLoss(nn.Module):
    """The decoder; the encoder is passed in with the view."""

    def __init__(self, part: MaskedPatches, shapes: Shapes) -> None:
        super().__init__()
        self.part, width = part, shapes.width
        self.where = PositionFeatures(width)
        self.ask = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.blocks = nn.ModuleList(
            CrossBlock(width, heads_for(width), part.decoder_depth) for _ in range(part.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.predict = nn.ModuleDict(
            {modality: nn.Linear(width, samples) for modality, samples in shapes.patches.items()}
        )

    def forward(self, view: View) -> Loss:
        seen = join(view.seen)
        asked = [piece for piece in view.pieces if piece.hidden.hidden.shape[1]]
        errors = [self.error(piece, seen) for piece in asked]
        return Loss({"patches": torch.stack(errors).mean()}, {"patches": 1.0})

    def error(self, piece: Piece, seen: Tokens) -> Float[Tensor, ""]:
        """How far what is told of an instrument's hidden patches is from what they held."""
        wanted = held(patches_wanted(piece.tokenized, piece.modality), piece.hidden).detach()
        told = self.decode(piece.modality, seen, piece.asked)
        return mean_over_windows((told.float() - wanted).square())

    def decode(self, modality: str, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden time"]:
        """Normalised patches at the places and times of `asked`, from what was seen."""
        x = self.ask + self.where(asked.position, asked.located)
        if asked.who is not None:
            x = x + asked.who.to(x.dtype)
        for block in self.blocks:
            x = block(x, asked.time, seen.embedding, seen.time, seen.valid if seen.padded else None)
        return self.predict[modality](self.norm(x))


def held(value: Float[Tensor, "batch token time"], hidden: Hidden) -> Float[Tensor, "batch hidden time"]:
    """What the hidden tokens held."""
    return value.gather(1, hidden.hidden.unsqueeze(-1).expand(-1, -1, value.shape[-1]))


def patches_wanted(tokenized: Tokenized, modality: str) -> Float[Tensor, "batch token time"]:
    """What the decoder is to tell, at mean 0 and variance 1: patch by patch, or over each row where patches are `SHORT`.

    Two volumes of fMRI normalised alone are a sign, and ten bins of a neuron no longer say how often it fired. A target with
    its `level` is told as it is: a place on a track is nothing else.
    """
    target = tokenized.targets[modality]
    value = target.value.float()
    if target.level:
        return value
    if not tokenized.tokens.period or value.shape[-1] >= SHORT:
        return normalise(value)
    whole = value.unflatten(1, (tokenized.tokens.rows, -1))
    return normalise(whole.flatten(2)).unflatten(2, whole.shape[2:]).flatten(1, 2)


def normalise(patch: Float[Tensor, "batch token time"]) -> Float[Tensor, "batch token time"]:
    """Mean 0 and variance 1 in each patch alone (He et al. 2022, §4.1, the better target)."""
    centred = patch - patch.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
