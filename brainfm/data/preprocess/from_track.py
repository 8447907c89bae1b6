"""Make a signal of a track, so that what went with the brain enters windows beside it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.modalities import modality as find_modality
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.errors import DataError
from brainfm.part import suggest


class FromTrack(Step):
    """A row for each column of `track`, at `sfreq` hertz on the recording's clock: the mean over each sample's time.

    A sample is NaN where a part of its time was not measured, and is never filled in: windows that hold one are dropped
    (`data.windows.measured`). A stretch ends there, and where a signal of the recording has a break.
    """

    track: str
    sfreq: float | None = Field(default=None, gt=0, description="hertz; default: the track's own rate")

    def makes(self, recording: Recording, modality: str) -> bool:
        return self.track in recording.tracks

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where there is no such track, it holds no numbers, or none was measured in the recording's time."""
        if "track" not in find_modality(modality).kinds:
            raise DataError(f"{modality} can't be made of a track; from_track is a step of signals.behaviour")
        if self.track not in recording.tracks:
            raise DataError(
                f"{recording.name} has no track {self.track!r}{suggest(self.track, recording.tracks)}; "
                f"it has {', '.join(recording.tracks) or 'none'}"
            )
        track, where = recording.tracks[self.track], f"{recording.name}: the track {self.track}"
        sfreq = self.sfreq or track.rate
        if sfreq > track.rate * (1 + 1e-6):
            raise DataError(f"{where} has {track.rate:g} Hz and is not known at {sfreq:g} Hz; ask for less")
        values = numbers(track, where)
        others = [signal for name, signal in recording.signals.items() if name != modality]
        seconds = max((one.seconds for one in others), default=track.start + len(values) / track.rate)
        data = held(values, track, np.arange(int(seconds * sfreq + 1e-6) + 1) / sfreq)
        cuts = sorted({edge / one.sfreq for one in others for edge in one.breaks})
        known = np.isfinite(data[0]) & whole(cuts, sfreq, data.shape[1])
        if not known.any():
            raise DataError(f"{where} was never measured while the recording ran; leave this recording out")
        data[:, ~known] = np.nan
        sensors = Sensors.of(named(track, self.track, len(data)), "track", track.unit or "1")
        made = recording.with_signal(modality, Signal(data, sfreq, sensors, edges(known, cuts, sfreq)))
        return made.noting(f"from_track: {self.track} at {sfreq:g} Hz, {1 - known.mean():.1%} not measured")


def numbers(track: Track, where: str) -> NDArray[np.float64]:
    """(time, column) what the track holds. Raises `DataError` where that is no numbers."""
    data = np.asarray(track.data)
    if data.dtype.kind not in "iufb" or not data.size:
        raise DataError(f"{where} holds no numbers; name another")
    return data.reshape(len(data), -1).astype(np.float64)


def named(track: Track, name: str, columns: int) -> list[str]:
    """A name for each column: the track's and its own, which is a number where it has none."""
    if columns == 1 and len(track.names) != 1:
        return [name]
    own = track.names if len(track.names) == columns else [str(row + 1) for row in range(columns)]
    return [f"{name}.{column}" for column in own]


def held(values: NDArray[np.float64], track: Track, bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(column, sample) the means of (time, column) values between `bounds`, in seconds; NaN where a part was not measured."""
    return means_within(values, track, bounds[:-1], bounds[1:])


def means_within(
    values: NDArray[np.float64], track: Track, start: NDArray[np.float64], stop: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(column, span) the means of (time, column) values from `start` to `stop`, in seconds, (span,) each; NaN where a part was
    not measured. A value stands from its time to the next one's.
    """
    first, last = ((edge - track.start) * track.rate for edge in (start, stop))
    there = np.asarray(np.isfinite(values).all(axis=1))
    filled = np.where(there[:, None], values, 0.0)
    summed = np.pad(np.cumsum(np.column_stack([filled, there]), axis=0), ((1, 0), (0, 0)))
    ticks = np.arange(len(summed))
    *sums, measured = (
        np.interp(last, ticks, column) - np.interp(first, ticks, column) for column in summed.T
    )
    short = measured < last - first - 1e-6
    return np.where(short, np.nan, np.stack(sums) / np.where(short, 1.0, measured))


def whole(cuts: Sequence[float], sfreq: float, samples: int) -> NDArray[np.bool_]:
    """(sample,) False where a break of the recording, in seconds, lies within the sample's time."""
    at = np.array(cuts) * sfreq
    inside = np.floor(at[np.abs(at - at.round()) > 1e-6]).astype(int)
    kept = np.ones(samples, dtype=bool)
    kept[inside[inside < samples]] = False
    return kept


def edges(known: NDArray[np.bool_], cuts: Sequence[float], sfreq: float) -> tuple[int, ...]:
    """Where stretches end: at breaks of the recording, and between what was measured, (sample,), and what was not."""
    changes = np.flatnonzero(np.diff(known)) + 1
    breaks = np.round(np.array(cuts) * sfreq).astype(int)
    return tuple(int(edge) for edge in np.union1d(changes, breaks) if 0 < edge < len(known))
