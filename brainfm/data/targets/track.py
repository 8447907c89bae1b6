"""A track's values: where a hand moves, where an animal is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.preprocess.from_track import means_within, named, numbers
from brainfm.data.recording import Recording
from brainfm.data.targets import Target, Targets, spans
from brainfm.data.windows import Windows
from brainfm.errors import DataError
from brainfm.part import suggest


class TrackValues(Target):
    """Each column's mean over the last seconds of every part (default: all of it), `lag` seconds later.

    With `along`, one number: how far along this direction of the columns. A window with a part that was not measured
    throughout is left out.
    """

    track: str
    along: list[float] | None = Field(
        default=None, description="what each column counts for; the target is their sum"
    )
    last: float | None = Field(default=None, gt=0, description="seconds, at the end of each part")
    lag: float = Field(default=0.0, description="seconds by which behaviour follows the brain")

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        when = spans(windows, parts) + self.lag
        if self.last is not None:
            when[..., 0] = np.maximum(when[..., 0], when[..., 1] - self.last)
        columns = [self.columns(recording) for recording in recordings]
        if len({names for names, _ in columns}) > 1:
            raise DataError(f"the track {self.track} has other columns in some recordings than in others")
        value = np.full((len(windows), parts, len(columns[0][0])), np.nan)
        for index, recording in enumerate(recordings):
            rows = np.flatnonzero(windows.recording == index)
            if len(rows):
                track = recording.tracks[self.track]
                means = means_within(columns[index][1], track, *when[rows].reshape(-1, 2).T)
                value[rows] = means.T.reshape(len(rows), parts, -1)
        unit = recordings[0].tracks[self.track].unit
        return Targets(value, columns[0][0], "values", unit)

    def columns(self, recording: Recording) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """What is told, by name, and its samples, (time, output). Raises `DataError` where there is no such track."""
        if self.track not in recording.tracks:
            raise DataError(
                f"{recording.name} has no track {self.track!r}{suggest(self.track, recording.tracks)}"
            )
        track = recording.tracks[self.track]
        values = numbers(track, f"{recording.name}: the track {self.track}")
        if self.along is None:
            return tuple(named(track, self.track, values.shape[1])), values
        if len(self.along) != values.shape[1]:
            raise DataError(
                f"{recording.name}: the track {self.track} has {values.shape[1]} columns, `along` {len(self.along)}"
            )
        return (self.track,), values @ np.array(self.along)[:, None]
