"""The last samples of a signal that has no end, and the windows that they make."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Ring:
    """The last `size` samples of each sensor. Each is written twice, `size` apart, so that they can be had in one piece."""

    def __init__(self, sensors: int, size: int) -> None:
        self.data = np.zeros((sensors, 2 * size))
        self.size, self.count = size, 0

    @property
    def full(self) -> bool:
        return self.count >= self.size

    def push(self, block: NDArray[np.float64]) -> None:
        """Add (sensor, time) samples; the oldest make room."""
        last = block[:, -self.size :]
        at = (self.count + block.shape[1] - last.shape[1] + np.arange(last.shape[1])) % self.size
        self.data[:, at] = last
        self.data[:, at + self.size] = last
        self.count += block.shape[1]

    def last(self) -> NDArray[np.float64]:
        """(sensor, size) the samples in order; a view that the next `push` changes."""
        first = self.count % self.size
        return self.data[:, first : first + self.size]

    def clear(self) -> None:
        """As if nothing had been added."""
        self.count = 0


class Cutter:
    """Prepared samples in, windows out: one every `every` samples, from the first that is whole and not to be waited for."""

    def __init__(self, samples: int, sensors: int, every: float) -> None:
        self.ring, self.every = Ring(sensors, samples), max(1.0, every)
        self.restart(0.0)

    def restart(self, after: float) -> None:
        """Begin anew; no window ends before `after` samples."""
        self.ring.clear()
        self.number, self.after = 0, after

    @property
    def due(self) -> int:
        """Where the next window ends."""
        return self.ring.size + int(np.floor(self.number * self.every + 0.5))

    def take(self, block: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """The windows that these samples complete, with the count of samples before their end."""
        at = 0
        while True:
            while self.due < self.after - 1e-6:
                self.number += 1
            if self.due - self.ring.count > block.shape[1] - at:
                break
            step = self.due - self.ring.count
            self.ring.push(block[:, at : at + step])
            at += step
            self.number += 1
            yield self.ring.count, self.ring.last()
        self.ring.push(block[:, at:])
