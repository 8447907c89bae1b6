"""Signals that come in while they are measured: what a source of them gives, and a recording played as one."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

AHEAD = 10.0
"""Seconds of a file that are read at once, before their turn comes."""
CHUNK, HURRIED = 0.02, 0.25
"""Seconds of signal that a played recording gives at once: in real time, and as fast as it can be taken."""
NAP = 0.1
"""The longest time, in seconds, for which a source that has nothing does not say so."""


@dataclass(frozen=True)
class Block:
    """The next samples, (sensor, time) in SI units.

    `first` is the number of its first sample since the signal began, those that are missing counted, and `stamp` the time on
    the source's clock at which its last one was measured. `follows` is False where it does not follow on the block before:
    `missing` samples lie between, as many as is known.
    """

    data: NDArray[np.float64]
    first: int
    stamp: float
    follows: bool = True
    missing: int = 0

    @property
    def last(self) -> int:
        """The number of its last sample."""
        return self.first + self.data.shape[1] - 1


class Source(Protocol):
    """Where a signal comes from. `recording` has its sensors and its rate and no sample, `pace` is signal over clock time."""

    recording: Recording
    pace: float

    def clock(self) -> float:
        """Seconds on the clock that stamps the blocks."""
        ...

    def blocks(self) -> Iterator[Block | None]:
        """The blocks in order; None, at least ten times a second, where there is nothing yet."""
        ...


def without_samples(recording: Recording, modality: str, sensors: Sensors) -> Recording:
    """The same recording of these sensors before its first sample."""
    signal = recording.signal(modality)
    return recording.with_signal(modality, Signal(np.zeros((len(sensors), 0)), signal.sfreq, sensors))


class Played:
    """A recording as its amplifier gave it: `speed` times as fast, 0 for as fast as it is taken.

    Breaks of the recording stay breaks.
    """

    def __init__(self, recording: Recording, modality: str, names: list[str], speed: float) -> None:
        if speed < 0:
            raise DataError(
                f"a recording can't be played at {speed:g} times its speed; 0 is as fast as it goes"
            )
        self.signal = recording.signal(modality)
        self.rows = [self.signal.sensors.name.index(name) for name in names]
        table = self.signal.sensors.take(self.rows)
        self.recording = without_samples(recording, modality, table)
        self.pace = speed or np.inf

    def clock(self) -> float:
        return time.perf_counter()

    def blocks(self) -> Iterator[Block | None]:
        """Every sample, when its time has come."""
        sfreq = self.signal.sfreq
        chunk = max(1, round((HURRIED if np.isinf(self.pace) else CHUNK) * sfreq))
        began = self.clock()
        for data, first, follows in self.read():
            for start in range(0, data.shape[1], chunk):
                piece = data[:, start : start + chunk]
                due = began + (first + start + piece.shape[1]) / sfreq / self.pace
                while (wait := due - self.clock()) > 0:
                    time.sleep(min(wait, NAP))
                    if wait > NAP:
                        yield None
                stamp = self.clock() if np.isinf(self.pace) else due
                yield Block(piece, first + start, stamp, follows or start > 0)

    def read(self) -> Iterator[tuple[NDArray[np.float64], int, bool]]:
        """Pieces of the signal, the next one read while one is played: (data, first sample, whether it follows)."""
        length = max(1, round(AHEAD * self.signal.sfreq))
        spans = [
            (start, min(start + length, stop), start > first)
            for first, stop in self.signal.stretches
            for start in range(first, stop, length)
        ]

        def load(start: int, stop: int) -> NDArray[np.float64]:
            return np.asarray(self.signal.data[:, start:stop], np.float64)[self.rows]

        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(load, *spans[0][:2])
            for number, (start, _, follows) in enumerate(spans):
                data = coming.result()
                if number + 1 < len(spans):
                    coming = reader.submit(load, *spans[number + 1][:2])
                yield data, start, follows


def numbers(blocks: Iterator[Block | None], sfreq: float) -> Iterator[Block | None]:
    """The blocks less the samples that are no numbers in every sensor: these are missing, and nothing is joined over them."""
    lost = 0
    for block in blocks:
        if block is None:
            yield None
            continue
        lost += block.missing
        good = np.asarray(np.isfinite(block.data).all(axis=0))
        edges = [0, *(np.flatnonzero(np.diff(good)) + 1).tolist(), len(good)]
        for start, stop in pairwise(edges):
            if not good[start]:
                lost += stop - start
                continue
            follows = block.follows and not start and not lost
            stamp = block.stamp - (len(good) - stop) / sfreq
            yield Block(block.data[:, start:stop], block.first + start, stamp, follows, lost)
            lost = 0
