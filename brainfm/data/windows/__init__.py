"""Windows: where they start, how long they are and what they are labelled; one file per way of cutting."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.lazy import slices
from brainfm.data.modalities import modality as find_modality
from brainfm.data.preprocess import Step, on_windows
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError
from brainfm.part import Part


@dataclass(frozen=True)
class Windows:
    """A table of windows over a list of recordings. `label` is an index into `labels`, or −1."""

    recording: NDArray[np.int64]
    start: NDArray[np.float64]
    seconds: float
    label: NDArray[np.int64]
    labels: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    """How many windows were not used, by reason. Nothing is dropped without being counted here."""

    def __len__(self) -> int:
        return len(self.recording)

    def rows(self, rows: Sequence[int] | NDArray[np.int64]) -> "Windows":
        """The table of these rows, in this order."""
        rows = np.asarray(rows, np.int64)
        return replace(self, recording=self.recording[rows], start=self.start[rows], label=self.label[rows])

    @property
    def counts(self) -> dict[str, int]:
        """How many windows carry each label."""
        return {label: int((self.label == index).sum()) for index, label in enumerate(self.labels)}


class Cut(Part):
    """A way of cutting recordings into windows of one length."""

    seconds: float = Field(gt=0)

    def __call__(self, recordings: Sequence[Recording], modality: str, labels: Sequence[str]) -> Windows:
        """The windows of all recordings; with `labels`, those that carry one of them."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


def n_samples(seconds: float, sfreq: float) -> int:
    """Samples in a window: `seconds · sfreq` rounded to the nearest, half upwards."""
    return int(np.floor(seconds * sfreq + 0.5))


def place(signal: Signal, start: float, seconds: float) -> int | None:
    """The first sample of a window, or None where it does not lie inside one contiguous stretch.

    The start is rounded to the nearest sample, half upwards, and moved by one sample at most if it misses its
    stretch by that (after resampling, an edge may round the other way). Every window of one length has the
    same number of samples.
    """
    first, count = n_samples(start, signal.sfreq), n_samples(seconds, signal.sfreq)
    starts = np.array([0, *signal.breaks])
    for shift in (0, -1, 1):
        at = first + shift
        stretch = int(np.searchsorted(starts, at, side="right")) - 1
        if stretch < 0:
            continue
        end = signal.n_times if stretch + 1 == len(starts) else int(starts[stretch + 1])
        if at + count <= end:
            return at
    return None


def take(
    recordings: Sequence[Recording],
    windows: Windows,
    rows: Sequence[int] | NDArray[np.int64],
    modality: str,
    steps: Sequence[Step] = (),
) -> NDArray[np.float32]:
    """The signal of these windows, float32 (window, sensor, time), after what `steps` do window by window.

    Raises `DataError` where the recordings' sensors or rates differ (see `layouts`) or a window does not fit
    its recording.
    """
    rows = np.asarray(rows, np.int64)
    used = [recordings[index] for index in np.unique(windows.recording[rows])]
    if not used:
        raise DataError("no window was asked for")
    same_layout(used, modality)
    first = used[0].signal(modality)
    count = n_samples(windows.seconds, first.sfreq)
    out = np.empty((len(rows), len(first.sensors), count), np.float32)
    signals, pieces = [], []
    for row in rows:
        recording = recordings[windows.recording[row]]
        signal = recording.signal(modality)
        at = place(signal, windows.start[row], windows.seconds)
        if at is None:
            raise DataError(
                f"{recording.name}: the window at {windows.start[row]:.3f} s crosses a break or an end"
            )
        signals.append(signal)
        pieces.append((signal.data, at, at + count))
    for position, (signal, window) in enumerate(zip(signals, slices(pieces), strict=True)):
        out[position] = on_windows(steps, np.asarray(window, np.float64), signal.sensors)
    return out


def measured(recordings: Sequence[Recording], windows: Windows, modality: str) -> NDArray[np.bool_]:
    """(window,) whether all of a window was measured. Only what is made of a track has gaps: the gate lets none pass."""
    if find_modality(modality).of_brain:
        return np.ones(len(windows), dtype=bool)
    return np.array(
        [np.isfinite(take(recordings, windows, [row], modality)).all() for row in range(len(windows))], bool
    )


def without(windows: Windows, kept: NDArray[np.bool_], reason: str) -> Windows:
    """The windows that are `kept`, the others counted as dropped for that reason."""
    if kept.all():
        return windows
    dropped = {**windows.dropped, reason: int((~kept).sum())}
    return replace(windows.rows(np.flatnonzero(kept)), dropped=dropped)


def bouts(windows: Windows, recordings: Sequence[Recording]) -> list[NDArray[np.int64]]:
    """The rows of each block of consecutive windows with one label, within one stretch of a recording."""
    order = np.lexsort((windows.start, windows.recording)).astype(np.int64)
    keys = [(*_stretch(windows, recordings, row), int(windows.label[row])) for row in order.tolist()]
    changes = [at for at in range(1, len(keys)) if keys[at] != keys[at - 1]]
    return np.split(order, changes) if len(order) else []


def _stretch(windows: Windows, recordings: Sequence[Recording], row: int) -> tuple[int, ...]:
    """A window's recording, and the stretch of each of its signals that the window begins in."""
    index, start = int(windows.recording[row]), windows.start[row]
    signals = recordings[index].signals.values()
    # half a sample: a start in seconds may have been rounded to just before its break
    return index, *(int(np.searchsorted(s.breaks, start * s.sfreq + 0.5, side="right")) for s in signals)


def layout(signal: Signal) -> tuple[object, ...]:
    """What recordings must share to lie in one array: sensors (name, kind, unit), in order, and the rate."""
    return signal.sensors.name, signal.sensors.kind, signal.sensors.unit, signal.sfreq


def layouts(recordings: Sequence[Recording], modality: str) -> list[list[int]]:
    """Indices of the recordings that share one layout, one list per layout, in order of appearance."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, recording in enumerate(recordings):
        groups.setdefault(layout(recording.signal(modality)), []).append(index)
    return list(groups.values())


def same_layout(recordings: Sequence[Recording], modality: str) -> None:
    """Raise `DataError` that names two recordings which can't lie in one array, and why."""
    one = recordings[0].signal(modality)
    for other in recordings[1:]:
        signal = other.signal(modality)
        if layout(signal) == layout(one):
            continue
        names = set(one.sensors.name) ^ set(signal.sensors.name)
        why = (
            f"{one.sfreq:g} and {signal.sfreq:g} Hz"
            if one.sfreq != signal.sfreq
            else "the order, kind or unit of their sensors"
        )
        why = f"sensors {', '.join(sorted(names)[:5])}" if names else why
        raise DataError(
            f"{recordings[0].name} and {other.name} differ in {why}; pick and resample them alike first"
        )


def require_classes(windows: Windows) -> None:
    """Raise `DataError` unless every label, and at least two, has windows."""
    found = [label for label, count in windows.counts.items() if count]
    missing = [label for label in windows.labels if label not in found]
    if not found:
        raise DataError(
            f"no window carries a label of the task ({', '.join(windows.labels) or 'none'}); check them"
        )
    if len(found) == 1:
        raise DataError(f"every window is labelled {found[0]!r}, but decoding needs two classes; add some")
    if missing:
        raise DataError(f"no window is labelled {missing[0]!r}; labels found: {', '.join(found)}")
