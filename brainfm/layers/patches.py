"""Cutting a signal into patches, and a grid of them into tokens: what all regular tokenizers share."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brainfm.batch import Batch
from brainfm.errors import DataError
from brainfm.tokens import Tokens


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


def grid_tokens(
    embedding: Float[Tensor, "batch row patch width"],
    seconds: float,
    modality: int,
    position: Float[Tensor, "batch row 3"],
    located: Bool[Tensor, "batch row"],
    region: Int[Tensor, "batch row"],
    valid: Bool[Tensor, "batch row"],
    who: Float[Tensor, "batch row width"],
    padded: bool = False,
    virtual: bool = False,
) -> Tokens:
    """Tokens of a regular stream, row after row, each in order of time; what is known of a row is added to what it says."""
    n_batch, rows, times, _ = embedding.shape
    row = torch.arange(rows, device=embedding.device).repeat_interleave(times)
    centre = (torch.arange(times, device=embedding.device) + 0.5) * seconds
    known = who[:, row]
    return Tokens(
        embedding=embedding.flatten(1, 2) + known.to(embedding.dtype),
        time=centre.repeat(rows).expand(n_batch, -1),
        position=position[:, row],
        located=located[:, row],
        modality=torch.full_like(row, modality).expand(n_batch, -1),
        sensor=row.expand(n_batch, -1),
        region=region[:, row],
        valid=valid[:, row],
        period=seconds,
        padded=padded,
        virtual=virtual,
        who=known,
    )
