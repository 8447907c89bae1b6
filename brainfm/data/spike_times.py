"""Spikes as the times at which they happened: counts are made when a stretch is asked for, at whatever rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.lazy import span
from brainfm.errors import DataError

RESOLUTION = 1000.0
"""Bins a second unless said otherwise: a neuron is silent for about a millisecond after a spike."""


@dataclass(frozen=True)
class SpikeTimes:
    """(neuron, time) counts in bins of `1 / sfreq` seconds, kept as events.

    `time` is (spike,) in seconds from the recording's start, rising; `neuron` is (spike,), the row that fired. A spike belongs
    to the bin that it lies in; one at or after `seconds` to none, so it is refused.
    """

    time: NDArray[np.float64]
    neuron: NDArray[np.int64]
    neurons: int
    seconds: float
    sfreq: float = RESOLUTION

    def __post_init__(self) -> None:
        if len(self.time) != len(self.neuron):
            raise DataError(f"{len(self.time)} spike times do not fit {len(self.neuron)} neurons' numbers")
        if len(self.time) and not (self.time[0] >= 0 and self.time[-1] < self.seconds):
            raise DataError(
                f"spikes from {self.time[0]:.3f} to {self.time[-1]:.3f} s lie outside a recording of {self.seconds:.3f} s"
            )
        if (np.diff(self.time) < 0).any():
            raise DataError("spike times do not rise; sort them, or use SpikeTimes.of")

    @classmethod
    def of(cls, trains: Sequence[NDArray[np.float64]], seconds: float, sfreq: float = RESOLUTION) -> Self:
        """From one array of times in seconds per neuron, in any order. Raises `DataError` for a time outside 0 to `seconds`."""
        neuron = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
        time = np.concatenate([np.zeros(0), *(np.asarray(train, float) for train in trains)])
        order = np.lexsort((neuron, time))
        return cls(time[order], neuron[order], len(trains), float(seconds), float(sfreq))

    @property
    def shape(self) -> tuple[int, int]:
        """(neuron, time), whole bins only."""
        return self.neurons, int(self.seconds * self.sfreq + 1e-6)

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """The counts of `[neurons, times]`, each a slice, a list or one index, as for an array of two axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        first, stop, within = span(columns, self.shape[1])
        return self.counts(first, stop)[rows][..., within]

    def counts(self, first: int, stop: int) -> NDArray[np.float64]:
        """(neuron, bin) how often each neuron fired in the bins from `first` to before `stop`."""
        # a time that a division by the rate has rounded down still lies in its own bin
        time, neuron = self.inside((first - 1e-6) / self.sfreq, (stop - 1e-6) / self.sfreq)
        bins = np.floor(time * self.sfreq + 1e-6).astype(np.int64).clip(first, stop - 1)
        flat = neuron * (stop - first) + bins - first
        counted = np.bincount(flat, minlength=self.neurons * (stop - first))
        return counted.reshape(self.neurons, stop - first).astype(np.float64)

    def inside(self, start: float, stop: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(spike,) times and neurons of the spikes from `start` to before `stop` seconds."""
        inside = slice(*np.searchsorted(self.time, [start, stop]))
        return self.time[inside], self.neuron[inside]

    def rates(self) -> NDArray[np.float64]:
        """(neuron,) spikes a second over the whole recording."""
        return np.bincount(self.neuron, minlength=self.neurons) / self.seconds

    def at(self, sfreq: float) -> "SpikeTimes":
        """The same spikes, counted in bins of `1 / sfreq` seconds."""
        return replace(self, sfreq=sfreq)

    def take(self, rows: Sequence[int]) -> "SpikeTimes":
        """These neurons, in this order."""
        place = np.full(self.neurons, -1)
        place[list(rows)] = np.arange(len(rows))
        kept = place[self.neuron] >= 0
        return replace(self, time=self.time[kept], neuron=place[self.neuron[kept]], neurons=len(rows))

    def train(self, row: int) -> NDArray[np.float64]:
        """The times of one neuron's spikes, in seconds."""
        return self.time[self.neuron == row]
