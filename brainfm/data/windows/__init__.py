"""Windows: where they start, how long they are and what they are labelled; one file per way of cutting."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording
from brainfm.part import Part


@dataclass(frozen=True)
class Windows:
    """A table of windows over a list of recordings. `label` is an index into `labels`, −1 where there is none."""

    recording: NDArray[np.int64]
    start: NDArray[np.float64]
    seconds: float
    label: NDArray[np.int64]
    labels: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    """How many windows were not used, by reason. Nothing is dropped without being counted here."""

    def __len__(self) -> int:
        return len(self.recording)


class Cut(Part):
    """A way of cutting recordings into windows of one length."""

    def __call__(self, recordings: Sequence[Recording], modality: str, labels: Sequence[str]) -> Windows:
        """The windows of all recordings; with `labels`, those that carry one of them."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
