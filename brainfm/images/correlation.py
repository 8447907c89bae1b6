"""Pearson's r between rows of features, where a row that does not vary correlates 0 with all.

Features of a thousand pictures fill gigabytes; they stay single, and a few rows at a time are made double.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Rows = Float[NDArray[np.floating], "_ feature"]
BLOCK = 64
"""Rows that are made double at once."""


def unit(rows: Rows) -> Float[NDArray[np.float64], "_ feature"]:
    """Rows less their mean, of length 1; zeros where a row varies by no more than rounding."""
    values = rows.astype(np.float64)
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    flat = length <= 1e-6 * np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, length))


def by_row(a: Rows, b: Rows) -> Float[NDArray[np.float64], " picture"]:
    """r of each row of one with the same row of the other."""
    blocks = [slice(first, first + BLOCK) for first in range(0, len(a), BLOCK)]
    return np.concatenate([(unit(a[rows]) * unit(b[rows])).sum(axis=1) for rows in blocks])


def of_all(a: Rows, b: Rows) -> Float[NDArray[np.float64], "picture other"]:
    """r of each row of one with each row of the other."""
    made = np.empty((len(a), len(b)))
    for first in range(0, len(a), BLOCK):
        rows = unit(a[first : first + BLOCK])
        for second in range(0, len(b), BLOCK):
            made[first : first + BLOCK, second : second + BLOCK] = rows @ unit(b[second : second + BLOCK]).T
    return made
