"""Named patches: patches of sensors that are known by their names, since no place tells them apart."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.batch import Batch
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokenizers.patch import Patch, PatchTokenizer
from brainfm.tokens import Tokenized


class NamedPatch(Patch):
    """`patch` with a vector for each sensor under its name: for behaviour, and for fields whose places are not known.

    A name means what `data.modalities.owner` says: Cz and `velocity.x` are everyone's, a contact is one person's. One that was
    never met is an average one. `told` says what of a hidden patch is to be told: its `shape`, at mean 0 and variance 1 as
    fields are, or its `level` as well, where that is what matters (a place, a speed).
    """

    reads = (*Tokenizer.reads, "behaviour")

    told: Literal["shape", "level"] = "shape"

    def build(self, width: int, modality: int) -> "NamedPatchTokenizer":
        return NamedPatchTokenizer(self, width, modality)


class NamedPatchTokenizer(PatchTokenizer, Knowing):
    """`Batch -> Tokenized`, sensor after sensor, each in order of time."""

    def __init__(self, part: NamedPatch, width: int, modality: int) -> None:
        super().__init__(part, width, modality)
        self.level = part.told == "level"
        self.vocabulary = Vocabulary(width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        made = super().forward(batch, generator)
        target = replace(made.targets[batch.modality], level=self.level)
        return replace(made, targets={batch.modality: target})

    def who(self, batch: Batch) -> Float[Tensor, "batch sensor width"]:
        return super().who(batch) + self.vocabulary(batch.identity)
