"""Targets: what else than one label is told of a window, in its parts; one file a kind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.part import Part

Of = Literal["values", "rates", "classes", "segments", "sequences"]
"""Real numbers, counts whose expectation is told, one of several labels, a vector that is to be found among others, or labels
in an order without times."""
BLANK = "blank"
"""What a decoder of sequences says of a moment in which no label begins: the last of its names."""


@dataclass(frozen=True)
class Targets:
    """What is told of each window in each of its parts, which are of equal length.

    `value` is (window, part, output): real numbers or counts, NaN where nothing is known; of `classes` it is (window, part)
    indices into `names`, −1 where no label holds. `names` are the outputs, or the labels. Of `sequences` it is (window, place in
    the sequence), −1 behind the last, and a decoder answers for each of so many `moments`.
    """

    value: NDArray[Any]
    names: tuple[str, ...]
    of: Of
    unit: str = ""
    moments: int = 0

    @property
    def parts(self) -> int:
        """For how many parts of a window a decoder answers."""
        return self.moments if self.of == "sequences" else self.value.shape[1]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(window,) whether it can be trained on and scored: all is known of it, or of classes any."""
        flat = self.value.reshape(len(self.value), -1)
        labels = self.of in ("classes", "sequences")
        known = (flat >= 0).any(axis=1) if labels else np.isfinite(flat).all(axis=1)
        return np.asarray(known, bool)

    def rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Targets":
        """Those of these windows."""
        return replace(self, value=self.value[rows])


class Target(Part):
    """What is told of windows."""

    def seen(self, recordings: Sequence[Recording], modality: str) -> list[Recording]:
        """The recordings as a decoder may see them: without what it is to tell."""
        return list(recordings)

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        """What is told of each window of these recordings. Raises `DataError` where it can't be had."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def spans(windows: Windows, parts: int) -> NDArray[np.float64]:
    """(window, part, 2) where each part begins and ends, in seconds from its recording's start."""
    edges = windows.start[:, None] + np.linspace(0, windows.seconds, parts + 1)
    return np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)
