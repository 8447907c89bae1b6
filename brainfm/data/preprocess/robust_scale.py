"""Scale to a dimensionless signal by median and MAD, with what it is measured on as an explicit choice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.causal import Running, Samples
from brainfm.data.preprocess import Step, at_each_time
from brainfm.data.recording import Recording, Sensors
from brainfm.data.spool import Spool
from brainfm.errors import DataError

TO_SD = 1.4826
"""Standard deviation over MAD of a normal distribution (Rousseeuw & Croux 1993, section 1)."""


class RobustScale(Step):
    """Subtracts each sensor's median and divides by 1.4826 · MAD, clips to ± `clip`; the unit becomes "1".

    `scope` says what median and MAD are measured on, and has no default because it decides what leaks:
    `window` (each window on its own, when it is cut), `recording` (each recording on its own, unlabelled test
    recordings too), or `training_set` (the medians over the training recordings of each one's value, filled
    in by `fit`). With `per: all` the sensors of one kind share one scale, the median over them, so that their
    relative amplitude survives; with `per: sensor` each has its own.
    """

    scope: Literal["window", "recording", "training_set"]
    per: Literal["all", "sensor"] = "all"
    clip: float | None = Field(default=20.0, gt=0)
    value: dict[str, float] | None = None
    """Learnt with scope training_set: the scale by kind (`per: all`) or by sensor, in the sensor's unit."""
    centre: dict[str, float] | None = None
    """Learnt with scope training_set: each sensor's median, in its unit."""

    def fit(self, recordings: Sequence[Recording], modality: str) -> Self:
        """The step with `value` and `centre` learnt from training recordings; unchanged for other scopes."""
        if self.scope != "training_set":
            return self
        if not recordings:
            raise DataError("robust_scale has no training recording to learn its scale from")
        scales: dict[str, list[float]] = {}
        centres: dict[str, list[float]] = {}
        for recording in recordings:
            signal = recording.signal(modality)
            centre, scale = measure(signal.load(), signal.sensors, self.per, recording.name)
            keys = signal.sensors.name if self.per == "sensor" else signal.sensors.kind
            for key, by in dict(zip(keys, scale[:, 0].tolist(), strict=True)).items():
                scales.setdefault(key, []).append(by)
            for name, middle in zip(signal.sensors.name, centre[:, 0].tolist(), strict=True):
                centres.setdefault(name, []).append(middle)
        value = {key: float(np.median(found)) for key, found in scales.items()}
        return self.model_copy(
            update={
                "value": value,
                "centre": {name: float(np.median(found)) for name, found in centres.items()},
            }
        )

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where there is no scale: not fitted, an unknown sensor, or a flat one."""
        if self.scope == "window":
            return recording.noting("robust_scale: each window on its own, when it is cut")
        signal = recording.signal(modality)
        data = signal.load()
        centre, scale = (
            measure(data, signal.sensors, self.per, recording.name)
            if self.scope == "recording"
            else self._learnt(signal.sensors, recording.name)
        )
        scaled, clipped = self._clip((data - centre) / scale)
        changed = recording.with_signal(
            modality, replace(signal, data=scaled, sensors=without_unit(signal.sensors))
        )
        return changed.noting(said(self.scope, scale[:, 0], signal.sensors, clipped))

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """From a spool in `scratch`, on which median and MAD are measured: float32, so within 1e-7 of the largest value."""
        if self.scope == "window":
            return self(recording, modality)
        signal = recording.signal(modality)
        spool = Spool.of(signal, scratch)
        centre, scale = (
            pooled(*columns(spool), signal.sensors, self.per, recording.name)
            if self.scope == "recording"
            else self._learnt(signal.sensors, recording.name)
        )

        def change(data: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(self._clip((data - centre) / scale)[0])

        made = at_each_time(replace(signal, data=spool), change, without_unit(signal.sensors))
        clipped = [self._clip((block.T - centre) / scale)[1] * len(block) for block in spool.blocks()]
        share = sum(clipped) / signal.n_times
        return recording.with_signal(modality, made).noting(
            said(self.scope, scale[:, 0], signal.sensors, share)
        )

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """By the first `calibrate` seconds where the step measures a recording. Raises `DataError` as the call does."""
        signal = recording.signal(modality)
        if self.scope == "window":
            return Running(signal.sensors, signal.sfreq)
        if self.scope == "training_set":
            return Scaled(self, signal.sensors, signal.sfreq, self._learnt(signal.sensors, recording.name))
        return Calibrated(self, signal.sensors, signal.sfreq, calibrate)

    @property
    def learns(self) -> bool:
        return self.scope == "training_set" and self.value is None

    def on_window(self, window: NDArray[Any], sensors: Sensors | None = None) -> NDArray[Any]:
        """Windows (..., sensor, time), each scaled on its own with scope `window`; else as they are."""
        if self.scope != "window":
            return window
        sensors = sensors or Sensors.of([str(row) for row in range(window.shape[-2])], "sensor", "1")
        centre, scale = measure(window, sensors, self.per, "a window")
        return self._clip((window - centre) / scale)[0].astype(window.dtype)

    def _learnt(self, sensors: Sensors, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Centre and scale of the training recordings, (sensor, 1) each."""
        if self.value is None or self.centre is None:
            raise DataError(
                "robust_scale with scope training_set must be fitted on training recordings before it is used"
            )
        keys = sensors.name if self.per == "sensor" else sensors.kind
        for key, name in zip(keys, sensors.name, strict=True):
            if key not in self.value or name not in self.centre:
                what = f"sensor {name}" if name not in self.centre else f"{key} sensors"
                raise DataError(
                    f"{where}: no training recording had {what}; use another scope, or pick others"
                )
        centre = [self.centre[name] for name in sensors.name]
        return np.array(centre)[:, None], np.array([self.value[key] for key in keys])[:, None]

    def scaled(self, data: NDArray[Any], by: tuple[NDArray[Any], NDArray[Any]]) -> NDArray[np.float64]:
        """(sensor, time) data by a centre and a scale, clipped."""
        out = (data - by[0]) / by[1]
        return np.asarray(out if self.clip is None else np.clip(out, -self.clip, self.clip))

    def _clip(self, scaled: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """The signal within ± clip, and the share of samples that were outside."""
        if self.clip is None:
            return scaled, 0.0
        return np.clip(scaled, -self.clip, self.clip), float((np.abs(scaled) > self.clip).mean())


class Scaled(Running):
    """A signal by a centre and a scale that are known before it comes."""

    def __init__(
        self, step: RobustScale, sensors: Sensors, sfreq: float, by: tuple[NDArray[Any], NDArray[Any]]
    ) -> None:
        super().__init__(without_unit(sensors), sfreq)
        self.step, self.by = step, by

    def __call__(self, block: Samples) -> Samples:
        return self.step.scaled(block, self.by)


class Calibrated(Running):
    """A signal by the median and MAD of its first `seconds`, held back until they are there and the same ever after."""

    def __init__(self, step: RobustScale, sensors: Sensors, sfreq: float, seconds: float) -> None:
        said = f"robust_scale: median and scale of the first {seconds:g} s, where training took the whole recording's"
        super().__init__(without_unit(sensors), sfreq, said)
        self.step, self.of, self.needed = step, sensors, max(1, round(seconds * sfreq))
        self.seen: list[Samples] = []
        self.count = self.follows = 0
        self.by: tuple[NDArray[Any], NDArray[Any]] | None = None

    @property
    def held(self) -> float:
        return 0.0 if self.by else (self.needed - self.count) / self.sfreq

    def restart(self) -> None:
        self.follows = self.count  # what came before is measured, and not given

    def __call__(self, block: Samples) -> Samples:
        if self.by is not None:
            return self.step.scaled(block, self.by)
        self.seen.append(block)
        self.count += block.shape[1]
        if self.count < self.needed:
            return block[:, :0]
        seen = np.concatenate(self.seen, axis=1)
        self.seen.clear()
        self.by = measure(seen[:, : self.needed], self.of, self.step.per, "the signal's beginning")
        return self.step.scaled(seen[:, self.follows :], self.by)


def measure(
    data: NDArray[Any], sensors: Sensors, per: Literal["all", "sensor"], where: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Median and 1.4826 · MAD over time, (..., sensor, 1) each, without what was not measured (NaN, of a track).

    Raises `DataError` for a flat sensor.
    """
    middle = np.nanmedian if np.isnan(data).any() else np.median
    centre = middle(data, axis=-1, keepdims=True)
    scale = TO_SD * middle(np.abs(data - centre), axis=-1, keepdims=True)
    return pooled(centre, scale, sensors, per, where)


def columns(spool: Spool) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same two of a spool, before they are pooled, (sensor, 1) each."""
    middle, distance = spool.robust()
    return middle[:, None], TO_SD * distance[:, None]


def pooled(
    centre: NDArray[Any],
    scale: NDArray[Any],
    sensors: Sensors,
    per: Literal["all", "sensor"],
    where: str,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """With `per: all` one scale for the sensors of a kind. Raises `DataError` for a flat sensor."""
    if per == "all":
        for kind in set(sensors.kind):
            rows = [row for row, other in enumerate(sensors.kind) if other == kind]
            scale[..., rows, :] = np.median(scale[..., rows, :], axis=-2, keepdims=True)
    if not (np.isfinite(scale) & (scale > 0)).all():
        row = int(np.argwhere(~(np.isfinite(scale) & (scale > 0)))[0][-2])
        raise DataError(
            f"{where}: sensor {sensors.name[row]} is flat or not finite and can't be scaled; leave it out"
        )
    return centre, scale


def without_unit(sensors: Sensors) -> Sensors:
    """The table once the signal is divided by its own scale."""
    return replace(sensors, unit=("1",) * len(sensors))


def said(scope: str, scale: NDArray[np.float64], sensors: Sensors, clipped: float) -> str:
    """What was divided by, for the recording's notes."""
    by = {f"{value:.4g} {unit}" for value, unit in zip(scale.tolist(), sensors.unit, strict=True)}
    few = (
        ", ".join(sorted(by))
        if len(by) <= 3
        else f"{len(by)} scales from {scale.min():.4g} to {scale.max():.4g}"
    )
    return f"robust_scale: {scope}, divided by {few}; {clipped:.2%} of the samples clipped"
