"""Regions: contacts or voxels in the place of their channel, parcel or lobe, each with its own token or all with one.

BaRISTA codes a channel's place at one of three scales (Oganesian et al. 2025, §3.2), Du-IN makes one token of all the channels
of a region (Zheng et al. 2024, arXiv:2405.11459, §2.1). Both are the same choice of what belongs together.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brainfm.batch import Batch, number_of
from brainfm.data.lobes import lobe_of
from brainfm.data.recording import Sensors
from brainfm.layers.embedding import Embed, embedding
from brainfm.layers.groups import (
    first_of,
    group_mean,
    group_softmax,
    group_sum,
    groups_of,
    places_of,
    without_padding,
)
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.sensor import SensorFeatures
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized

Scale = Literal["channel", "parcel", "lobe"]


class Regions(Tokenizer):
    """Patches of `seconds` whose place is known at `scale`.

    With `merge` the sensors of one place make one token, weighed by an attention that the signal decides; without, each
    keeps its own and shares the place alone. A sensor without a label at that scale is a place of its own.
    """

    reads = ("seeg", "fmri")

    scale: Scale = "parcel"
    merge: bool = True
    embed: Embed = "linear"

    @property
    def merges(self) -> bool:
        """Whether a token may stand for several sensors; a channel has nothing to be merged with."""
        return self.merge and self.scale != "channel"

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        if not self.merges:
            return super().rows(sensors, owner)
        word = lobe_of if self.scale == "lobe" else str
        places = {
            word(region) or f"{owner}/{name}"
            for name, region in zip(sensors.name, sensors.region, strict=True)
        }
        return tuple(sorted(places, key=number_of))

    def build(self, width: int, modality: int) -> "RegionsTokenizer":
        return RegionsTokenizer(self, width, modality)


class RegionsTokenizer(Knowing):
    """`Batch -> Tokenized`, place after place (or sensor after sensor), each in order of time."""

    def __init__(self, part: Regions, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.embed = embedding(part.embed, part.times, width)
        self.sensor = SensorFeatures(width)
        self.vocabulary = Vocabulary(width)
        if part.merges:
            self.weigh = nn.Linear(width, 1, bias=False)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        batch = without_padding(batch)
        named = self.identities(batch)
        group, label = groups_of(torch.where(named == 0, batch.identity, named), batch.modality)
        position, located = places_of(batch, group, len(label))
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        sensor = self.sensor(batch.kind, batch.orientation)
        if self.part.merges:
            grid, patches = self.merged(patches, sensor, group, len(label))
            sensor = group_mean(sensor, group, len(label))
            named = torch.where(torch.isin(label, named[0]), label, 0).expand(batch.signal.shape[0], -1)
            region, lobe = named, batch.lobe[:, first_of(group, len(label))]
        else:
            grid, position, located = self.embed(patches), position[:, group], located[:, group]
            region, lobe = batch.region, batch.lobe  # whatever the scale: masks may ask for another
        who = sensor + self.vocabulary(named) * (named != 0).unsqueeze(-1)
        rows = Rows.all_there(position, located, region, who, self.part.merges, lobe)
        return tokenized(batch, rows, grid, patches, self.part.seconds, self.modality)

    def merged(
        self,
        patches: Float[Tensor, "batch sensor patch time"],
        sensor: Float[Tensor, "batch sensor width"],
        group: Int[Tensor, " sensor"],
        count: int,
    ) -> tuple[Float[Tensor, "batch group patch width"], Float[Tensor, "batch group patch time"]]:
        """One embedding for each place and patch, weighed by what the sensors say, and the mean patch that it stands for."""
        said = self.embed(patches)
        weight = self.weigh(said + sensor.unsqueeze(2)).squeeze(-1)
        weight = group_softmax(weight, group, count).unsqueeze(-1)
        mean = group_mean(patches.flatten(2), group, count).unflatten(-1, patches.shape[2:])
        return group_sum(weight * said, group, count), mean

    def identities(self, batch: Batch) -> Int[Tensor, "batch sensor"]:
        """The label of each sensor at the scale; 0 for none, as for single channels, which have a position and no more."""
        return {
            "channel": torch.zeros_like(batch.region),
            "parcel": batch.region,
            "lobe": batch.lobe,
        }[self.part.scale]
