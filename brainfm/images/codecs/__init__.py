"""Codecs: one file each, pictures to what a generator works on, and back."""

from typing import Any

import torch

from brainfm.part import Part


class Codec(Part):
    """What `build` gives has `encode` and `decode`, both with gradients, `channels` of what it encodes to, and `factor`, by how
    much smaller that is than the picture. Its weights never train."""

    @property
    def latent_channels(self) -> int:
        """Channels of what it encodes to."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def build(self, generator: torch.Generator) -> Any:
        """The frozen module; `generator` draws first weights where none are published."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
