"""Preprocessing: one file per step, each `Recording -> Recording`; what is fitted sees training data only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.causal import Chain, Mixed, Running
from brainfm.data.lazy import Computed
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError
from brainfm.part import Part

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Step(Part):
    """One step of a `prepare:` list, applied to the signal of one modality."""

    each_time: ClassVar[bool] = False
    """Whether what it makes of a time is a weighted sum of that time's sensors, and nothing else decides it."""

    def fit(self, recordings: Sequence[Recording], modality: str) -> Self:
        """The step with what it learns from the training recordings filled in; most steps learn nothing."""
        return self

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """The recording with that modality's signal changed; never in place."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def makes(self, recording: Recording, modality: str) -> bool:
        """Whether it can give a recording the signal of a modality that the recording lacks; as a first step, of course."""
        return False

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """What the call gives, its samples computed when they are sliced, in memory that does not grow with the recording.

        `scratch` is a folder for passing files. A step that does not say how is called, on the whole in memory.
        """
        return self(recording, modality)

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """The step on a signal that is still coming in; `recording` has its sensors and its rate, and no sample yet.

        A step that must know a whole recording knows its first `calibrate` seconds instead. Raises `DataError` for one that
        has no form without the rest.
        """
        if not self.each_time:
            raise DataError(
                f"{self.kind} needs the whole recording, so it can't be done while the signal comes in; decode files with "
                "`brainfm predict`, or fine-tune from a checkpoint that is prepared without it"
            )
        signal = recording.signal(modality)
        alone = replace(signal, data=np.eye(len(signal.sensors)))  # each sensor by itself shows its weights
        made = self(recording.with_signal(modality, alone), modality).signal(modality)
        return Mixed(made.sensors, made.sfreq, made.load())

    @property
    def learns(self) -> bool:
        """Whether it must be fitted on training recordings before it is used."""
        return changes_in_fit(self)

    def on_window(self, window: NDArray[Any], sensors: Sensors | None = None) -> NDArray[Any]:
        """What the step does to windows (..., sensor, time) once they are cut; most do nothing there."""
        return window


class Filter(Step):
    """A step that filters every contiguous stretch on its own, with a zero-phase FIR where it is long enough for it."""

    def filter(self, signal: Signal, where: str) -> tuple[Change, int, list[str]]:
        """What is done to a stretch, the length of the FIR, and a note where stretches are shorter than that."""
        raise NotImplementedError  # a base class; every filter in this folder has its own

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where the filter does not fit the sampling rate."""
        signal = recording.signal(modality)
        change, _, notes = self.filter(signal, recording.name)
        return recording.with_signal(modality, by_stretch(signal, change)).noting(*notes)

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """Half the FIR on either side of a sample decides it; with a whole one MNE's padding stays at the true edges."""
        signal = recording.signal(modality)
        change, taps, notes = self.filter(signal, recording.name)
        return recording.with_signal(modality, by_stretch_lazily(signal, change, taps)).noting(*notes)


def has(recording: Recording, steps: Sequence[Step], modality: str) -> bool:
    """Whether a recording holds a modality, or the first of its steps makes it."""
    return modality in recording.signals or any(step.makes(recording, modality) for step in steps[:1])


def prepare(recordings: Sequence[Recording], steps: Sequence[Step], modality: str) -> list[Recording]:
    """Every recording after every step, in order. Steps that learn must have been given by `fit`."""
    prepared = list(recordings)
    for step in steps:
        prepared = [step(recording, modality) for recording in prepared]
    return prepared


def fit(steps: Sequence[Step], recordings: Sequence[Recording], modality: str) -> list[Step]:
    """The steps with what they learn filled in, each fitted on what the earlier ones give.

    Pass training recordings only.
    """
    fitted: list[Step] = []
    current = list(recordings)
    for index, step in enumerate(steps):
        learnt = step.fit(current, modality)
        fitted.append(learnt)
        if any(changes_in_fit(later) for later in steps[index + 1 :]):
            current = [learnt(recording, modality) for recording in current]
    return fitted


def changes_in_fit(step: Step) -> bool:
    """True for a step that may learn something: it has a `fit` of its own."""
    return type(step).fit is not Step.fit


def on_windows(steps: Sequence[Step], windows: NDArray[Any], sensors: Sensors | None = None) -> NDArray[Any]:
    """Windows of shape (..., sensor, time) after the part of every step that works window by window."""
    for step in steps:
        windows = step.on_window(windows, sensors)
    return windows


def prepare_lazily(recording: Recording, steps: Sequence[Step], modality: str, scratch: Path) -> Recording:
    """The recording after every step, its samples computed when they are sliced."""
    for step in steps:
        recording = step.lazily(recording, modality, scratch)
    return recording


def prepare_causally(
    recording: Recording, steps: Sequence[Step], modality: str, calibrate: float
) -> tuple[Chain, Recording]:
    """The steps on a signal that is still coming in, and a recording, of no sample, of what they give.

    Raises `DataError` that names a step which can't be done so.
    """
    running = []
    for step in steps:
        running.append(step.causally(recording, modality, calibrate))
        empty = np.zeros((len(running[-1].sensors), 0))
        recording = recording.with_signal(modality, Signal(empty, running[-1].sfreq, running[-1].sensors))
    return Chain(running), recording


def by_stretch(signal: Signal, change: Change) -> Signal:
    """The signal with `change`, (sensor, time) to the same shape, applied to each stretch alone."""
    data = signal.load()
    return replace(signal, data=np.concatenate([change(data[:, a:b]) for a, b in signal.stretches], axis=1))


def by_stretch_lazily(signal: Signal, change: Change, reach: int) -> Signal:
    """The same when it is sliced, for a change in which no sample depends on one further away than `reach`.

    What `change` is given of a stretch is all of it, or longer than `reach`.
    """
    edges = np.array([0, *signal.breaks, signal.n_times])

    def read(first: int, stop: int) -> NDArray[np.float64]:
        pieces = []
        for row in range(int(np.searchsorted(edges, first, side="right")) - 1, len(edges) - 1):
            a, b = int(edges[row]), int(edges[row + 1])
            if a >= stop:
                break
            here, there = max(a, first), min(b, stop)
            start, end = max(a, here - reach), min(b, there + reach)
            piece = change(np.asarray(signal.data[:, start:end], np.float64))
            pieces.append(piece[:, here - start : there - start])
        return np.concatenate(pieces, axis=1)

    return replace(signal, data=Computed((len(signal.sensors), signal.n_times), read))


def at_each_time(signal: Signal, change: Change, sensors: Sensors) -> Signal:
    """The signal of these `sensors` that `change` makes of (sensor, time), one time from one time, when it is sliced."""

    def read(first: int, stop: int) -> NDArray[np.float64]:
        return change(np.asarray(signal.data[:, first:stop], np.float64))

    return replace(signal, data=Computed((len(sensors), signal.n_times), read), sensors=sensors)
