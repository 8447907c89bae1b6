"""Latent prediction: what was seen tells what the encoder makes of the hidden tokens, not what these held.

With a teacher, a running mean of the weights, as in BYOL (Grill et al. 2020), data2vec (Baevski et al. 2022, §3) and I-JEPA
(Assran et al. 2023, §3); without, LeJEPA (Balestriero & LeCun 2025, arXiv:2511.08544), as Laya has it for EEG. The teacher's
tokens before its encoder and before anything says where they are (BaRISTA, Oganesian et al. 2025, arXiv:2512.12135, §3.3) are
a target that no place and no time tells.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.chance import Chance
from brainfm.gathering import Others
from brainfm.layers.decoder import Decoder
from brainfm.layers.gaussian import far_from_gaussian
from brainfm.masks import shortest
from brainfm.objectives import Loss, Objective, Shapes
from brainfm.tokens import Tokens, join
from brainfm.view import View, counted, mean_over_windows, numbers, taken

LOOKED_AT = 32
"""Tokens of a window by which it is judged whether latents are Gaussian, the same in all windows of a step."""


class LatentPrediction(Objective):
    """Smooth L1 between what a light decoder says of hidden tokens and what a network that sees all makes of them.

    With `teacher: average` that network is the running mean of the weights (`train.average`), its latents are
    `normalised`, and no gradient passes. `of: tokens` takes what its tokenizer alone makes of the signal of each hidden token,
    without what is known of the token beforehand. With `teacher: none` it is the network itself, gradient and all, and its
    tokens are kept from becoming one vector by being made Gaussian (`layers.gaussian`).
    """

    teacher: Literal["average", "none"] = "average"
    of: Literal["encoder", "tokens"] = "encoder"
    error: Literal["smooth_l1", "squared"] = "smooth_l1"
    decoder_depth: int = Field(default=2, ge=1)
    gaussian: float = Field(default=10.0, gt=0, description="weight of being Gaussian, without a teacher")
    directions: int = Field(
        default=256, ge=1, description="along which that is looked at, drawn in every step"
    )

    @property
    def needs_teacher(self) -> bool:
        return self.teacher == "average"

    @model_validator(mode="after")
    def _tokens_are_taught(self) -> "LatentPrediction":
        if self.of == "tokens" and self.teacher == "none":
            raise ValueError(
                "of: tokens needs a teacher; without one a tokenizer that says nothing is told best of all"
            )
        return self

    def build(self, shapes: Shapes) -> "LatentPredictionLoss":
        return LatentPredictionLoss(self, shapes)


class LatentPredictionLoss(nn.Module):
    """The decoder, one for all modalities: latents are of one kind."""

    def __init__(self, part: LatentPrediction, shapes: Shapes) -> None:
        super().__init__()
        self.part = part
        self.decoder = Decoder(shapes.width, part.decoder_depth, shapes.where, shapes.when)
        self.predict = nn.Linear(shapes.width, shapes.width)

    def forward(self, view: View) -> Loss:
        seen = join(view.seen)
        wanted = self.taught(view) if self.part.needs_teacher else [one.embedding for one in view.whole]
        errors = []
        for piece, latent in zip(view.pieces, wanted, strict=True):
            if piece.hidden.hidden.shape[1]:
                hidden = taken(latent, piece.hidden.hidden)
                told = self.predict(self.decoder(seen, piece.asked)).float()
                apart = F.smooth_l1_loss if self.part.error == "smooth_l1" else F.mse_loss
                error = apart(told, hidden.float(), reduction="none")
                errors.append(mean_over_windows(error, counted(piece.asked)))
        parts = {"latents": torch.stack(errors).mean()}
        if self.part.needs_teacher:
            return Loss(parts, {"latents": 1.0})
        parts["gaussian"] = self.spread(view)
        return Loss(parts, {"latents": 1.0, "gaussian": self.part.gaussian})

    @torch.no_grad()
    def taught(self, view: View) -> list[Float[Tensor, "batch token width"]]:
        """What the teacher makes of the whole windows, each instrument by itself."""
        if self.part.of == "tokens":
            assert view.teacher_tokens is not None
            return [normalised(signal_alone(view.teacher_tokens(piece.batch))) for piece in view.pieces]
        assert view.teacher is not None  # the recipe keeps a mean of the weights, or was refused
        return [normalised(view.teacher(piece.batch)) for piece in view.pieces]

    def spread(self, view: View) -> Float[Tensor, ""]:
        """How far the windows of the step are from Gaussian, token by token, the mean over tokens and instruments.

        Over tokens and windows together, a latent that says where and when it is and nothing else is Gaussian, and the best told
        of all: the network finds it (LOG, 2026-11-26). A token of one place and time must differ from window to window. Of
        events, the tokens of one number are compared.
        """
        others = Others.of(numbers(view))
        width = view.whole[0].embedding.shape[-1]
        directions = torch.randn(width, self.part.directions, generator=view.chance.shared)
        found = [far_from_gaussian(others.gathered(some(one, view.chance)), directions) for one in view.whole]
        return torch.stack(found).mean()


def signal_alone(tokens: Tokens) -> Tokens:
    """Tokens of a tokenizer without what is known of them before their signal is seen, which it has added."""
    if tokens.who is None:
        return tokens
    return tokens.with_embedding(tokens.embedding - tokens.who.to(tokens.embedding.dtype))


def normalised(tokens: Tokens) -> Float[Tensor, "batch token width"]:
    """What tokens say, each feature at mean 0 and variance 1 over the window's tokens (Baevski et al. 2022, §3.3, for speech).

    What all tokens of a window share is no target then. Normalised token by token instead, latents nearly became one: a tenth
    of their power told tokens apart, against three quarters (LOG, 2026-11-26).
    """
    there = tokens.valid.unsqueeze(-1).float()
    count = there.sum(dim=1, keepdim=True).clamp(min=1)
    value = tokens.embedding.float()
    centred = (value - (value * there).sum(dim=1, keepdim=True) / count) * there
    return centred / (centred.square().sum(dim=1, keepdim=True) / count + 1e-5).sqrt()


def some(tokens: Tokens, chance: Chance) -> Float[Tensor, "batch few width"]:
    """The same `LOOKED_AT` random tokens of every window, none of them padding.

    Shares of the shortest window are drawn, so that processes whose events are padded otherwise look at as many.
    """
    which = (torch.rand(LOOKED_AT, generator=chance.shared) * shortest(tokens)).long()
    return tokens.embedding[:, which.to(tokens.embedding.device)]
