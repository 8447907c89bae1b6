"""A signal laid down in a passing file, to be gone through several times in memory that does not grow with its length."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.data.lazy import span
from brainfm.data.recording import Signal

BLOCK = 1 << 22
"""Samples over all sensors that are held in memory at once, unless a minute of signal is more."""
AT_ONCE = 1 << 20
"""Times up to which a sensor's samples are sorted in memory; beyond, they are counted."""
HALF = 1 << 16


class Spool:
    """(sensor, time) data in a file of float32, time after time."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples
        self.shape = samples.shape[1], samples.shape[0]

    @classmethod
    def of(cls, signal: Signal, scratch: Path) -> "Spool":
        """All samples of a signal, in a new file in `scratch`, which the caller removes."""
        with tempfile.NamedTemporaryFile(dir=scratch, suffix=".spool", delete=False) as file:
            for block in blocks(signal):
                file.write(np.ascontiguousarray(block.T, np.float32).data)
        return cls(np.memmap(file.name, np.float32, "r", shape=(signal.n_times, len(signal.sensors))))

    def __getitem__(self, key: object) -> NDArray[np.float32]:
        """The samples of `[sensors, times]`, as of an array of two axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        first, stop, within = span(columns, self.shape[1])
        return np.asarray(self.samples[first:stop]).T[rows][..., within]

    def blocks(self, columns: slice = slice(None)) -> Iterator[NDArray[np.float32]]:
        """The samples of some sensors in order, as arrays of (some of the times, sensor)."""
        step = max(1, BLOCK // self.shape[0])
        for start in range(0, self.shape[1], step):
            yield np.asarray(self.samples[start : start + step, columns])

    def robust(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(sensor,) median, and median distance from it: exactly those of the float32 values."""
        middle = medians(self, lambda block, _: block)
        return middle, medians(
            self, lambda block, sensors: np.abs(block - middle[sensors].astype(np.float32))
        )


def blocks(signal: Signal) -> Iterator[NDArray[np.float64]]:
    """The samples in order, as arrays of (sensor, some of the times), a minute of signal at least."""
    step = max(round(60 * signal.sfreq), BLOCK // max(1, len(signal.sensors)), 1)
    for start in range(0, signal.n_times, step):
        yield np.asarray(signal.data[:, start : start + step], dtype=np.float64)


def medians(
    spool: Spool, change: Callable[[NDArray[np.float32], slice], NDArray[np.float32]]
) -> NDArray[np.float64]:
    """(sensor,) the median over time of what `change` makes of blocks (time, sensor) of these sensors."""
    sensors, times = spool.shape
    together = max(1, BLOCK // times) if times <= AT_ONCE else 32
    found = []
    for start in range(0, sensors, together):
        group = slice(start, min(start + together, sensors))

        def read(group: slice = group) -> Iterator[NDArray[np.float32]]:
            return (change(block, group) for block in spool.blocks(group))

        found.append(counted(read, times) if times > AT_ONCE else sorted_out(read))
    return np.concatenate(found)


def sorted_out(read: Callable[[], Iterator[NDArray[np.float32]]]) -> NDArray[np.float64]:
    """The median, all samples in memory."""
    return np.asarray(np.median(np.concatenate(list(read())).astype(np.float64), axis=0))


def counted(read: Callable[[], Iterator[NDArray[np.float32]]], times: int) -> NDArray[np.float64]:
    """The exact median without sorting: count the upper halves of the numbers' bits, then the lower ones of those that share
    the median's upper half (radix selection)."""
    upper = histogram(ordered(block) >> 16 for block in read())
    either = [value_at(read, upper, rank) for rank in ((times - 1) // 2, times // 2)]
    return (either[0] + either[1]) / 2


def value_at(
    read: Callable[[], Iterator[NDArray[np.float32]]], upper: NDArray[np.int64], rank: int
) -> NDArray[np.float64]:
    """(sensor,) the value of this rank, counted from 0, given how often each upper half occurs."""
    top, left = place(upper, np.full(len(upper), rank))
    inside = (np.where(bits >> 16 == top, bits & (HALF - 1), HALF) for bits in map(ordered, read()))
    low, _ = place(histogram(inside, HALF + 1)[:, :HALF], left)
    return unordered((top << 16 | low).astype(np.uint32)).astype(np.float64)


def histogram(keys: Iterator[NDArray[np.integer]], size: int = HALF) -> NDArray[np.int64]:
    """(sensor, size) how often each key occurs in blocks of (time, sensor)."""
    counts = np.zeros((0, size), np.int64)
    for block in keys:
        sensors = block.shape[1]
        flat = (block.astype(np.int64) + np.arange(sensors) * size).ravel()
        found = np.bincount(flat, minlength=sensors * size).reshape(sensors, size)
        counts = found if not len(counts) else counts + found
    return counts


def place(counts: NDArray[np.int64], rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sensor,) the key that holds each sensor's rank, and the rank among those of that key."""
    below = np.cumsum(counts, axis=1)
    key = (below <= rank[:, None]).sum(axis=1)
    rows = np.arange(len(counts))
    return key, rank - (below[rows, key] - counts[rows, key])


def ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bits of floats as whole numbers in the same order (Herf 2001, "Radix tricks")."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def unordered(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The floats of `ordered`."""
    return np.where(bits >> 31, bits & np.uint32((1 << 31) - 1), ~bits).astype(np.uint32).view(np.float32)
