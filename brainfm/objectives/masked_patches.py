"""Masked patches: the encoder sees some tokens, a light decoder says what the others held (He et al. 2022, arXiv:2111.06377)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.layers.decoder import Decoder
from brainfm.layers.summary import Summary
from brainfm.objectives import Loss, Objective, Shapes, mean_parts
from brainfm.tokens import Tokenized, Tokens, join
from brainfm.view import Piece, View, counted, mean_over_windows, taken

SHORT = 16
"""Samples from which on a patch has a shape of its own, and a spectrum."""
ERRORS = {"squared": F.mse_loss, "absolute": F.l1_loss, "smooth": F.smooth_l1_loss}
"""How far told samples are from true ones; `smooth` is squared below 1 and absolute above."""


class MaskedPatches(Objective):
    """Hidden patches at mean 0 and variance 1 (`patches_wanted`): their error, and the spectrum's beside or instead.

    The squared error is He et al.'s and CBraMod's, the absolute one REVE's, the smooth one DeeperBrain's; the three tell the
    signal as it is scaled (`normalised: false`), in which a loud patch weighs more.

    `amplitude` and `phase` are those of the patch's Fourier transform (LaBraM's first stage has both, Jiang et al. 2024, eq. 5);
    patches shorter than `SHORT` have none. With `summary` the same patches are told a second time, from one vector that a
    learned query makes of all that was seen: pooled features must then hold them, too (REVE's global token, at 0.1).
    """

    decoder_depth: int = Field(default=2, ge=1)
    error: Literal["squared", "absolute", "smooth"] = "squared"
    normalised: bool = Field(
        default=True, description="whether each patch is told at mean 0 and variance 1, else as it is scaled"
    )
    raw: float = Field(default=1.0, ge=0, description="weight of the patch itself")
    amplitude: float = Field(default=0.0, ge=0, description="weight of the logarithms of its amplitudes")
    phase: float = Field(default=0.0, ge=0, description="weight of its phases")
    summary: float = Field(
        default=0.0, ge=0, description="weight of telling the patch from one vector of the window alone"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> "MaskedPatches":
        if not self.raw + self.amplitude + self.phase + self.summary:
            raise ValueError("raw, amplitude, phase and summary all weigh nothing; give one a weight")
        return self

    def build(self, shapes: Shapes) -> "MaskedPatchLoss":
        return MaskedPatchLoss(self, shapes)


class MaskedPatchLoss(nn.Module):
    """The decoder and a linear map for each modality and part; the encoder is passed in with the view."""

    def __init__(self, part: MaskedPatches, shapes: Shapes) -> None:
        super().__init__()
        self.part = part
        self.decoder = Decoder(shapes.width, part.decoder_depth, shapes.where, shapes.when)
        long = {modality: samples // 2 for modality, samples in shapes.patches.items() if samples >= SHORT}
        self.predict = linears(shapes.width, dict(shapes.patches) if part.raw else {})
        self.amplitude = linears(shapes.width, long if part.amplitude else {})
        self.phase = linears(
            shapes.width, {name: 2 * bins for name, bins in long.items()} if part.phase else {}
        )
        self.weights = {
            "patches": part.raw,
            "amplitude": part.amplitude,
            "phase": part.phase,
            "summary": part.summary,
        }
        if part.summary:
            self.summary = Summary(shapes.width)
            self.from_summary = Decoder(shapes.width, 1, shapes.where, shapes.when)
            self.predict_from_summary = linears(shapes.width, dict(shapes.patches))

    def forward(self, view: View) -> Loss:
        seen = join(view.seen)
        asked = [piece for piece in view.pieces if piece.hidden.hidden.shape[1]]
        parts = mean_parts(self.errors(piece, seen) for piece in asked)
        return Loss(parts, {name: self.weights[name] for name in parts})

    def errors(self, piece: Piece, seen: Tokens) -> dict[str, Float[Tensor, ""]]:
        """How far what is told of an instrument's hidden patches is from what they held, part by part."""
        shown = patches_wanted(piece.tokenized, piece.modality, self.part.normalised)
        wanted = taken(shown, piece.hidden.hidden).detach()
        told = self.decoder(seen, piece.asked)
        there = counted(piece.asked)
        found: dict[str, Tensor] = {}
        if piece.modality in self.predict:
            found["patches"] = self.apart(self.predict[piece.modality](told), wanted, there)
        if self.part.summary:
            once = self.from_summary(self.summary(seen), piece.asked)
            found["summary"] = self.apart(self.predict_from_summary[piece.modality](once), wanted, there)
        if piece.modality in self.amplitude:
            error = self.amplitude[piece.modality](told).float() - spectrum(wanted).abs().log1p()
            found["amplitude"] = mean_over_windows(error.square(), there)
        if piece.modality in self.phase:
            apart = phases_apart(self.phase[piece.modality](told).float(), spectrum(wanted))
            found["phase"] = mean_over_windows(apart.unsqueeze(-1), there)
        return found

    def apart(self, told: Tensor, wanted: Tensor, there: Tensor | None) -> Float[Tensor, ""]:
        """The error of patches."""
        return mean_over_windows(ERRORS[self.part.error](told.float(), wanted, reduction="none"), there)

    def decode(self, modality: str, seen: Tokens, asked: Tokens) -> Float[Tensor, "batch hidden time"]:
        """Patches as the objective wants them, where `asked` is, from what was seen; `raw` must have a weight."""
        told: Tensor = self.predict[modality](self.decoder(seen, asked))
        return told


def linears(width: int, outputs: dict[str, int]) -> nn.ModuleDict:
    """A linear map of its own for each modality."""
    return nn.ModuleDict({modality: nn.Linear(width, count) for modality, count in outputs.items()})


def spectrum(patch: Float[Tensor, "batch token time"]) -> Tensor:
    """(batch, token, frequency) the Fourier transform of each patch, its mean left out; white noise has power 1 throughout.

    No window is laid over the patch: one of a quarter of a second would be left half its length.
    """
    return torch.fft.rfft(patch, norm="ortho")[..., 1:]


def phases_apart(told: Float[Tensor, "batch token both"], wanted: Tensor) -> Float[Tensor, "batch token"]:
    """1 less the cosine of what lies between the phase that is told and that of `wanted`, as loud as its frequency is.

    `told` holds the real, then the imaginary parts, of any length: only their direction counts. A phase has no edge so, and that
    of a silent frequency, which is noise, weighs nothing (as `layers.apart.phase`). Saying nothing costs 1.
    """
    real, imaginary = told.chunk(2, dim=-1)
    loud, length = wanted.abs(), (real.square() + imaginary.square() + 1e-12).sqrt()
    same = (real * wanted.real + imaginary * wanted.imag) / length  # the cosine, times how loud it is
    total = loud.sum(dim=-1).clamp(min=1e-6)
    return (loud.sum(dim=-1) - same.sum(dim=-1)) / total


def patches_wanted(
    tokenized: Tokenized, modality: str, normalised: bool = True
) -> Float[Tensor, "batch token time"]:
    """What the decoder is to tell, at mean 0 and variance 1: patch by patch, or over each row where patches are `SHORT`.

    Two volumes of fMRI normalised alone are a sign, and ten bins of a neuron no longer say how often it fired. A target with
    its `level` is told as it is: a place on a track is nothing else.
    """
    target = tokenized.targets[modality]
    value = target.value.float()
    if target.level or not normalised:
        return value
    if not tokenized.tokens.period or value.shape[-1] >= SHORT:
        return normalise(value)
    whole = value.unflatten(1, (tokenized.tokens.rows, -1))
    return normalise(whole.flatten(2)).unflatten(2, whole.shape[2:]).flatten(1, 2)


def normalise(patch: Float[Tensor, "batch token time"]) -> Float[Tensor, "batch token time"]:
    """Mean 0 and variance 1 in each patch alone (He et al. 2022, §4.1, the better target)."""
    centred = patch - patch.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
