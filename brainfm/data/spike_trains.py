"""Spike trains as files hold them: one array of times per neuron, on some clock, into a recording."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.spike_times import RESOLUTION, SpikeTimes
from brainfm.data.units import UNITS
from brainfm.errors import DataError
from brainfm.part import Settings

NEAR = 0.1
"""Seconds: of a thousand spikes of any neuron some follow another sooner."""
EXPECTED = 10.0
"""Intervals shorter than `NEAR` that chance would give; where there is none, the clock is wrong (p < 5e-5)."""


class Clock(Settings):
    """In what a file's times are, and when the recording began and ended on the same clock."""

    unit: str = Field(description="of the times: s, ms, µs, or samples")
    sfreq: float | None = Field(default=None, gt=0, description="hertz, where the times are sample numbers")
    start: float | None = Field(default=None, description="when the recording began, in `unit`; default: 0")
    stop: float | None = Field(
        default=None, description="when it ended, in `unit`; default: after the last spike"
    )

    def tick(self, where: str) -> float:
        """Seconds that one of `unit` lasts. Raises `DataError` for a unit that is none of time."""
        if self.unit == "samples":
            if self.sfreq is None:
                raise DataError(f"{where}: times in samples need `sfreq:`, the clock's rate in hertz")
            return 1 / self.sfreq
        if self.unit not in UNITS["Hz"]:
            known = ", ".join((*UNITS["Hz"], "samples"))
            raise DataError(f"{where}: times can't be in {self.unit!r}; use one of {known}")
        if self.sfreq is not None:
            raise DataError(f"{where}: `sfreq:` is for times in samples, these are in {self.unit}")
        return 1 / UNITS["Hz"][self.unit]


def recording_of_trains(
    trains: Sequence[NDArray[np.float64]],
    sensors: Sensors,
    where: str,
    start: float = 0.0,
    stop: float | None = None,
    unit: str | None = "s",
) -> Recording:
    """A recording of these neurons' times, in seconds on the file's clock, from `start` to `stop` on that clock.

    `unit` is what the card states, for a message; None where it can state none. Raises `DataError` for a time that is none
    or lies outside, and for times on a clock that no neuron keeps.
    """
    times = [np.asarray(train, np.float64).ravel() for train in trains]
    for name, train in zip(sensors.name, times, strict=True):
        if not np.isfinite(train).all():
            raise DataError(f"{where}: neuron {name} has {(~np.isfinite(train)).sum()} times that are none")
    last = max((float(train.max()) for train in times if len(train)), default=start)
    stop = ending(start, last) if stop is None else stop
    for name, train in zip(sensors.name, times, strict=True):
        if outside := int(((train < start) | (train >= stop)).sum()):
            raise DataError(
                f"{where}: {outside} spikes of neuron {name} lie outside the recording, {start:.3f} to {stop:.3f} s "
                f"on its clock; correct its start and stop, or the unit of its times"
            )
    check_clock(times, sensors, stop - start, where, unit)
    data = SpikeTimes.of([train - start for train in times], stop - start)
    return Recording({"spikes": Signal(data, RESOLUTION, sensors)}, source=where)


def ending(start: float, last: float) -> float:
    """The end of the millisecond after the one in which the last spike lies."""
    return start + float(np.floor((last - start) * RESOLUTION) + 2) / RESOLUTION


def check_clock(
    times: Sequence[NDArray[np.float64]], sensors: Sensors, seconds: float, where: str, unit: str | None
) -> None:
    """Refuse times that never follow one another within `NEAR` though chance alone would have them do so often.

    A rate can be plausible in the wrong unit (40 Hz in milliseconds, read as seconds, is 0.04 Hz); that no neuron ever fires
    twice within a tenth of a second is not.
    """
    chance = sum(len(train) ** 2 * NEAR / seconds for train in times)
    nearest = min((float(np.diff(np.sort(train)).min()) for train in times if len(train) > 1), default=0.0)
    if chance > EXPECTED and nearest > NEAR:
        advice = ': say `unit: ms` in the card, or read(..., unit="ms")' if unit else "; convert the file"
        raise DataError(
            f"{where}: no neuron fires twice within {nearest:.2g} s, though chance would have it {chance:.0f} times within "
            f"{NEAR:g} s; the values look like ms labelled {unit or 's'}{advice}"
        )


def gaps(seen: Sequence[NDArray[np.float64]], start: float, stop: float) -> Events:
    """The stretches of a recording from `start` to `stop` that lie in no interval (interval, 2) of any neuron, as events
    `unobserved`; none where nothing is said of what was observed."""
    if not len(seen):
        return Events()
    spans = np.concatenate(list(seen))
    spans = spans[np.argsort(spans[:, 0])]
    begins = np.concatenate([[start], np.maximum.accumulate(spans[:, 1])])
    ends = np.concatenate([spans[:, 0], [stop]])
    lasts = ends - begins
    real = lasts > 1 / RESOLUTION
    return Events(begins[real] - start, lasts[real], ("unobserved",) * int(real.sum()))


def in_order(parts: Sequence[Events]) -> Events:
    """All events, by their onsets."""
    onset = np.concatenate([np.zeros(0), *(part.onset for part in parts)])
    duration = np.concatenate([np.zeros(0), *(part.duration for part in parts)])
    label = [word for part in parts for word in part.label]
    order = np.argsort(onset, kind="stable")
    return Events(onset[order], duration[order], tuple(label[row] for row in order))
