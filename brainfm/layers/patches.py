"""Cutting a signal into patches, and a grid of them into tokens: what all regular tokenizers share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brainfm.batch import Batch
from brainfm.errors import DataError
from brainfm.tokens import Table, Target, Tokenized, Tokens


def patches_of(batch: Batch, samples: int, sfreq: float) -> Float[Tensor, "batch sensor patch time"]:
    """Whole patches of `samples`. Raises `DataError` for another rate, or a window that is no whole number of them."""
    if abs(batch.sfreq - sfreq) > 1e-6 * sfreq:
        raise DataError(
            f"this tokenizer wants {sfreq:g} Hz, the signal has {batch.sfreq:g} Hz: resample it, or say so in the tokenizer"
        )
    if batch.signal.shape[-1] % samples or not batch.signal.shape[-1]:
        raise DataError(
            f"a window of {batch.signal.shape[-1]} samples is not a whole number of patches of {samples}: "
            f"choose a window that is a multiple of {samples / sfreq:g} s"
        )
    return batch.signal.unflatten(-1, (-1, samples))


@dataclass(frozen=True)
class Rows:
    """What is known of each row of tokens before its signal: where it is, and `who`, a vector of its own.

    A row is a sensor or, where `virtual`, what stands for several.
    """

    position: Float[Tensor, "batch row 3"]
    located: Bool[Tensor, "batch row"]
    region: Int[Tensor, "batch row"]
    who: Float[Tensor, "batch row width"]
    valid: Bool[Tensor, "batch row"]
    virtual: bool = False
    padded: bool = False
    lobe: Int[Tensor, "batch row"] | None = None

    @classmethod
    def of_sensors(cls, batch: Batch, who: Float[Tensor, "batch row width"]) -> "Rows":
        """A row for each sensor."""
        return cls(
            batch.position,
            batch.located,
            batch.region,
            who,
            batch.valid,
            padded=batch.padded,
            lobe=batch.lobe,
        )

    @classmethod
    def all_there(
        cls,
        position: Float[Tensor, "batch row 3"],
        located: Bool[Tensor, "batch row"],
        region: Int[Tensor, "batch row"],
        who: Float[Tensor, "batch row width"],
        virtual: bool = True,
        lobe: Int[Tensor, "batch row"] | None = None,
    ) -> "Rows":
        """Rows of which none is padding."""
        return cls(position, located, region, who, torch.ones_like(located), virtual, lobe=lobe)


def tokenized(
    batch: Batch,
    rows: Rows,
    embedding: Float[Tensor, "batch row patch width"],
    value: Float[Tensor, "batch row patch time"],
    seconds: float,
    modality: int,
    losses: Mapping[str, Float[Tensor, ""]] | None = None,
) -> Tokenized:
    """A regular stream, row after row, each in order of time, and beside it the patches `value` that its tokens stand for.

    What is known of a row is added to what its signal says.
    """
    n_batch, count, times, _ = embedding.shape
    row = torch.arange(count, device=embedding.device).repeat_interleave(times)
    centre = (torch.arange(times, device=embedding.device) + 0.5) * seconds
    known = rows.who[:, row]
    tokens = Tokens(
        embedding=embedding.flatten(1, 2) + known.to(embedding.dtype),
        time=centre.repeat(count).expand(n_batch, -1),
        position=rows.position[:, row],
        located=rows.located[:, row],
        modality=torch.full_like(row, modality).expand(n_batch, -1),
        sensor=row.expand(n_batch, -1),
        region=rows.region[:, row],
        valid=rows.valid[:, row],
        period=seconds,
        padded=rows.padded,
        virtual=rows.virtual,
        rows=count,
        table=Table(
            rows.position,
            rows.located & rows.valid,
            torch.full_like(rows.located, modality, dtype=torch.int64),
        ),
        who=known,
        lobe=None if rows.lobe is None else rows.lobe[:, row],
    )
    return Tokenized(tokens, {batch.modality: Target(value.flatten(1, 2), batch.sfreq)}, losses or {})
