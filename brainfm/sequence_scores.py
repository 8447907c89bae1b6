"""Scores of label sequences: what is told moment by moment, collapsed as CTC reads it, and how many edits make it true."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.metrics import Metric, Scores, Weights

Spelled = tuple[int, ...]


def collapsed(probability: NDArray[np.float64]) -> list[Spelled]:
    """The likeliest sequence of each window out of (window, moment, label) probabilities, the last label the blank.

    Best-path decoding (Graves et al. 2006, §3.2): the likeliest label of each moment, repeats joined, blanks taken out.
    """
    blank = probability.shape[2] - 1
    return [
        tuple(int(now) for before, now in pairwise([-1, *row]) if now != before and now != blank)
        for row in probability.argmax(axis=2).tolist()
    ]


def edits(said: Spelled, true: Spelled) -> int:
    """Fewest insertions, deletions and substitutions that make one the other (Levenshtein 1966)."""
    row = list(range(len(true) + 1))
    for place, symbol in enumerate(said, 1):
        before, row[0] = row[0], place
        for other, wanted in enumerate(true, 1):
            above = row[other]
            row[other] = min(above + 1, row[other - 1] + 1, before + (symbol != wanted))
            before = above
    return row[-1]


def true_sequences(value: NDArray[Any]) -> list[Spelled]:
    """(window, place) indices, −1 behind the last, as sequences."""
    return [tuple(int(one) for one in row if one >= 0) for row in value]


def symbol_accuracy(said: NDArray[np.float64], true: NDArray[Any], weight: Weights) -> Scores:
    """1 − edits / symbols, over all windows together: 1 − the character, phoneme or word error rate, as symbols are."""
    of = true_sequences(true)
    wrong = np.array([edits(*pair) for pair in zip(collapsed(said), of, strict=True)], float)
    return 1 - (weight @ wrong) / (weight @ np.array([len(one) for one in of], float))


def best_constant(_: int, true: NDArray[Any]) -> float:
    """The accuracy of the one sequence, of those that occur or none at all, that would be best said always."""
    of = true_sequences(true)
    different, times = np.unique(np.array(of, object), return_counts=True)
    least = min(_total(one, different, times) for one in ((), *different))
    return 1 - least / sum(map(len, of))


def _total(said: Spelled, different: Sequence[Spelled], times: NDArray[np.int64]) -> int:
    return sum(edits(said, one) * int(often) for one, often in zip(different, times, strict=True))


def check_sequences(said: NDArray[np.float64], true: NDArray[Any]) -> None:
    """Raise `DataError` unless probabilities are told of every moment of every window."""
    if said.ndim != 3 or len(said) != len(true) or not len(true):
        raise DataError(f"predictions of shape {said.shape} do not fit {len(true)} sequences")
    if not np.isfinite(said).all():
        row = int(np.argmin(np.isfinite(said).all(axis=(1, 2))))
        raise DataError(f"the prediction for window {row} is not a finite number")


OF_SEQUENCES = {"symbol_accuracy": Metric(symbol_accuracy, best_constant, check_sequences, classes=False)}
"""Scores of sequences of labels."""
