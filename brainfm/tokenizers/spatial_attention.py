"""Spatial attention: any sensors become the same number of channels by where they are, and all channels of a moment one token.

Défossez et al. 2023 (Decoding speech perception from non-invasive brain recordings, Nat. Mach. Intell. 5, arXiv:2208.12266,
§2.3): learned queries in the space of waves over a flat map of the head weigh the sensors, whatever they measure; one
convolution of width 1 mixes the channels. A subject's own map of the channels is the decoder's (`layers.subjects`).
"""

import math
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.recording import Sensors
from brainfm.layers.flat import Waves, flat, outside
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class SpatialAttention(Tokenizer):
    """A token is a stretch of `seconds` of all `channels`, published as one sample of 270; a window has one row of them.

    While it trains, sensors within `dropout` of a point of the map, which is 1 wide, are not listened to. Sensors without a
    place are not either, unless none has one.
    """

    reads = ("eeg", "meg", "seeg")
    drops: ClassVar[bool] = True

    channels: int = Field(default=270, ge=1)
    waves: int = Field(default=32, ge=1, description="frequencies of the map in each direction")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="radius; 0: none")

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return ("head",)

    def build(self, width: int, modality: int) -> "SpatialAttentionTokenizer":
        return SpatialAttentionTokenizer(self, width, modality)


class SpatialAttentionTokenizer(nn.Module):
    """`Batch -> Tokenized`, one row in order of time.

    What its tokens stand for is how strong the field is: the standard deviation over sensors at every moment (global field
    power; Lehmann & Skrandies 1980), which needs no reference and no montage.
    """

    def __init__(self, part: SpatialAttention, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.map = Waves(part.waves)
        self.query = nn.Parameter(
            torch.randn(part.channels, self.map.features) / math.sqrt(self.map.features)
        )
        self.embed = nn.Linear(part.channels * part.times, width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        channels = self.weights(batch, generator) @ batch.signal
        said = self.embed(channels.unflatten(-1, (-1, self.part.times)).movedim(2, 1).flatten(2))
        nowhere = batch.region.new_zeros(len(batch), 1)
        place = said.new_zeros(len(batch), 1, 3)
        who = said.new_zeros(len(batch), 1, said.shape[-1])
        rows = Rows.all_there(place, nowhere.bool(), nowhere, who)
        field = strength(patches, batch.valid)
        return tokenized(batch, rows, said.unsqueeze(1), field, self.part.seconds, self.modality)

    def weights(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channel sensor"]:
        """How much of each sensor is in each channel; the weights of a channel sum to 1."""
        place = flat(batch.position)
        heard = batch.valid & batch.located
        if generator is not None and self.part.dropout:
            heard = or_else(heard & outside(place, self.part.dropout, generator), heard)
        heard = or_else(heard, batch.valid)
        score = self.query @ self.map(place).transpose(1, 2)
        return score.masked_fill(~heard.unsqueeze(1), -torch.inf).softmax(dim=-1)


def or_else(
    some: Bool[Tensor, "batch sensor"], others: Bool[Tensor, "batch sensor"]
) -> Bool[Tensor, "batch sensor"]:
    """Some sensors, or the others in windows that have none of those."""
    return torch.where(some.any(dim=1, keepdim=True), some, others)


def strength(
    patches: Float[Tensor, "batch sensor patch time"], valid: Bool[Tensor, "batch sensor"]
) -> Float[Tensor, "batch 1 patch time"]:
    """The standard deviation over the sensors that are there."""
    weight = valid.to(patches.dtype)[..., None, None]
    count = weight.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (patches * weight).sum(dim=1, keepdim=True) / count
    return (((patches - mean).square() * weight).sum(dim=1, keepdim=True) / count).sqrt()
