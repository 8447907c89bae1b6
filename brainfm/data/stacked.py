"""Windows that somebody else has cut, an array or MNE `Epochs`, as recordings and a table of windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.gate import trustworthy
from brainfm.data.modalities import modality as find_modality
from brainfm.data.reading import from_array, read
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.units import in_si
from brainfm.data.windows import Windows
from brainfm.errors import DataError

PLACES = ("subject", "session", "run")
"""Columns of `Epochs.metadata`, as MOABB fills them in, that say which recording an epoch was cut from."""


@dataclass(frozen=True)
class Stacked:
    """Recordings whose contiguous stretches are the windows, and the table of them in the order in which they were given."""

    recordings: Sequence[Recording]
    windows: Windows
    whole: bool
    """Whether it is known which windows are of one recording, so that what is measured over a recording means something."""


def is_epochs(windows: Any) -> bool:
    """Whether this is MNE's `Epochs`, told without importing MNE."""
    return hasattr(windows, "get_data") and hasattr(windows, "ch_names")


def of_array(
    windows: NDArray[np.floating[Any]],
    sfreq: float,
    names: Sequence[str],
    modality: str = "eeg",
    unit: str = "V",
    montage: str | None = None,
) -> Stacked:
    """Windows (window, sensor, time) in `unit`, as one recording of unknown origin.

    Raises `DataError` for another shape, and for what the gate lets through of no recording.
    """
    if windows.ndim != 3 or windows.shape[1] != len(names):
        raise DataError(
            f"windows of shape {windows.shape} are not (window, sensor, time) for {len(names)} names"
        )
    data = np.concatenate(list(windows.astype(np.float64)), axis=1)
    found = (
        from_array(data, sfreq, names, unit, montage)
        if modality == "eeg"
        else of_kind(data, sfreq, names, modality, unit)
    )
    count = windows.shape[2]
    signal = replace(found.signal(modality), breaks=tuple(range(count, len(windows) * count, count)))
    rows = np.zeros(len(windows), np.int64)
    return Stacked(
        [found.with_signal(modality, signal)],
        table(rows, np.arange(len(windows)), count, sfreq),
        whole=False,
    )


def of_kind(
    data: NDArray[np.float64], sfreq: float, names: Sequence[str], modality: str, unit: str
) -> Recording:
    """A checked recording of another instrument's first kind of sensor, whose places are not known."""
    kind, measured = next(iter(find_modality(modality).kinds.items()))
    sensors = Sensors.of(names, kind, measured.unit)
    scale = 1.0 if unit == measured.unit else in_si(unit, measured.unit)
    found = Recording({modality: Signal(data * scale, sfreq, sensors)}, source="array")
    return trustworthy(found, label=lambda: unit)


def of_epochs(epochs: Any, modality: str = "eeg", montage: str | None = None) -> Stacked:
    """MNE `Epochs`, each recording's together where their metadata say which it is.

    Raises `DataError` where MNE drops an epoch, since every window must keep its row.
    """
    recordings: list[Recording] = []
    recording, order = np.zeros(len(epochs), np.int64), np.zeros(len(epochs), np.int64)
    places = list(whose(epochs))
    for number, (place, rows) in enumerate(places):
        settings: dict[str, Any] = {"modality": modality, "montage": montage, **place}
        found = read(epochs[rows], **settings)
        if len(found.signal(modality).stretches) != len(rows):
            raise DataError("some epochs are marked bad; drop them first: epochs.drop_bad()")
        recordings.append(found)
        recording[rows], order[rows] = number, np.arange(len(rows))
    known = bool(places and places[0][0])
    return Stacked(recordings, table(recording, order, len(epochs.times), epochs.info["sfreq"]), known)


def whose(epochs: Any) -> Iterator[tuple[dict[str, str], NDArray[np.int64]]]:
    """Each recording's place in its dataset and its epochs; all of them, of no known place, without metadata."""
    said = epochs.metadata
    columns = [name for name in PLACES if said is not None and name in said]
    if not columns:
        yield {}, np.arange(len(epochs))
        return
    words = said[columns].astype(str)
    for key, rows in words.reset_index(drop=True).groupby(columns, sort=True).indices.items():
        values = key if isinstance(key, tuple) else (key,)
        yield dict(zip(columns, values, strict=True)), np.asarray(rows, np.int64)


def table(recording: NDArray[np.int64], order: NDArray[np.int64], count: int, sfreq: float) -> Windows:
    """The windows, each at its place in its recording, without labels."""
    start = (order * (count / sfreq)).astype(np.float64)
    return Windows(recording, start, count / sfreq, np.full(len(order), -1, np.int64))
