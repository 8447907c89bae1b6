"""Which windows make up which step: a pure function of seed and step, so that any step can be made again at any time.

No sampler has a state to lose: a resumed run asks for step 412 and gets what the uninterrupted run got, whatever the
number of loader workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.batch import Batch
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, layouts, take


@dataclass(frozen=True)
class Stream:
    """The prepared recordings of one modality and the windows cut from them."""

    modality: str
    recordings: Sequence[Recording]
    windows: Windows
    steps: Sequence[Step] = ()

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These windows, which share a layout."""
        owners = self.windows.recording[rows]
        signals = [self.recordings[owner].signal(self.modality) for owner in owners]
        array = take(self.recordings, self.windows, rows, self.modality, self.steps)
        return Batch.of(
            self.modality, array, signals[0].sfreq, [signal.sensors for signal in signals], owners
        )

    @cached_property
    def layouts(self) -> list[NDArray[np.int64]]:
        """Rows grouped by sensor table: what can share a batch without padding."""
        groups = [np.isin(self.windows.recording, group) for group in layouts(self.recordings, self.modality)]
        return [np.flatnonzero(group) for group in groups if group.any()]


@dataclass(frozen=True)
class Plan:
    """The order of batches, pass after pass over all streams. Every window occurs once in a pass."""

    streams: Mapping[str, Stream]
    batch: int
    seed: int

    def rows(self, step: int) -> tuple[str, NDArray[np.int64]]:
        """The modality and the windows of a step (counted from 0)."""
        lap, place = divmod(step, self.steps_in_pass)
        modality, layout, share = self._lap(lap)[place]
        return modality, self._shuffled(lap, modality, layout)[share]

    def piece(self, step: int, part: int, parts: int) -> tuple[Stream, NDArray[np.int64]]:
        """One of `parts` nearly equal pieces of a step: the windows of a micro-batch of one process."""
        modality, rows = self.rows(step)
        pieces = np.array_split(rows, min(parts, len(rows)))
        return self.streams[modality], pieces[part % len(pieces)]

    @cached_property
    def steps_in_pass(self) -> int:
        return len(self._places)

    @cached_property
    def _places(self) -> list[tuple[str, int, int]]:
        """(modality, layout, share) of every batch of a pass, unshuffled. Shares are nearly equal, so no rest is lost."""
        return [
            (modality, layout, share)
            for modality, stream in self.streams.items()
            for layout, rows in enumerate(stream.layouts)
            for share in range(self._shares(len(rows)))
        ]

    def _shares(self, rows: int) -> int:
        return max(1, round(rows / self.batch))

    @lru_cache(maxsize=2)  # noqa: B019 - a run has one plan, and it lives as long as the run
    def _lap(self, lap: int) -> list[tuple[str, int, int]]:
        order = np.random.default_rng([self.seed, lap]).permutation(len(self._places))
        return [self._places[place] for place in order]

    @lru_cache(maxsize=64)  # noqa: B019 - as above
    def _shuffled(self, lap: int, modality: str, layout: int) -> list[NDArray[np.int64]]:
        rows = self.streams[modality].layouts[layout]
        which = list(self.streams).index(modality)
        mixed = np.random.default_rng([self.seed, lap, which, layout]).permutation(rows)
        return np.array_split(mixed, self._shares(len(rows)))

    def __hash__(self) -> int:
        return id(self)
