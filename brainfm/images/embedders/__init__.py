"""Image embedders: one file each, pictures to tokens, a vector and maps, by a frozen network."""

import torch
from pydantic import Field

from brainfm.images.frozen import FrozenEmbedder
from brainfm.part import Part


class ImageEmbedder(Part):
    """A network that sees pictures, with published weights, or built small from its settings.

    Without `weights` its features are random until `brainfm.images.small` trains it, and its `id` says so.
    """

    weights: str | None = Field(
        default=None, description="a folder or a name on the Hub; none: from a config"
    )

    def build(self, generator: torch.Generator | None = None) -> FrozenEmbedder:
        """The frozen network. `generator` draws first weights where none are published; it is asked for only then."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def asked(generator: torch.Generator | None) -> torch.Generator:
    """The generator that first weights are drawn from; seed 0 where a recipe's embedder must be the same everywhere."""
    return torch.Generator().manual_seed(0) if generator is None else generator
