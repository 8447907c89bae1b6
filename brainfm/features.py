"""Features of windows, whoever makes them: layout by layout, a batch at a time, back in the order of the windows."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.corpus import Stream

Told = Callable[[NDArray[np.int64]], Float[Tensor, "row feature"]]
"""From windows of one layout to a vector of each."""


@torch.inference_mode()
def by_layout(stream: Stream, batch: int, told: Told) -> NDArray[np.float32]:
    """(window, feature) of every window of the stream; rows that are shorter than the longest end in zeros."""
    vectors: dict[int, Tensor] = {}
    for rows in stream.layouts:
        for part in np.array_split(rows, -(-len(rows) // batch)):
            vectors |= dict(zip(part.tolist(), told(part), strict=True))
    ordered = [vectors[row] for row in range(len(stream.windows))]
    return nn.utils.rnn.pad_sequence(ordered, batch_first=True).float().cpu().numpy()
