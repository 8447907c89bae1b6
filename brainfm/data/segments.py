"""Windows that were cut before they were published: one signal with breaks and one event each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Events, Recording, Signal
from brainfm.data.selection import SensorChoice
from brainfm.data.units import in_si
from brainfm.errors import DataError


def recording_of_windows(
    windows: NDArray[np.float64],
    labels: Sequence[str],
    names: Sequence[str],
    sfreq: float,
    unit: str,
    choice: SensorChoice,
    where: str,
) -> Recording:
    """Windows of shape (window, sensor, time) in `unit`, each under one label ("" has none), as a recording of EEG
    unless the reader's `kinds` say otherwise.

    A window that repeats another sample for sample is left out with a note: copies on both sides of a split
    are a leak.
    """
    if windows.shape[1] != len(names):
        raise DataError(f"{where}: {windows.shape[1]} sensors do not fit {len(names)} names")
    if len(labels) != len(windows):
        raise DataError(f"{where}: {len(labels)} labels do not fit {len(windows)} windows")
    first = np.sort(np.unique(windows.reshape(len(windows), -1), axis=0, return_index=True)[1])
    copies = len(windows) - len(first)
    windows, labels = windows[first], [labels[row] for row in first]
    length = windows.shape[2]
    (modality,) = choice.held(names, ["eeg"] * len(names), where)
    selected = choice.select(names, ["eeg"] * len(names), None, where, modality)
    data = np.concatenate(list(windows[:, selected.rows]), axis=1) * in_si(unit, selected.sensors.unit[0])
    signal = Signal(data, sfreq, selected.sensors, tuple(range(length, data.shape[1], length)))
    named = np.array([row for row, label in enumerate(labels) if label], dtype=int)
    duration = np.full(len(named), length / sfreq)
    events = Events(named * length / sfreq, duration, tuple(labels[row] for row in named))
    notes = [*selected.notes, *([f"{copies} windows that copy another were left out"] if copies else [])]
    return Recording({modality: signal}, events=events, source=where, notes=tuple(notes))


def as_word(value: object) -> str:
    """A label or code of a table or array as text: 1.0 is "1", a blank is ""."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value).strip()
