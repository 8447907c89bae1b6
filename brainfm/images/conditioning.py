"""All that a picture can be conditioned on, in one value: what the brain side gives and the generator takes."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.errors import DataError

Guide = Callable[[Tensor], Tensor]
"""Pictures (batch, 3, height, width) to how much each has of what is wanted, (batch,)."""


@dataclass(frozen=True)
class Conditioning:
    """Whatever is None does not take part; `Conditioning()` asks for any picture."""

    tokens: Float[Tensor, "batch token width"] | None = None
    """What the UNet attends to (`encoder_hidden_states`)."""
    vector: Float[Tensor, "batch feature"] | None = None
    """What is added to the time embedding: a class projection's input or, for `text_time`, the text part and then the numbers
    (SDXL's sizes and crops)."""
    control: Float[Tensor, "batch channel high wide"] | None = None
    """A map at the size of the latents, read by the control branch."""
    control_strength: float = 1.0
    guide: Guide | None = None
    """Its gradient leads the sampling, by `guide_strength`; it must not mix the pictures of a batch."""
    guide_strength: float = 0.0
    start: Float[Tensor, "batch 3 _ _"] | None = None
    """A picture to begin from instead of noise (img2img)."""
    start_at: float = 0.0
    """Share of the steps that are skipped with a `start`, from 0 (noise alone, nearly) to 1 (the picture itself)."""

    def __post_init__(self) -> None:
        counts = {name: len(value) for name, value in self.tensors.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"a conditioning is of one batch, not of {counts}")
        if not 0 <= self.start_at <= 1:
            raise DataError(f"start_at is a share of the steps from 0 to 1, not {self.start_at}")

    @property
    def tensors(self) -> dict[str, Any]:
        """What has a row for each picture, by name."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    @property
    def count(self) -> int | None:
        """Pictures asked for; None where nothing says so."""
        return next((len(value) for value in self.tensors.values()), None)

    def __getitem__(self, rows: slice | Tensor) -> "Conditioning":
        """Some of the pictures."""
        return replace(self, **{name: value[rows] for name, value in self.tensors.items()})

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Conditioning":
        """The same on a device, in a precision."""
        return replace(self, **{name: value.to(device, dtype) for name, value in self.tensors.items()})
