"""Spike times as arrays in a MATLAB, NumPy or JSON file: one array per neuron, or all times beside the neurons' numbers."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.events import beside
from brainfm.data.readers import Reader
from brainfm.data.recording import Recording, Sensors
from brainfm.data.spike_trains import Clock, recording_of_trains
from brainfm.data.tracks import PlaceFile, Zones
from brainfm.data.variables import SUFFIXES, fields, variable, variables_of
from brainfm.errors import DataError

Train = tuple[str, NDArray[np.float64]]


class SpikeArrays(Reader, Clock):
    """One file per recording. A neuron is called after its place in the file: `n2.7` is the 7th unit of the 2nd tetrode, `n3`
    the 3rd's only one, since MATLAB does not tell one unit from a cell with one."""

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    times: str = Field(default="", description="the variable that holds the times; default: every variable")
    field: str = Field(
        default="",
        description="the field of each unit's struct that holds its times, where units are structs",
    )
    neurons: str = Field(
        default="",
        description="the variable with each spike's neuron, where `times` holds all neurons' times",
    )
    range: str = Field(
        default="",
        description="the field of each unit's struct, or the variable, with the recording's [start, stop]",
    )
    multiunit: list[str] = Field(default=[], description="patterns of the neurons that are not single ones")
    region: str = Field(default="", description="where the neurons are")
    tracks: dict[str, PlaceFile] = Field(default={}, description="cameras' files beside the recording")
    zones: Zones | None = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Never: what the variables are has to be said, so these files go to this reader when it is named."""
        return False

    def open(self, path: Path) -> Recording:
        """The neurons' spikes; the tracks of the files beside it, and an event for every stay in a zone."""
        content, tick = variables_of(path), self.tick(path.name)
        found = content if not self.times else variable(content, self.times, path.name)
        units = self.flat(found, content, path) if self.neurons else list(trains(found, self.field, "n"))
        if not units:
            what = f"struct with the field {self.field!r}" if self.field else "array of times"
            raise DataError(f"{path.name} holds no {what}; it has {', '.join(content)}")
        start, stop = self.span(content, found, path, tick)
        names = [name for name, _ in units]
        kinds = ["multiunit" if self.is_multiunit(name) else "neuron" for name in names]
        sensors = Sensors.of(names, "neuron", "count").with_regions([self.region] * len(names))
        recording = recording_of_trains(
            [train * tick for _, train in units], sensors.with_kinds(kinds), path.name, start, stop, self.unit
        )
        return self.accompany(recording, path, start)

    def label(self, path: Path) -> str:
        """The card's unit of time."""
        return self.unit

    def flat(self, times: Any, content: dict[str, Any], path: Path) -> list[Train]:
        """Times of all neurons in one array, by the number in another."""
        numbers = np.atleast_1d(np.asarray(variable(content, self.neurons, path.name)))
        array = numeric(times, self.times or "times")
        if len(array) != len(numbers):
            raise DataError(f"{path.name}: {len(array)} times do not fit {len(numbers)} neurons' numbers")
        return [(f"n{number}", array[numbers == number]) for number in np.unique(numbers).tolist()]

    def span(
        self, content: dict[str, Any], found: Any, path: Path, tick: float
    ) -> tuple[float, float | None]:
        """When the recording began and ended, in seconds on the file's clock: as the card says, else as the file does."""
        start, stop = self.start, self.stop
        if self.range:
            given = [numeric(found_, self.range) for found_ in named(found, self.range)]
            given = given or [numeric(variable(content, self.range, path.name), self.range)]
            if any(len(pair) != 2 for pair in given):
                raise DataError(f"{path.name}: {self.range} should hold a start and a stop")
            start = min(float(pair[0]) for pair in given) if start is None else start
            stop = max(float(pair[1]) for pair in given) if stop is None else stop
        return (start or 0.0) * tick, None if stop is None else stop * tick

    def is_multiunit(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.multiunit)

    def accompany(self, recording: Recording, path: Path, start: float) -> Recording:
        """The recording with its tracks and zones."""
        tracks = {name: place.read(beside(path, place.file), start) for name, place in self.tracks.items()}
        events = recording.events
        if self.zones is not None:
            if self.zones.track not in tracks:
                known = ", ".join(tracks) or "none"
                raise DataError(f"{path.name}: zones are of the track {self.zones.track!r}; tracks: {known}")
            events = self.zones.events(tracks[self.zones.track], path.name)
        return Recording(recording.signals, events, tracks, source=path.name)


def trains(value: Any, field: str, name: str, first: int = 1) -> Iterator[Train]:
    """Every unit's times inside cells, structs and lists, named by its place, counted from `first` as MATLAB does.

    With `field`, a unit is a struct that has it and everything else is a level of the nest; without, every array is a unit,
    the rows of a matrix are units padded with NaN, and a struct's fields are units.
    """
    inside = fields(value)
    if inside is not None and field:
        if field in inside:
            yield name, numeric(inside[field], name)
            return
        for key, below in inside.items():
            yield from trains(below, field, f"{name}.{key}", first)
    elif inside is not None:
        for key, below in inside.items():
            yield from trains(below, field, key if name == "n" else f"{name}.{key}", first)
    elif nested(value):
        for place, below in enumerate(value, first):
            yield from trains(below, field, f"n{place}" if name == "n" else f"{name}.{place}", first)
    elif not field:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise DataError(
                f"{name} holds {array.dtype} where spike times are expected; name the variable with `times:`"
            )
        rows = array if array.ndim == 2 else np.atleast_1d(array)[None]
        for place, row in enumerate(rows, first):
            numbers = row.astype(np.float64)
            padded = numbers[~np.isnan(numbers)] if array.ndim == 2 else numbers
            yield (f"{name}{'' if name == 'n' else '.'}{place}" if array.ndim == 2 else name), padded


def nested(value: Any) -> bool:
    """Whether this holds units rather than times: a MATLAB cell array, or a list of lists."""
    if isinstance(value, np.ndarray):
        return value.dtype == object
    return isinstance(value, list) and any(isinstance(below, list | dict) for below in value)


def named(value: Any, field: str) -> Iterator[Any]:
    """Every value of that field anywhere inside."""
    inside = fields(value)
    if inside is not None:
        if field in inside:
            yield inside[field]
        for below in inside.values():
            yield from named(below, field)
    elif nested(value):
        for below in value:
            yield from named(below, field)


def numeric(value: Any, name: str) -> NDArray[np.float64]:
    """Numbers as (number,). Raises `DataError` where there are others."""
    array = np.atleast_1d(np.asarray(value))
    if array.size and array.dtype.kind not in "iuf":
        raise DataError(f"{name} holds {array.dtype} where numbers are expected")
    return np.asarray(array, np.float64).ravel() if array.size else np.zeros(0)
