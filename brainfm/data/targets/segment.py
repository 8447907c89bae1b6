"""The segment of a stimulus that went with a window: which of many it was (Défossez et al. 2023, arXiv:2208.12266, §2.1)."""

from collections.abc import Sequence

from pydantic import Field

from brainfm.data.recording import Recording
from brainfm.data.targets import Target, Targets
from brainfm.data.targets.track import TrackValues
from brainfm.data.windows import Windows
from brainfm.errors import DataError


class Segment(Target):
    """What the track held while the window lasted, `lag` seconds earlier, in `steps` equal steps, as one vector.

    It is not the numbers that are scored but whether they lie nearest to those of the right segment.
    """

    track: str
    steps: int = Field(default=10, ge=1, description="means of the track within a window")
    lag: float = Field(default=0.0, description="seconds by which the brain follows the stimulus")

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        if parts != 1:
            raise DataError("a segment is told of a whole window; take a head that answers for one")
        found = TrackValues(track=self.track, lag=-self.lag)(recordings, windows, modality, self.steps)
        names = tuple(f"{name}@{step}" for step in range(self.steps) for name in found.names)
        return Targets(found.value.reshape(len(windows), 1, -1), names, "segments", found.unit)
