"""Samples, spikes and tracks that stay in their store until they are sliced."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.fingerprint import Fingerprint
from brainfm.data.lazy import span
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.store.codec import Held, decode
from brainfm.data.store.files import StoredFile, read_together

SPIKE = np.dtype([("time", "<f8"), ("neuron", "<i4")])
"""A spike as it is stored: seconds from the recording's start, and the row that fired. Packed, in order of time."""
MARK = 1.0
"""Seconds between two entries of the index that says how many spikes came before."""


@dataclass(frozen=True)
class StoredSamples:
    """(sensor, time) samples, time after time in their file, so that a window is one stretch of bytes.

    A slice is float32; slicing sensors reads all of them. `raw` gives the fingerprint of the signal before its preparation.
    """

    file: StoredFile
    dtype: Held
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    times: int
    raw: Callable[[], Fingerprint]

    @property
    def shape(self) -> tuple[int, int]:
        """(sensor, time)."""
        return len(self.scale), self.times

    def fingerprint(self) -> Fingerprint:
        """That of the raw signal: what a model saw is known by what was recorded."""
        return self.raw()

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """The samples of `[sensors, times]`, each a slice, a list or one index, as for an array of two
        axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        first, stop, within = span(columns, self.times)
        return self._decoded(self.file.read(*self._bytes(first, stop)))[rows][..., within]

    @staticmethod
    def together(pieces: Sequence[tuple["StoredSamples", int, int]]) -> Iterator[NDArray[np.float32]]:
        """Stretches (first, stop) of several, (sensor, time) each, asked for at the same time."""
        asked = [(data.file, *data._bytes(first, stop)) for data, first, stop in pieces]
        for (data, _, _), held in zip(pieces, read_together(asked), strict=True):
            yield data._decoded(held)

    def _bytes(self, first: int, stop: int) -> tuple[int, int]:
        """Where the samples of a stretch begin and end in the file."""
        return 2 * len(self.scale) * first, 2 * len(self.scale) * stop

    def _decoded(self, held: NDArray[np.uint8]) -> NDArray[np.float32]:
        stored = held.view("<i2" if self.dtype == "int16" else "<f2").reshape(-1, len(self.scale))
        return decode(stored, self.scale, self.offset)


class StoredSpikes(SpikeTimes):
    """Spikes in a file: an index of how many came before each `MARK`, then one record a spike.

    A stretch reads its own spikes and those of the marks that it cuts; what asks for all of them (`time`, `neuron`) reads all.
    """

    def __init__(
        self,
        file: StoredFile,
        neurons: int,
        seconds: float,
        sfreq: float,
        raw: Callable[[], Fingerprint],
    ) -> None:
        # the fields of a frozen class; `time` and `neuron` are read when they are asked for
        for name, value in (("neurons", neurons), ("seconds", seconds), ("sfreq", sfreq)):
            object.__setattr__(self, name, value)
        self.__dict__.update(file=file, raw=raw)

    file: StoredFile
    raw: Callable[[], Fingerprint]

    def fingerprint(self) -> Fingerprint:
        """That of the raw signal: what a model saw is known by what was recorded."""
        return self.raw()

    @property
    def marks(self) -> int:
        """Entries of the index."""
        return n_marks(self.seconds)

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        return self.file.read(0, 8 * self.marks).view("<i8").copy()

    def _records(self, first: int, stop: int) -> NDArray[Any]:
        head = 8 * self.marks
        return self.file.read(head + first * SPIKE.itemsize, head + stop * SPIKE.itemsize).view(SPIKE)

    def inside(self, start: float, stop: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(spike,) times and neurons of the spikes from `start` to before `stop` seconds."""
        marks = np.clip([np.floor(start / MARK), np.ceil(stop / MARK)], 0, self.marks - 1).astype(int)
        records = self._records(*self._before[marks].tolist())
        kept = records[slice(*np.searchsorted(np.ascontiguousarray(records["time"]), [start, stop]))]
        return kept["time"].astype(np.float64), kept["neuron"].astype(np.int64)

    @property
    def time(self) -> NDArray[np.float64]:
        """(spike,) all times."""
        return self._records(0, int(self._before[-1]))["time"].astype(np.float64)

    @property
    def neuron(self) -> NDArray[np.int64]:
        """(spike,) the row that fired, of all spikes."""
        return self._records(0, int(self._before[-1]))["neuron"].astype(np.int64)

    def at(self, sfreq: float) -> "StoredSpikes":
        """The same spikes, still in the file, counted in bins of `1 / sfreq` seconds."""
        return StoredSpikes(self.file, self.neurons, self.seconds, sfreq, self.raw)

    def take(self, rows: Sequence[int]) -> SpikeTimes:
        """These neurons, in this order, in memory."""
        return SpikeTimes(self.time, self.neuron, self.neurons, self.seconds, self.sfreq).take(rows)


def n_marks(seconds: float) -> int:
    """Entries of the index of a recording: one at each mark, and one behind its end."""
    return int(np.ceil(seconds / MARK)) + 1


class StoredTrack:
    """(time, ...) values of a track, read when they are sliced or made an array."""

    def __init__(self, file: StoredFile, at: int, dtype: str, shape: Sequence[int]) -> None:
        self.file, self.at, self.dtype, self.shape = file, at, np.dtype(dtype), tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """As for an array; only the times of a slice or an index are read."""
        first, *others = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None or not self.shape:
            return np.asarray(self)[key]
        start, stop, within = span(first, self.shape[0])
        return self._read(start, stop)[(within, *others)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._read(0, self.shape[0] if self.shape else 1), dtype)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        held = self.file.read(self.at + start * row, self.at + stop * row).view(self.dtype)
        return held.reshape(-1, *self.shape[1:]) if self.shape else held.reshape(())
