"""Spike counts: how often each neuron fired in the bins of a stretch, one token for each neuron and stretch."""

from typing import Literal

import torch
from torch import nn

from brainfm.batch import Batch
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class SpikeCounts(Tokenizer):
    """Counts in bins of `1 / sfreq`, `seconds` of them a token, with what is known of the neuron.

    `root` evens out the variance, which for counts grows with the mean (Anscombe 1948). A neuron that was never met is an
    average one; a new recording adds neurons and leaves the old ones as they were.
    """

    reads = ("spikes",)

    scale: Literal["root", "counts"] = "root"

    def build(self, width: int, modality: int) -> "SpikeCountsTokenizer":
        return SpikeCountsTokenizer(self, width, modality)


class SpikeCountsTokenizer(Knowing):
    """`Batch -> Tokenized`, neuron after neuron, each in order of time."""

    def __init__(self, part: SpikeCounts, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.embed = nn.Linear(part.times, width)
        self.vocabulary = Vocabulary(width)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        if self.part.scale == "root":
            patches = (patches.clamp(min=0) + 3 / 8).sqrt() - (3 / 8) ** 0.5
        rows = Rows.of_sensors(batch, self.vocabulary(batch.identity))
        return tokenized(batch, rows, self.embed(patches), patches, self.part.seconds, self.modality)
