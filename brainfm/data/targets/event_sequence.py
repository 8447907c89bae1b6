"""The labels of a window's events, in their order: keys that were typed, phonemes that were said, whenever they were."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.recording import Recording
from brainfm.data.targets import BLANK, Target, Targets
from brainfm.data.windows import Windows
from brainfm.errors import DataError


class EventSequence(Target):
    """What began inside the window, in order, without when: a decoder finds the times itself (Graves et al. 2006, CTC).

    Windows in which nothing began carry nothing. The window must have a patch for each event and one more between two alike.
    """

    labels: list[str] = Field(min_length=1)
    lag: float = Field(default=0.0, description="seconds by which the signal follows the events")

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        if parts < 2:
            raise DataError("a sequence is told patch by patch; take a head that answers for every patch")
        spelled = [
            self._begun(recordings[index], float(start) - self.lag, windows.seconds)
            for index, start in zip(windows.recording, windows.start, strict=True)
        ]
        for row, one in enumerate(spelled):
            if (needed := patches_for(one)) > parts:
                where = f"{recordings[windows.recording[row]].name} at {windows.start[row]:g} s"
                raise DataError(
                    f"{where}: {len(one)} events ask for {needed} patches and the window has {parts}; "
                    "take shorter windows or patches"
                )
        value = np.full((len(windows), max(map(len, spelled), default=0) or 1), -1, np.int64)
        for row, one in enumerate(spelled):
            value[row, : len(one)] = one
        return Targets(value, (*self.labels, BLANK), "sequences", moments=parts)

    def _begun(self, recording: Recording, start: float, seconds: float) -> list[int]:
        """Indices of the labels of what began in a stretch of a recording."""
        events = recording.events
        inside = np.flatnonzero((events.onset >= start) & (events.onset < start + seconds))
        ordered: NDArray[np.int64] = inside[np.argsort(events.onset[inside], kind="stable")]
        return [self.labels.index(events.label[one]) for one in ordered if events.label[one] in self.labels]


def patches_for(sequence: Sequence[int]) -> int:
    """How many patches CTC needs to say a sequence: one a symbol, and a blank between two alike."""
    return len(sequence) + sum(a == b for a, b in pairwise(sequence))
