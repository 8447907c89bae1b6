"""Windows that slide over the signal, labelled by the share that lies inside an event."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.recording import Events, Recording
from brainfm.data.windows import Cut, Windows, n_samples
from brainfm.data.windows.trials import require_events, table
from brainfm.errors import DataError


class Sliding(Cut):
    """A window of `seconds` every `stride` seconds (default: `seconds`), from the start of every stretch.

    A window carries the label of which at least the share `overlap` of it lies inside events, the largest
    share winning: a window wholly inside an event always carries its label. One that touches no labelled
    event carries `background`, where given. `lag`, in seconds, is how long after an event the signal tells of it: fMRI's
    blood answers about five seconds late, so a window is labelled by what happened `lag` before it.
    """

    stride: float | None = Field(default=None, gt=0)
    overlap: float = Field(default=0.5, gt=0, le=1)
    background: str | None = None
    lag: float = 0.0

    def __call__(self, recordings: Sequence[Recording], modality: str, labels: Sequence[str]) -> Windows:
        """Every window; with `labels`, those that carry one. Raises `DataError` where labels can't be had."""
        self.check(recordings, labels)
        rows: list[tuple[int, float, int]] = []
        dropped: Counter[str] = Counter()
        for index, recording in enumerate(recordings):
            signal = recording.signal(modality)
            starts = self._starts(signal.stretches, signal.sfreq, dropped) / signal.sfreq
            marks = (
                self.marks(starts - self.lag, recording.events, labels)
                if labels
                else np.full(len(starts), -1)
            )
            kept = (marks >= 0) | (len(labels) == 0)
            if unused := int((marks == -1).sum()) if labels else 0:
                dropped["in no labelled event"] += unused
            if partly := int((marks == -2).sum()):
                dropped["only partly in a labelled event"] += partly
            rows += [
                (index, float(start), int(mark))
                for start, mark in zip(starts[kept], marks[kept], strict=True)
            ]
        return table(rows, self.seconds, labels, dropped)

    def check(self, recordings: Sequence[Recording], labels: Sequence[str]) -> None:
        """Raise `DataError` where no window could carry these labels."""
        if not labels:
            return
        if self.background is not None and self.background not in labels:
            raise DataError(
                f"background {self.background!r} is not among the task's labels: {', '.join(labels)}"
            )
        wanted = [label for label in labels if label != self.background]
        require_events(recordings, wanted)
        lasting = any(
            duration > 0 and label in wanted
            for recording in recordings
            for duration, label in zip(recording.events.duration, recording.events.label, strict=True)
        )
        if not lasting:
            raise DataError(
                "no labelled event lasts: give the events a duration, or cut with `trials`, not `sliding`"
            )

    def _starts(
        self, stretches: list[tuple[int, int]], sfreq: float, dropped: Counter[str]
    ) -> NDArray[np.int64]:
        """First samples of the windows of all stretches; the stride is rounded to samples."""
        count = n_samples(self.seconds, sfreq)
        step = n_samples(self.stride or self.seconds, sfreq)
        if step < 1:
            raise DataError(f"a stride of {self.stride} s is less than one sample at {sfreq:g} Hz")
        if short := sum(end - start < count for start, end in stretches):
            dropped["a stretch shorter than a window"] += short
        return np.concatenate([np.arange(start, end - count + 1, step) for start, end in stretches])

    def marks(self, starts: NDArray[np.float64], events: Events, labels: Sequence[str]) -> NDArray[np.int64]:
        """The label of each window; −1: outside every labelled event, −2: not enough inside one."""
        share = np.stack([self._share(starts, events, label) for label in labels])
        marks = share.argmax(axis=0)
        # 1e-9: an event's edges and a window's are seconds that went through a division
        marks[share.max(axis=0) < self.overlap - 1e-9] = -2
        outside = share.max(axis=0) < 1e-9
        marks[outside] = -1 if self.background is None else list(labels).index(self.background)
        return marks

    def _share(self, starts: NDArray[np.float64], events: Events, label: str) -> NDArray[np.float64]:
        """(window,) share of each window that lies inside events with that label."""
        inside = np.zeros(len(starts))
        end = -np.inf
        spans = zip(events.onset, events.onset + events.duration, events.label, strict=True)
        for first, last in sorted((a, b) for a, b, word in spans if word == label):
            # overlapping events of one label count once
            a, b = max(first, end), last
            inside += np.clip(np.minimum(starts + self.seconds, b) - np.maximum(starts, a), 0, None)
            end = max(end, last)
        return inside / self.seconds
