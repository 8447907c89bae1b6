"""Which windows make up which step: a pure function of seed and step, so that any step can be made again at any time.

No sampler has a state to lose: a resumed run asks for step 412 and gets what the uninterrupted run got, whatever the
number of loader workers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.batch import Batch
from brainfm.data.modalities import owner
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, layouts, take

PADDING = 0.05
"""Of a batch of events, at most: windows share a batch if none is this share shorter than another."""


@dataclass(frozen=True)
class Stream:
    """The prepared recordings of one modality and the windows cut from them; `ragged` where windows are lists of events."""

    modality: str
    recordings: Sequence[Recording]
    windows: Windows
    steps: Sequence[Step] = ()
    ragged: bool = False

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These windows, which share a layout."""
        owners = self.windows.recording[rows]
        signals = [self.recordings[owner].signal(self.modality) for owner in owners]
        array = take(self.recordings, self.windows, rows, self.modality, self.steps)
        return Batch.of(
            self.modality,
            array,
            signals[0].sfreq,
            [signal.sensors for signal in signals],
            owners,
            [self.owners[owner] for owner in owners],
        )

    @cached_property
    def owners(self) -> list[str]:
        """Whose each recording's sensors are."""
        return [owner(recording, self.modality) for recording in self.recordings]

    @cached_property
    def layouts(self) -> list[NDArray[np.int64]]:
        """Rows that can share a batch: of one sensor table, and of one person where sensors are a person's own.

        Windows of events share it with those of about as many; people may mix there, since every event says whose it is.
        """
        alike = np.zeros(len(self.recordings), np.int64)
        for number, recordings in enumerate(layouts(self.recordings, self.modality)):
            alike[recordings] = number
        whose = np.unique(self.owners, return_inverse=True)[1]
        length = size_class(self.lengths) if self.ragged else whose[self.windows.recording]
        keys = np.stack([alike[self.windows.recording], length])
        _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        return [np.flatnonzero(group == one) for one in np.argsort(first)]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(window,) how many events each window holds."""
        return np.array(
            [self.batch(np.array([row])).signal.sum() for row in range(len(self.windows))], np.int64
        )

    def of_each(self) -> Iterator[Batch]:
        """The first window of every recording that has one: between them they show every sensor."""
        for row in np.unique(self.windows.recording, return_index=True)[1]:
            yield self.batch(np.array([row]))


def size_class(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes within which no length is more than `PADDING` shorter than another."""
    return np.floor(np.log(np.maximum(length, 1)) / -np.log1p(-PADDING)).astype(np.int64)


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
