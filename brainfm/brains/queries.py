"""Brain tokens of any tokenizer, read by latent queries: one network for all people (`brainfm.brain_features`)."""

from collections.abc import Mapping

from pydantic import Field, SerializeAsAny

from brainfm.brain_features import BrainFeatures, BrainToFeatures, FeatureShape
from brainfm.brains import Brain
from brainfm.tokenizers import Tokenizer


class Queries(Brain):
    """Brain-IT's Brain Interaction Transformer with `voxel_clusters`; any other tokenizer of fMRI does as well."""

    tokenizer: SerializeAsAny[Tokenizer]
    width: int = Field(ge=4)
    depth: int = Field(ge=1, description="pairs of a block of the brain's tokens and one of the queries")
    heads: int | None = Field(default=None, ge=1)
    voxels: int | None = Field(default=15_000, ge=1, description="drawn for a step of training; None: all")

    def build(self, shapes: Mapping[str, FeatureShape], seed: int) -> BrainFeatures:
        return BrainToFeatures(
            tokenizer=self.tokenizer,
            targets=dict(shapes),
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            voxels=self.voxels,
        ).build(seed)
