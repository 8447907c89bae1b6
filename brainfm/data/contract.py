"""Contract: what a model of other people's making asks of a signal, and the step that brings a recording to it or refuses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.preprocess import Step
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.reference import Reference
from brainfm.data.preprocess.resample import Resample
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.windows import n_samples
from brainfm.errors import DataError

RENAMED = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
"""Older names of the 10-20 system, and what the 10-10 system calls the same places."""


class Contract(Step):
    """Fulfilled recording by recording where it can be: sensors chosen, put in order, paired and referenced, the rate changed,
    the unit turned into the model's. What would have to be made up is refused: a sensor that nobody measured, a rate much below
    the model's, a window of another length.
    """

    modality: str = "eeg"
    sfreq: float | None = Field(default=None, gt=0, description="hertz; none: the recording's own")
    upsample: float = Field(
        default=0.6, gt=0, le=1, description="the lowest rate that is brought up to `sfreq`, as a share of it"
    )
    band: tuple[float, float] | None = Field(default=None, description="hertz that are kept")
    scale: float = Field(
        default=1.0, gt=0, description="what SI numbers are multiplied by: 1e6 for microvolts"
    )
    sensors: list[str] = Field(
        default=[], description="their names in order, A-B for the difference of two; none: any"
    )
    missing: Literal["refuse", "leave_out", "mask"] = Field(
        default="refuse", description="what becomes of `sensors` that a recording lacks"
    )
    reference: Literal["recorded", "average"] = "recorded"
    normalise: Literal["none", "z_score", "percentile", "range"] = Field(
        default="none",
        description="of each window, sensor by sensor: mean 0 and deviation 1, or the 95th percentile of its size 1; "
        "of its sensors together: −1 to 1",
    )
    clip: float | None = Field(default=None, gt=0, description="the largest size after that")
    seconds: float | None = Field(default=None, gt=0, description="of a window; none: any length")
    patch: float | None = Field(default=None, gt=0, description="seconds that a window is a multiple of")

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """The recording as the model wants it. Raises `DataError` in one sentence where it can't be had."""
        if modality != self.modality:
            raise DataError(f"this model reads {self.modality}, not {modality}")
        self._check_rate(recording.signal(modality), recording.name)
        for step in self._steps(recording.signal(modality)):
            recording = step(recording, modality)
        signal = recording.signal(modality)
        mix, names, lacking = self._mixed(signal.sensors, recording.name)
        unit = "1" if self.scale != 1.0 else signal.sensors.unit[0]
        table = described(signal.sensors, mix, names, unit)
        made = recording.with_signal(
            modality, replace(signal, data=self.scale * (mix @ signal.load()), sensors=table)
        )
        left = [name for name in signal.sensors.name if not used(name, names)]
        return made.noting(
            *([f"contract: the model does not know {', '.join(left)}"] if left else []),
            *([f"contract: the model knows {', '.join(lacking)}, not measured here"] if lacking else []),
        )

    def on_window(self, window: NDArray[Any], sensors: Sensors | None = None) -> NDArray[Any]:
        """Windows (..., sensor, time), each normalised on its own. Raises `DataError` for a flat sensor."""
        if self.normalise == "none":
            return window if self.clip is None else np.clip(window, -self.clip, self.clip)
        centre, size = measured(window, self.normalise)
        if not (size > 0).all():
            raise DataError("a sensor is flat throughout a window, which can't be normalised; leave it out")
        out = (window - centre) / size
        return out if self.clip is None else np.clip(out, -self.clip, self.clip)

    def check_window(self, seconds: float) -> None:
        """Raise `DataError` for windows of a length that the model can't read."""
        if self.seconds is not None and abs(seconds - self.seconds) > 1e-6:
            raise DataError(
                f"this model reads windows of {self.seconds:g} s, not {seconds:g} s; cut them so in the card's task"
            )
        rate = self.sfreq or 0
        if self.patch and rate and n_samples(seconds, rate) % n_samples(self.patch, rate):
            raise DataError(
                f"this model reads windows of whole patches of {self.patch:g} s, not {seconds:g} s; cut them so in the "
                "card's task"
            )

    def rates(self, recording: Recording) -> str:
        """A sentence where a recording holds less of the spectrum than the model reads, else ""."""
        own = recording.signal(self.modality).sfreq
        if self.sfreq is None or own >= self.sfreq:
            return ""
        return (
            f"recordings of {own:g} Hz are brought up to the model's {self.sfreq:g} Hz and hold nothing above "
            f"{own / 2:g} Hz"
        )

    def _check_rate(self, signal: Signal, where: str) -> None:
        if self.sfreq is not None and signal.sfreq < self.upsample * self.sfreq:
            raise DataError(
                f"{where} was recorded at {signal.sfreq:g} Hz and this model reads {self.sfreq:g} Hz, of which it would lack "
                f"all above {signal.sfreq / 2:g} Hz; give recordings of {self.upsample * self.sfreq:g} Hz or more"
            )

    def _steps(self, signal: Signal) -> list[Step]:
        """Before sensors are chosen: the average is over all of them."""
        low, high = self.band or (None, None)
        band = BandPass(low=low, high=None if high is None or high >= signal.sfreq / 2 else high)
        return [
            *([Reference(to="average")] if self.reference == "average" else []),
            *([band] if self.band is not None else []),
            *([Resample(sfreq=self.sfreq)] if self.sfreq is not None else []),
        ]

    def _mixed(self, table: Sensors, where: str) -> tuple[NDArray[np.float64], list[str], list[str]]:
        """(wanted, sensor) what each wanted sensor is made of, the wanted ones' names, and those that can't be had."""
        if not self.sensors:
            return np.eye(len(table)), list(table.name), []
        row = {plain(name): index for index, name in enumerate(table.name)}
        mixes = {name: mixture(name, row, len(table)) for name in self.sensors}
        lacking = [name for name, mix in mixes.items() if mix is None]
        if lacking and (self.missing == "refuse" or len(lacking) == len(mixes)):
            named = ", ".join(lacking[:6]) + (", …" if len(lacking) > 6 else "")
            raise DataError(
                f"{where} lacks {named}: {len(lacking)} of the {len(self.sensors)} sensors that this model reads; it takes "
                "another montage"
            )
        had = {name: mix for name, mix in mixes.items() if mix is not None}
        return np.stack(list(had.values())), list(had), lacking


def plain(name: str) -> str:
    """A sensor's name as montages agree on it: upper case, today's name for places that were renamed."""
    return RENAMED.get(name.upper(), name.upper())


def mixture(name: str, row: dict[str, int], count: int) -> NDArray[np.float64] | None:
    """(sensor,) the weights of a wanted sensor: one recorded under that name, or the difference of two; None: neither."""
    weight = np.zeros(count)
    if plain(name) in row:
        weight[row[plain(name)]] = 1.0
        return weight
    first, dash, second = name.partition("-")
    if not dash or plain(first) not in row or plain(second) not in row:
        return None
    weight[row[plain(first)]], weight[row[plain(second)]] = 1.0, -1.0
    return weight


def used(name: str, wanted: Sequence[str]) -> bool:
    """Whether a recorded sensor went into one of the wanted ones."""
    parts = {plain(part) for one in wanted for part in (one, *one.split("-"))}
    return plain(name) in parts


def described(table: Sensors, mix: NDArray[np.float64], names: Sequence[str], unit: str) -> Sensors:
    """The table of mixed sensors: each where the mean of its parts is."""
    share = np.abs(mix) / np.abs(mix).sum(axis=1, keepdims=True)
    rows = mix.argmax(axis=1)
    return Sensors(
        name=tuple(names),
        kind=tuple(table.kind[row] for row in rows),
        unit=(unit,) * len(names),
        position=np.stack([part @ np.where(part[:, None] > 0, table.position, 0.0) for part in share]),
        orientation=table.orientation[rows],
        region=tuple(table.region[row] for row in rows),
        frame=table.frame,
    )


def measured(window: NDArray[Any], how: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """What is subtracted from windows (..., sensor, time) and what they are then divided by."""
    if how == "z_score":
        return window.mean(axis=-1, keepdims=True), window.std(axis=-1, keepdims=True)
    if how == "percentile":
        size = np.quantile(np.abs(window), 0.95, axis=-1, keepdims=True)
        return np.zeros_like(size), size
    low, high = (edge(window, axis=(-2, -1), keepdims=True) for edge in (np.min, np.max))
    return (low + high) / 2, (high - low) / 2
