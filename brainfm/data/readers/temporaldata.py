"""HDF5 files of temporaldata: what brainsets prepares and torch_brain trains on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.readers import Reader
from brainfm.data.recording import Events, Recording, Sensors, Track
from brainfm.data.segments import as_word
from brainfm.data.selection import listing
from brainfm.data.spike_trains import ending, gaps, in_order, recording_of_trains
from brainfm.data.tracks import regular
from brainfm.errors import DataError

CROSSINGS = ("1", "11")
"""`units.type` of thresholds' crossings: brainsets' RecordingTech, of Utah arrays and of Neuropixels."""
IDS = ("id", "unit_id")
REGIONS = ("brain_region", "brain_area", "region", "location", "electrode_location")
SPLIT = "_domain"
"""What brainsets calls the parts of a recording: train_domain, valid_domain, test_domain."""
MASK = "_mask"
"""What it calls the parts of a table of intervals: train_mask and so on."""


class Temporaldata(Reader):
    """One `Data` object per file; its times count from the start of its domain.

    Intervals become events under their table's name (`trials` without its plural) or a column's words. The splits that were
    prepared, as domains or as masks of intervals, become events such as `train_domain` and `trials.train_mask`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")

    spikes: str = Field(default="spikes", description="the series with the spikes' times and `unit_index`")
    units: str = Field(default="units", description="the table of neurons")
    intervals: str = Field(default="trials", description="the table whose events carry the codes of `codes`")
    codes: str = Field(default="", description="its column with the events' codes; default: the table's name")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file of a suffix that others share is one of these."""
        h5py = need_h5py(path)
        try:
            with h5py.File(path, "r") as file:
                return word_of(file.attrs.get("object")) == "Data"
        except OSError:
            return False

    def open(self, path: Path) -> Recording:
        """Spikes, events and tracks. Raises `DataError` for another kind of HDF5, or one without spikes."""
        if not path.exists():
            raise DataError(f"{path} does not exist")
        h5py = need_h5py(path)
        try:
            with h5py.File(path, "r") as file:
                if word_of(file.attrs.get("object")) != "Data":
                    raise DataError(f"{path.name} is HDF5, but no Data object of temporaldata")
                return self.recording(file, path.name)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{path.name} can't be read as temporaldata ({' '.join(str(error).split())})"
            ) from error

    def label(self, path: Path) -> str:
        """temporaldata's times are seconds, so a wrong clock is the file's fault."""
        return "s"

    def recording(self, file: Any, where: str) -> Recording:
        """What is asked for of an open file."""
        objects = dict(walk(file))
        series = objects.get(self.spikes)
        if series is None or "unit_index" not in series:
            there = ", ".join(f"{name} ({word_of(one.attrs['object'])})" for name, one in objects.items())
            raise DataError(f"{where} holds no spikes under {self.spikes!r}; it holds {there or 'nothing'}")
        spans = domain(file["domain"] if "domain" in file else series["domain"])
        start = float(spans[:, 0].min())
        table = self.neurons(objects.get(self.units), series, where)
        time, index = np.asarray(series["timestamps"][:], float), np.asarray(series["unit_index"][:], int)
        if len(index) and not 0 <= index.min() <= index.max() < len(table):
            raise DataError(f"{where}: a spike is of unit {index.max()}, but {self.units} lists {len(table)}")
        stop = max(float(spans[:, 1].max()), ending(start, float(time.max(initial=start))))
        trains = np.split(
            time[np.argsort(index, kind="stable")], np.cumsum(np.bincount(index, minlength=len(table)))[:-1]
        )
        recording = recording_of_trains(trains, table, where, start, stop, unit=None)
        found = [self.events(name, one, where) for name, one in objects.items() if is_a(one, "Interval")]
        unseen = gaps([spans], start, stop)
        tracks, left = self.tracks(objects, start, where)
        notes = listing("no numbers in time, left out", left)
        if len(unseen):
            notes.append(
                f"{unseen.duration.sum():.3g} s lie outside its domain: they are events `unobserved`"
            )
        return replace(
            recording,
            events=in_order([unseen, *(replace(one, onset=one.onset - start) for one in found)]),
            tracks=tracks,
            subject=word_of(described(file, "subject")),
            session=word_of(described(file, "session")),
        ).noting(*notes)

    def neurons(self, units: Any, series: Any, where: str) -> Sensors:
        """The table of neurons; numbered, where the file has none."""
        if units is None:
            n = int(series["unit_index"][:].max(initial=-1)) + 1
            return Sensors.of([f"unit{row}" for row in range(n)], "neuron", "count")
        columns = {name: [word_of(value) for value in column(units, name)] for name in units}
        ids = next((columns[name] for name in IDS if name in columns), None)
        n = len(next(iter(columns.values()), []))
        names = ids or [f"unit{row}" for row in range(n)]
        crossing = columns.get("type", [""] * n)
        kinds = [
            "multiunit" if type_ in CROSSINGS or "multiunit" in name else "neuron"
            for name, type_ in zip(names, crossing, strict=True)
        ]
        region = next((columns[name] for name in REGIONS if name in columns), [""] * n)
        return Sensors.of(names, "neuron", "count").with_kinds(kinds).with_regions(region)

    def events(self, name: str, table: Any, where: str) -> Events:
        """One event per interval, and one per interval that a mask chooses."""
        spans = domain(table)
        n = len(spans)
        label = [name if name.endswith(SPLIT) else name.removesuffix("s")] * n
        if self.codes and name == self.intervals:
            if self.codes not in table:
                raise DataError(f"{where}: {name} has no column {self.codes!r}; it has {', '.join(table)}")
            label = [word_of(value) for value in column(table, self.codes)]
        masks = {key: np.asarray(table[key][:], bool) for key in table if key.endswith(MASK)}
        rows = np.concatenate([np.arange(n), *(np.flatnonzero(mask) for mask in masks.values())]).astype(int)
        label += [f"{name}.{key}" for key, mask in masks.items() for _ in range(int(mask.sum()))]
        return Events(spans[rows, 0], spans[rows, 1] - spans[rows, 0], tuple(label))

    def tracks(self, objects: dict[str, Any], start: float, where: str) -> tuple[dict[str, Track], list[str]]:
        """Every column of every series but the spikes, under `series.column`, NaN outside the series' domain; and the
        names of columns that hold no numbers."""
        tracks: dict[str, Track] = {}
        left = []
        for name, one in objects.items():
            if name == self.spikes or not (
                is_a(one, "RegularTimeSeries") or is_a(one, "IrregularTimeSeries")
            ):
                continue
            for key in one:
                if key in ("domain", "timestamps", "timestamp_indices_1s") or key.endswith(MASK):
                    continue
                if one[key].dtype.kind in "iufb" and len(one[key]) > 1:
                    tracks[f"{name}.{key}"] = track_of(one, key, start, f"{where}: {name}.{key}")
                else:
                    left.append(f"{name}.{key}")
        return tracks, left


def need_h5py(path: Path) -> Any:
    """h5py. Raises `DataError` that says how to get it."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path.name} needs h5py to be read: pip install 'brainfm-toolkit[spikes]'") from None
    return h5py


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every object below a `Data` group under its dotted name, the recording's own domain excepted."""
    for name, one in group.items():
        if not hasattr(one, "items") or name == "domain":  # an array, or when the recording was observed
            continue
        if is_a(one, "Data"):
            yield from walk(one, f"{prefix}{name}.")
        elif "object" in one.attrs:
            yield f"{prefix}{name}", one


def is_a(group: Any, kind: str) -> bool:
    """Whether a group holds an object of that class."""
    return word_of(group.attrs.get("object")) == kind


def domain(table: Any) -> NDArray[np.float64]:
    """(interval, 2) start and end in seconds."""
    return np.stack([np.asarray(table["start"][:], float), np.asarray(table["end"][:], float)], axis=1)


def track_of(series: Any, key: str, start: float, where: str) -> Track:
    """One column of a series of constant or of any rate."""
    data = np.asarray(series[key][:], np.float64)
    if not is_a(series, "RegularTimeSeries"):
        return regular(np.asarray(series["timestamps"][:], float) - start, data, "", where)
    rate, spans = float(series.attrs["sampling_rate"]), domain(series["domain"])
    time = spans[0, 0] + np.arange(len(data)) / rate
    # half a sample: edges went through a division
    inside = ((time >= spans[:, :1] - 0.5 / rate) & (time <= spans[:, 1:] + 0.5 / rate)).any(axis=0)
    data[~inside] = np.nan  # between two stretches temporaldata keeps a filling
    return Track(data, rate, "", float(spans[0, 0]) - start)


def column(table: Any, name: str) -> NDArray[Any]:
    """One column in memory."""
    return np.asarray(table[name][()])


def described(file: Any, what: str) -> Any:
    """The id of the file's subject or session, kept as a nested object's attribute."""
    return file[what].attrs.get("id", "") if what in file else ""


def word_of(value: Any) -> str:
    """An attribute or an entry as a word: HDF5 gives bytes for text."""
    return value.decode() if isinstance(value, bytes) else "" if value is None else as_word(value)
