"""Classes of length: windows of events share a batch only with those of about as many.

Padding and masks depend on a window's class alone, not on the windows that happen to lie beside it, so that a step gives the same
losses however its windows are divided over processes and micro-batches.
"""

import numpy as np
from numpy.typing import NDArray

PADDING = 0.05
"""Of a batch of events, at most: no length of a class is this share shorter than another."""


def size_class(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each length; an empty window counts as one event."""
    edges = _edges(int(np.max(length, initial=1)))
    return np.searchsorted(edges, np.maximum(length, 1), side="right") - 1


def span(length: int) -> tuple[int, int]:
    """The shortest and the longest length of a length's class."""
    edges = _edges(length)
    place = int(np.searchsorted(edges, max(1, length), side="right")) - 1
    return int(edges[place]), int(edges[place + 1]) - 1


def _edges(most: int) -> NDArray[np.int64]:
    """The shortest length of every class up to that of `most`, and of the next: each begins where the last would pad too much."""
    edges = [1]
    while edges[-1] <= max(1, most):
        edges.append(int(np.floor(edges[-1] / (1 - PADDING))) + 1)
    return np.array(edges, np.int64)
