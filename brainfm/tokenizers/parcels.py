"""Parcels: the mean of the voxels of each region, a stretch of time a token (as BrainLM and Brain-JEPA have it)."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from brainfm.batch import KINDS, Batch, number_of
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.layers.groups import group_mean, groups_of, places_of, without_padding
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class Parcels(Tokenizer):
    """One token for each region and `seconds`. Voxels and vertices are averaged by their region; parcels are regions already.

    A region has a learned vector under its name, the same in every person and every dataset that uses the name. Voxels in
    no region are in no token.
    """

    reads = ("fmri",)

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        named = zip(sensors.name, sensors.kind, sensors.region, strict=True)
        parcels = {region or f"{owner}/{name}" for name, kind, region in named if region or kind == "parcel"}
        return tuple(sorted(parcels, key=number_of))

    def build(self, width: int, modality: int) -> "ParcelsTokenizer":
        return ParcelsTokenizer(self, width, modality)


class ParcelsTokenizer(Knowing):
    """`Batch -> Tokenized`, region after region, each in order of time."""

    def __init__(self, part: Parcels, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.embed = nn.Linear(part.times, width)
        self.vocabulary = Vocabulary(width)

    def identities(self, batch: Batch) -> Int[Tensor, "batch sensor"]:
        """The region of each sensor; a parcel without one is its own."""
        parcel = batch.kind == KINDS.index("parcel")
        return torch.where(parcel & (batch.region == 0), batch.identity, batch.region)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        batch = without_padding(batch)
        group, label = groups_of(self.identities(batch), batch.modality)
        if not len(label):
            raise DataError(
                f"no {batch.modality} sensor has a region, and parcels are made of them; give the reader an atlas"
            )
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        mean = group_mean(patches.flatten(2), group, len(label)).unflatten(-1, patches.shape[2:])
        region = label.expand(batch.signal.shape[0], -1)
        position, located = places_of(batch, group, len(label))
        rows = Rows.all_there(position, located, region, self.vocabulary(region))
        return tokenized(batch, rows, self.embed(mean), mean, self.part.seconds, self.modality)
