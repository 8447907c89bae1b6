"""Codes of rows that are no sensors, judged by the sensors that they tell: BrainOmni's tokenizer (Xiao et al. 2025, §3.2).

Sensors become latent sources, the sources' patches codes; what the codes say goes back to any sensors asked for, those that were
not shown too. So the codes, and what mixes sensors into sources, learn together what a brain is, whatever measures it.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.batch import Batch
from brainfm.layers.apart import APART
from brainfm.layers.codebook import Quantised
from brainfm.layers.groups import without_padding
from brainfm.objectives import Loss
from brainfm.patch_codec import Level, PatchCodec, Rows
from brainfm.tokenizers.sources import FEWEST


@runtime_checkable
class Tells(Protocol):
    """The module of a tokenizer that `decodes`: sensors to the waveforms of its rows, and back to any sensors."""

    part: Any

    def encode(self, batch: Batch) -> Float[Tensor, "batch row time"]:
        """What each row is, in the sensors' scale."""

    def decode(
        self, waves: Float[Tensor, "batch row time"], asked: Batch
    ) -> Float[Tensor, "batch sensor time"]:
        """What these sensors measure of rows."""


@dataclass(frozen=True)
class Told:
    """What the codes of some sensors say of those that were asked for."""

    sensors: Float[Tensor, "batch sensor time"]
    coded: Quantised


def rows_of(waves: Float[Tensor, "batch source time"], times: int) -> Rows:
    """The waveforms of each row of each window as patches of `times` samples."""
    return waves.flatten(0, 1).unflatten(-1, (-1, times))


def tell(
    tokenizer: Tells,
    patches: PatchCodec,
    seen: Batch,
    asked: Batch,
    generator: torch.Generator | None = None,
) -> Told:
    """What the sensors of `asked` would measure, by the codes of the sensors of `seen`."""
    waves = tokenizer.encode(seen)
    rows = rows_of(waves, tokenizer.part.times)
    coded = patches.encode(rows, generator)
    return Told(decoded(tokenizer, patches, coded.value, patches.level(rows), asked), coded)


def decoded(
    tokenizer: Tells, patches: PatchCodec, vectors: Tensor, level: Level, asked: Batch
) -> Float[Tensor, "batch sensor time"]:
    """What the sensors of `asked` measure where the sources' codes say these vectors, (row, times, width)."""
    waves = patches.decode(vectors, level).flatten(1).unflatten(0, (len(asked), -1))
    return tokenizer.decode(waves, asked)


def sensors_loss(tokenizer: Tells, patches: PatchCodec, batch: Batch, generator: torch.Generator) -> Loss:
    """The codec's losses on every sensor, each scaled by its own window; a share is not shown, the rest with noise."""
    whole = without_padding(batch)
    told = tell(
        tokenizer, patches, shown(whole, patches.part.drop, patches.part.noise, generator), whole, generator
    )
    middle = whole.signal.mean(dim=-1, keepdim=True)
    spread = whole.signal.std(dim=-1, keepdim=True, correction=0).clamp(min=1e-6)
    a, b = (((x - middle) / spread).flatten(0, 1) for x in (told.sensors.float(), whole.signal))
    parts = {name: APART[name](a, b) for name in patches.part.apart}
    return Loss({**parts, "commitment": told.coded.loss}, patches.weights)


def shown(batch: Batch, drop: float, noise: float, generator: torch.Generator) -> Batch:
    """The same windows without a random share of the sensors, one choice for all, and with white noise."""
    sensors = batch.signal.shape[1]
    order = torch.randperm(sensors, generator=generator)
    kept = order[: max(min(FEWEST, sensors), round((1 - drop) * sensors))].sort().values
    some = batch.sensors(kept.to(batch.signal.device)) if len(kept) < sensors else batch
    white = torch.randn(some.signal.shape, generator=generator).to(some.signal.device)
    return replace(some, signal=some.signal + noise * white) if noise else some
