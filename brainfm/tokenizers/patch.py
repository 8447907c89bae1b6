"""Patches: each stretch of each sensor becomes one token, through a linear map or a few convolutions (`layers.embedding`)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.layers.embedding import Embed, embedding
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.sensor import SensorFeatures
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class Patch(Tokenizer):
    """Cut every sensor into patches of `seconds` and embed each alone, with the sensor's kind and orientation.

    Nothing is normalised across patches or sensors: a loud artefact on one electrode cannot change the token of another, as
    it does through LaBraM's and CBraMod's group norm.
    """

    embed: Embed = "linear"

    def build(self, width: int, modality: int) -> "PatchTokenizer":
        return PatchTokenizer(self, width, modality)


class PatchTokenizer(nn.Module):
    """`Batch -> Tokenized`, sensor after sensor, each in order of time."""

    def __init__(self, part: Patch, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.embed = embedding(part.embed, part.times, width)
        self.sensor = SensorFeatures(width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        rows = Rows.of_sensors(batch, self.who(batch))
        return tokenized(batch, rows, self.embed(patches), patches, self.part.seconds, self.modality)

    def who(self, batch: Batch) -> Float[Tensor, "batch sensor width"]:
        """What is known of each sensor beside its place."""
        return self.sensor(batch.kind, batch.orientation)
