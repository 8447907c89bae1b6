"""Preprocessing: one file per step, each `Recording -> Recording`; what is fitted sees training data only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.part import Part


class Step(Part):
    """One step of a `prepare:` list, applied to the signal of one modality."""

    def fit(self, recordings: Sequence[Recording], modality: str) -> Self:
        """The step with what it learns from the training recordings filled in; most steps learn nothing."""
        return self

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """The recording with that modality's signal changed; never in place."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def on_window(self, window: NDArray[Any], sensors: Sensors | None = None) -> NDArray[Any]:
        """What the step does to windows (..., sensor, time) once they are cut; most do nothing there."""
        return window


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


def by_stretch(signal: Signal, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Signal:
    """The signal with `change`, (sensor, time) to the same shape, applied to each stretch alone."""
    data = signal.load()
    return replace(signal, data=np.concatenate([change(data[:, a:b]) for a, b in signal.stretches], axis=1))
