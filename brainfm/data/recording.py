"""What was recorded: signals with their sensors, events, and tracks of what went with the brain in time.

Everything is in SI units (volts, seconds, metres, hertz). A `Signal`'s data may be lazy: anything with a
`shape` of (sensor, time) that gives an array when sliced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

Frame = Literal["exact", "approximate", "own", "none"]
"""How well `Sensors.position` is known in MNI space: measured there, brought there by a head or template transform,
kept in a space of its own (another species, no transform), or not at all."""
REPAIRED = "repaired: "
"""How a note on a repair begins."""


class Array2D(Protocol):
    """Data of shape (sensor, time), in memory or read when sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True)
class Sensors:
    """A table with one row per electrode, coil, contact, voxel, parcel or neuron: one neutral word for all, sensor.

    `position` and `orientation` are (sensor, 3) in metres and unit vectors, NaN where unknown; `unit` is the SI unit of each
    row; `region` is an anatomical label or "".
    """

    name: tuple[str, ...]
    kind: tuple[str, ...]
    unit: tuple[str, ...]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    region: tuple[str, ...]
    frame: Frame = "none"

    def __post_init__(self) -> None:
        n = len(self.name)
        shapes = {len(self.kind), len(self.unit), len(self.region), len(self.position), len(self.orientation)}
        if shapes != {n}:
            raise DataError(f"a sensor table of {n} names has columns of other lengths: {sorted(shapes)}")
        if len(set(self.name)) != n:
            twice = next(name for name in self.name if self.name.count(name) > 1)
            raise DataError(f"sensor {twice} occurs twice; rename one of the two")

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        kind: str,
        unit: str,
        position: NDArray[np.float64] | None = None,
        frame: Frame = "none",
    ) -> "Sensors":
        """A table of one kind; positions in metres, unknown where not given."""
        n = len(names)
        unknown = np.full((n, 3), np.nan)
        return cls(
            name=tuple(names),
            kind=(kind,) * n,
            unit=(unit,) * n,
            position=unknown if position is None else np.asarray(position, float),
            orientation=unknown.copy(),
            region=("",) * n,
            frame=frame,
        )

    def with_regions(self, region: Sequence[str]) -> "Sensors":
        """The same table with an anatomical label for each row."""
        return replace(self, region=tuple(region))

    def with_kinds(self, kind: Sequence[str]) -> "Sensors":
        """The same table with a kind for each row."""
        return replace(self, kind=tuple(kind))

    @property
    def located(self) -> NDArray[np.bool_]:
        """(sensor,) True where the position is known."""
        return np.asarray(np.isfinite(self.position).all(axis=1))

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: Sequence[int]) -> "Sensors":
        """The table of these rows, in this order."""
        rows = list(rows)
        return replace(
            self,
            name=tuple(self.name[row] for row in rows),
            kind=tuple(self.kind[row] for row in rows),
            unit=tuple(self.unit[row] for row in rows),
            position=self.position[rows],
            orientation=self.orientation[rows],
            region=tuple(self.region[row] for row in rows),
        )


@dataclass(frozen=True)
class Signal:
    """Samples of one instrument: `data` is (sensor, time) in each sensor's SI unit, at `sfreq` hertz.

    `breaks` are the sample indices at which a new contiguous stretch begins (0 excluded): filters and windows never cross
    one. A recording cut into epochs is one signal with breaks.
    """

    data: Array2D
    sfreq: float
    sensors: Sensors
    breaks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.data.shape) != 2 or self.data.shape[0] != len(self.sensors):
            raise DataError(
                f"data of shape {tuple(self.data.shape)} does not fit {len(self.sensors)} sensors"
            )
        if not self.sfreq > 0:
            raise DataError(f"a sampling rate of {self.sfreq} Hz is not possible")

    @property
    def n_times(self) -> int:
        return int(self.data.shape[1])

    @property
    def seconds(self) -> float:
        return self.n_times / self.sfreq

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The contiguous stretches as (first sample, sample after the last)."""
        edges = [0, *self.breaks, self.n_times]
        return list(pairwise(edges))

    def load(self) -> NDArray[np.float64]:
        """All samples in memory, (sensor, time)."""
        return np.asarray(self.data[:, :], dtype=np.float64)

    def take(self, rows: Sequence[int]) -> "Signal":
        """The signal of these sensors, in this order, in memory."""
        return replace(self, data=self.load()[list(rows)], sensors=self.sensors.take(rows))


@dataclass(frozen=True)
class Events:
    """What happened when: `onset` and `duration` in seconds from the recording's start, `label` a word each."""

    onset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    duration: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    label: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.onset) == len(self.duration) == len(self.label):
            raise DataError("events need an onset, a duration and a label each")

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Track:
    """What went with the brain in time (cursor, audio, frames): `data` is (time, ...) at `rate` hertz from `start` seconds.

    `names` say what the columns of a (time, column) track are, where they have names.
    """

    data: NDArray[Any]
    rate: float
    unit: str = ""
    start: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """One continuous session of one subject. `signals` are keyed by modality ("eeg"); `notes` say what was repaired.

    `facts` are what a dataset says beside the file: of BIDS its entities, the sidecar's and the participant's values.
    `kept_out` are stretches, (start, stop) in seconds, that no window of a training corpus may touch. `pauses` are those of the
    file's clock in which nothing was recorded, which the recording leaves out (`brainfm.data.pauses`).
    """

    signals: Mapping[str, Signal]
    events: Events = field(default_factory=Events)
    tracks: Mapping[str, Track] = field(default_factory=dict)
    dataset: str = ""
    subject: str = ""
    session: str = ""
    run: str = ""
    source: str = ""
    content_hash: str = ""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    kept_out: tuple[tuple[float, float], ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()

    @property
    def repairs(self) -> tuple[str, ...]:
        """The notes on what was wrong beside the file and how `on_error="repair"` mended it."""
        return tuple(note.removeprefix(REPAIRED) for note in self.notes if note.startswith(REPAIRED))

    @property
    def name(self) -> str:
        """What to call this recording in a message: the file, else its place in the dataset."""
        return (
            self.source
            or "/".join(filter(None, (self.dataset, self.subject, self.session, self.run)))
            or "recording"
        )

    def signal(self, modality: str) -> Signal:
        """The signal of one modality. Raises `DataError` that names those present."""
        if modality not in self.signals:
            raise DataError(
                f"{self.name} holds no {modality} signal, only {', '.join(self.signals) or 'none'}"
            )
        return self.signals[modality]

    def with_signal(self, modality: str, signal: Signal) -> "Recording":
        """The same recording with one signal replaced."""
        return replace(self, signals={**self.signals, modality: signal})

    def noting(self, *notes: str) -> "Recording":
        """The same recording with more notes on what was repaired or left out."""
        return replace(self, notes=(*self.notes, *notes))
