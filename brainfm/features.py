"""Features of windows, whoever makes them: layout by layout, a batch at a time, back in the order of the windows."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.corpus import Stream

Told = Callable[[NDArray[np.int64]], Float[Tensor, "row ..."]]
"""From windows of one layout to what is told of each."""


@torch.inference_mode()
def told_of(stream: Stream, rows: NDArray[np.int64], batch: int, told: Told) -> list[Tensor]:
    """What is told of each of these windows of the stream."""
    found: dict[int, Tensor] = {}
    layout = stream.layout[rows]
    for one in np.unique(layout):
        alike = rows[layout == one]
        for part in np.array_split(alike, -(-len(alike) // batch)):
            found |= dict(zip(part.tolist(), told(part), strict=True))
    return [found[row] for row in rows.tolist()]


def by_layout(stream: Stream, batch: int, told: Told) -> NDArray[np.float32]:
    """(window, feature) of every window of the stream; rows that are shorter than the longest end in zeros."""
    vectors = told_of(stream, np.arange(len(stream.windows)), batch, told)
    return nn.utils.rnn.pad_sequence(vectors, batch_first=True).float().cpu().numpy()
