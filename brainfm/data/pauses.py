"""Pauses of an acquisition: the file's clock goes on, and nothing is recorded. A recording leaves them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Events

SKIP = "BAD_ACQ_SKIP"
"""What MNE calls a stretch of a FIF that was not recorded and that it fills with zeros."""


@dataclass(frozen=True)
class Pauses:
    """(start, stop) of each pause in seconds from the file's first sample, in order and apart."""

    spans: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, raw: Any) -> Self:
        """Those that the annotations of an `mne.io.Raw` tell."""
        marks = raw.annotations
        starts = np.asarray(marks.onset, float) - raw.first_time
        said = sorted(
            (max(0.0, float(start)), float(start + seconds))
            for start, seconds, word in zip(starts, marks.duration, marks.description, strict=True)
            if str(word) == SKIP and seconds > 0
        )
        spans: list[tuple[float, float]] = []
        for start, stop in said:  # MNE may tell one twice: of the gap in the file, and of the note about it
            if spans and start <= spans[-1][1]:
                before = spans.pop()
                start, stop = before[0], max(stop, before[1])
            spans.append((start, stop))
        return cls(tuple(spans))

    def recorded(self, sfreq: float, n_times: int) -> tuple[tuple[int, int], ...]:
        """The stretches of samples, (first, after the last), between the pauses; nothing where there is none."""
        if not self.spans:
            return ()
        edges = np.floor(np.array(self.spans) * sfreq + 0.5).astype(int).clip(0, n_times)
        first, stop = [0, *edges[:, 1].tolist()], [*edges[:, 0].tolist(), n_times]
        return tuple((a, b) for a, b in zip(first, stop, strict=True) if a < b)

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Times of the file's clock in the recording's; those inside a pause fall on its edge."""
        starts, stops = np.array(self.spans, float).reshape(-1, 2).T
        passed = np.clip(seconds[..., None] - starts, 0, stops - starts)
        return seconds - passed.sum(axis=-1)

    def leave_out(self, events: Events) -> Events:
        """Events of the file's clock at the recording's times, without those that begin inside a pause."""
        if not self.spans:
            return events
        inside = np.zeros(len(events), bool)
        for start, stop in self.spans:
            inside |= (events.onset >= start) & (events.onset < stop)
        onset, end = self.at(events.onset), self.at(events.onset + events.duration)
        label = tuple(word for word, out in zip(events.label, inside, strict=True) if not out)
        return Events(onset[~inside], (end - onset)[~inside], label)

    @property
    def seconds(self) -> float:
        """How long they are together."""
        return sum(stop - start for start, stop in self.spans)

    @property
    def notes(self) -> list[str]:
        """What was left out, in words."""
        pauses = "a pause" if len(self.spans) == 1 else f"{len(self.spans)} pauses"
        return [f"left out, {pauses} of the acquisition: {self.seconds:.3f} s"] if self.spans else []


def joins(stretches: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The samples of a recording at which a stretch of its file follows another."""
    return tuple(np.cumsum([stop - first for first, stop in stretches])[:-1].tolist())
