"""Oscillations and decays: slow waves of the time since the window began, and how much of it has passed."""

import math

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.moments import Moment
from brainfm.tokens import Tokens


class Oscillations(Moment):
    """[sin 2πf_k t, cos 2πf_k t] ⊕ [exp(−t / τ_m)] through a linear map (DeeperBrain, arXiv:2601.06134, temporal encoding).

    The paper has frequencies of slow envelopes, 0.01 to 0.5 Hz, and decays over 1 to 100 s. How many, how spaced and whether
    they are learnt is not known: here they are fixed and log-spaced. The decays tell how long ago the window began, which means
    something in a trial and nothing in a stretch of rest.
    """

    waves: int = Field(default=16, ge=1)
    slowest: float = Field(default=0.01, gt=0, description="hertz")
    fastest: float = Field(default=0.5, gt=0, description="hertz")
    decays: int = Field(default=8, ge=1)
    shortest: float = Field(default=1.0, gt=0, description="seconds")
    longest: float = Field(default=100.0, gt=0, description="seconds")
    rotary: bool = Field(default=False, description="whether attention turns with time, too")

    @model_validator(mode="after")
    def _rise(self) -> "Oscillations":
        if self.slowest > self.fastest or self.shortest > self.longest:
            raise ValueError("slowest to fastest and shortest to longest must rise")
        return self

    @property
    def turns(self) -> bool:
        return self.rotary

    def build(self, width: int) -> "OscillationsMoment":
        return OscillationsMoment(self, width)


class OscillationsMoment(nn.Module):
    """`Tokens -> (batch, token, width)`."""

    def __init__(self, part: Oscillations, width: int) -> None:
        super().__init__()
        self.part = part
        self.project = nn.Linear(2 * part.waves + part.decays, width)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        code: Tensor = self.project(self.bases(tokens.time))
        return code

    def bases(self, time: Float[Tensor, "batch token"]) -> Float[Tensor, "batch token basis"]:
        """Sines, cosines and decays of a time in seconds."""
        part, time = self.part, time.unsqueeze(-1)
        angle = 2 * math.pi * spaced(part.slowest, part.fastest, part.waves, time) * time
        passed = time / spaced(part.shortest, part.longest, part.decays, time)
        return torch.cat([angle.sin(), angle.cos(), (-passed).exp()], dim=-1)


def spaced(first: float, last: float, count: int, like: Tensor) -> Float[Tensor, " count"]:
    """Numbers in equal steps of their logarithm, on the device of another tensor, where nothing has to wait for them."""
    return torch.logspace(math.log10(first), math.log10(last), count, dtype=like.dtype, device=like.device)
