"""Sources: any number of sensors become a fixed number of latent sources, by attention over where and what the sensors are.

As BrainOmni's sensor encoder (Xiao et al. 2025, arXiv:2505.18185, §3.2) latent queries attend to sensors by position,
orientation and kind. Here attention is by geometry alone and the mixing linear in the signal, so that a source has a waveform
and a decoder can be asked for any sensor at any place; and a sensor's gain is linear in its orientation, as the physics is
(Hämäläinen et al. 1993, eq. 24), so that turning a gradiometer round turns its sign.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.layers.groups import without_padding
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.position import PositionFeatures
from brainfm.layers.sensor import ROOM
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized

AXES = 4
"""A potential has one gain; a field along a direction has three, of which the direction makes one."""
FEWEST = 3
"""Sensors that are always seen while others are left out."""


class Sources(Tokenizer):
    """`sources` latent waveforms per window. While it trains, some sensors are left out and must be told from the others."""

    reads = ("eeg", "meg")
    decodes = True

    sources: int = Field(default=16, ge=1)
    heads: int = Field(default=4, ge=1, description="ways in which one source attends to the sensors")
    hidden: int = Field(default=64, ge=4, description="width of what is known of a sensor")

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return tuple(f"source {row + 1}" for row in range(self.sources))

    def build(self, width: int, modality: int) -> "SourcesTokenizer":
        return SourcesTokenizer(self, width, modality)


class SourcesTokenizer(nn.Module):
    """`Batch -> Tokenized`, source after source, each in order of time; `decode` goes back to any sensors."""

    def __init__(self, part: Sources, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.taught = False
        """Whether its sources are a codec's, which don't change any more."""
        self.geometry = Geometry(part.hidden)
        self.query = nn.Parameter(torch.randn(part.sources, part.heads, part.hidden))
        self.key = nn.Linear(part.hidden, part.heads * part.hidden, bias=False)
        self.gain = nn.Linear(part.hidden, part.sources * part.heads * AXES)
        self.back = nn.Sequential(
            nn.Linear(part.hidden, 2 * part.hidden),
            nn.GELU(),
            nn.Linear(2 * part.hidden, part.sources * AXES),
        )
        self.embed = nn.Linear(part.times, width)
        self.name = nn.Parameter(torch.randn(part.sources, width) / math.sqrt(width))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        losses = {}
        seen = batch
        if generator is not None and not self.taught:
            seen, asked = leave_out(without_padding(batch), generator)
            losses["sources"] = relative_error(self.decode(self.encode(seen), asked), asked)
        patches = patches_of(seen, self.part.times, self.part.sfreq)
        waves = self.mix(seen) @ patches.flatten(2)
        waves = waves.unflatten(-1, patches.shape[2:])
        nameless = batch.region.new_zeros(batch.region.shape[0], self.part.sources)
        place = waves.new_zeros(*nameless.shape, 3)
        rows = Rows.all_there(place, nameless.bool(), nameless, self.name.expand(nameless.shape[0], -1, -1))
        said = self.embed(waves)
        return tokenized(batch, rows, said, waves.detach(), self.part.seconds, self.modality, losses)

    def take(self, other: "SourcesTokenizer") -> None:
        """Have another's sources from now on: what it codes are then these. Only what is made of them goes on learning."""
        mixing = ("geometry", "query", "key", "gain", "back")
        theirs = {name: value for name, value in other.state_dict().items() if name.startswith(mixing)}
        self.load_state_dict(theirs, strict=False)
        for name, weight in self.named_parameters():
            weight.requires_grad_(not name.startswith(mixing))
        self.taught = True

    def encode(self, batch: Batch) -> Float[Tensor, "batch source time"]:
        """The sources' waveforms, in the sensors' scale."""
        return self.mix(batch) @ batch.signal

    def mix(self, batch: Batch) -> Float[Tensor, "batch source sensor"]:
        """How much of each sensor is in each source: attention by geometry, times a gain that follows the orientation."""
        known = self.geometry(batch)
        key = self.key(known).unflatten(-1, (self.part.heads, -1))
        weight = torch.einsum("khd,bshd->bkhs", self.query, key) / math.sqrt(self.part.hidden)
        weight = weight.masked_fill(~batch.valid[:, None, None, :], -torch.inf).softmax(dim=-1)
        gain = self.gain(known).unflatten(-1, (self.part.sources, self.part.heads, AXES))
        signed = torch.einsum("bskha,bsa->bkhs", gain, directions(batch))
        return (weight * signed).sum(dim=2)

    def decode(
        self, waves: Float[Tensor, "batch source time"], asked: Batch
    ) -> Float[Tensor, "batch sensor time"]:
        """What the sensors of `asked` (their signal is not looked at) would measure of these sources."""
        gain = self.back(self.geometry(asked)).unflatten(-1, (self.part.sources, AXES))
        return torch.einsum("bska,bsa->bsk", gain, directions(asked)) @ waves


class Geometry(nn.Module):
    """Where a sensor is and of what kind, not its orientation: that enters linearly, later."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.where = PositionFeatures(hidden)
        self.kind = nn.Parameter(torch.randn(ROOM, hidden) / math.sqrt(hidden))
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden)
        )

    def forward(self, batch: Batch) -> Float[Tensor, "batch sensor hidden"]:
        return self.mlp(self.where(batch) + self.kind[batch.kind])


def directions(batch: Batch) -> Float[Tensor, "batch sensor 4"]:
    """(1, 0, 0, 0) for a sensor without orientation, (0, x, y, z) for one that has it."""
    size = batch.orientation.norm(dim=-1, keepdim=True)
    return torch.cat([1 - size.clamp(max=1), batch.orientation], dim=-1)


def leave_out(batch: Batch, generator: torch.Generator) -> tuple[Batch, Batch]:
    """The same windows with a random quarter to three quarters of the sensors, at least `FEWEST`, and with the others.

    With fewer sensors than that all are shown and all asked for.
    """
    sensors = batch.signal.shape[1]
    order = torch.randperm(sensors, generator=generator).to(batch.signal.device)
    share = 0.25 + 0.5 * float(torch.rand((), generator=generator))
    shown = max(FEWEST, round(share * sensors))
    if shown >= sensors:
        return batch, batch
    return batch.sensors(order[:shown]), batch.sensors(order[shown:])


def relative_error(told: Float[Tensor, "batch sensor time"], asked: Batch) -> Float[Tensor, ""]:
    """Mean squared error over the power, so that quiet and loud windows weigh alike."""
    power = asked.signal.square().mean(dim=(1, 2), keepdim=True) + 1e-6
    return F.mse_loss(told.float() / power.sqrt(), asked.signal / power.sqrt())
