"""A label for every part of a window: what is going on now, not what the window is of."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from brainfm.data.recording import Recording
from brainfm.data.targets import Target, Targets, spans
from brainfm.data.windows import Windows
from brainfm.data.windows.sliding import Sliding


class PartLabels(Target):
    """Each part carries the label of which at least the share `overlap` of it lies inside events, as windows of `sliding` do.

    A part inside none carries `background` where that is given, else nothing: it is neither trained on nor scored.
    """

    labels: list[str] = Field(min_length=2)
    overlap: float = Field(default=0.5, gt=0, le=1)
    background: str | None = None
    lag: float = Field(default=0.0, description="seconds by which the signal follows the events")

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        cut = Sliding(seconds=windows.seconds / parts, overlap=self.overlap, background=self.background)
        cut.check(recordings, self.labels)
        begins = spans(windows, parts)[..., 0] - self.lag
        value = np.full(begins.shape, -1, np.int64)
        for index, recording in enumerate(recordings):
            rows = windows.recording == index
            marks = cut.marks(begins[rows].reshape(-1), recording.events, self.labels)
            value[rows] = np.maximum(marks, -1).reshape(-1, parts)
        return Targets(value, tuple(self.labels), "classes")
