"""What the header of an EDF or BDF promises, which MNE does not hold the file to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

WIDTH = {".edf": 2, ".bdf": 3}
"""Bytes of a sample."""
INTERRUPTED = (b"EDF+D", b"BDF+D")


@dataclass(frozen=True)
class EdfHeader:
    """Fields by Kemp et al. 1992, "A simple format for exchange of digitized polygraphic recordings", table 1, and by Kemp and
    Olivan 2003, "European data format 'plus'", §2.1 and §2.2.
    """

    size: int
    """Bytes before the first record."""
    records: int
    seconds: float
    """Of a record."""
    labels: tuple[str, ...]
    samples: NDArray[np.int64]
    """(signal,) in a record."""
    width: int
    interrupted: bool
    """Whether records need not follow each other: where each begins, its first annotation says."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The header of a file. Raises `DataError` where there is none."""
        with path.open("rb") as file:
            head = file.read(256)
            try:
                size, records, n = int(head[184:192]), int(head[236:244]), int(head[252:256])
                table = file.read(n * 256)
                samples = np.array([int(table[n * 216 + 8 * row :][:8]) for row in range(n)], np.int64)
                seconds = float(head[244:252])
            except ValueError:
                raise DataError(
                    f"{path.name} is no {path.suffix[1:].upper()}: its header can't be read"
                ) from None
        labels = tuple(table[16 * row :][:16].decode("latin-1").strip() for row in range(n))
        width = WIDTH[path.suffix.lower()]
        return cls(size, max(records, 0), seconds, labels, samples, width, head[192:].startswith(INTERRUPTED))

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return int(self.samples.sum()) * self.width

    @property
    def promised(self) -> int:
        """Bytes of the file."""
        return self.size + self.records * self.record

    def gap(self, path: Path) -> tuple[float, float] | None:
        """The first interruption: how much signal there is before it, and how long it is, in seconds."""
        notes = [row for row, label in enumerate(self.labels) if label.endswith(" Annotations")]
        if not self.interrupted or not notes or not self.records:
            return None
        begins = self.begins(path, notes[0])
        passed = np.diff(begins) - self.seconds
        late = np.flatnonzero(np.abs(passed) > self.seconds / max(2, 2 * int(self.samples.max())))
        return (float((late[0] + 1) * self.seconds), float(passed[late[0]])) if len(late) else None

    def begins(self, path: Path, signal: int) -> NDArray[np.float64]:
        """(record,) when each begins, by the first annotation in the signal that holds them."""
        inside = int(self.samples[:signal].sum()) * self.width
        begins = []
        with path.open("rb") as file:
            for number in range(self.records):
                file.seek(self.size + number * self.record + inside)
                said = file.read(int(self.samples[signal]) * self.width)
                try:
                    begins.append(float(said[: said.index(b"\x14")]))
                except ValueError:
                    raise DataError(
                        f"{path.name}: record {number + 1} does not say when it begins; get it again"
                    ) from None
        return np.array(begins)
