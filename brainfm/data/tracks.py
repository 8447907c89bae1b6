"""Tracks from what files hold: samples at any times, a place that was lost for a while, zones of a place."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.recording import Events, Track
from brainfm.errors import DataError
from brainfm.part import Settings

FIELD = re.compile(r"<(\w+) (\w+)>")
"""A field of a Trodes record, such as `<time uint32>`."""
TYPES = {
    "uint8": "<u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "int16": "<i2", "int32": "<i4",
    "float": "<f4", "single": "<f4", "double": "<f8",
}  # fmt: skip


class PlaceFile(Settings):
    """A camera's file beside a recording of spikes, on the same clock: Trodes' `.videoPositionTracking`."""

    file: str = Field(description='its name beside the recording, such as "{stem}.videoPositionTracking"')
    columns: list[str] = Field(default=["xloc", "yloc"], min_length=1)
    unit: str = Field(default="px")
    lost: list[float] | None = Field(
        default=[0.0, 0.0], description="what the columns say where the light was not seen"
    )

    def read(self, path: Path, start: float) -> Track:
        """(time, column) at the camera's mean rate, NaN where the light was lost; `start` is the recording's on that clock."""
        time, found = trodes(path)
        if missing := [name for name in self.columns if name not in found]:
            raise DataError(f"{path.name} has no field {missing[0]!r}; it has {', '.join(found)}")
        place = np.stack([found[name].astype(np.float64) for name in self.columns], axis=1)
        if self.lost is not None:
            if len(self.lost) != len(self.columns):
                raise DataError(f"{path.name}: `lost:` needs a number for each of {', '.join(self.columns)}")
            place[(place == self.lost).all(axis=1)] = np.nan
        return regular(time - start, place, self.unit, path.name)


class Zones(Settings):
    """Events for where the subject was: each stay between two `edges`, measured `along` a direction of a track."""

    track: str
    along: list[float] = Field(
        default=[1.0], min_length=1, description="what each column counts for; the place is their sum"
    )
    edges: list[float] = Field(min_length=2, description="rising; zone n is from edge n to before edge n + 1")
    labels: list[str] = Field(min_length=1)

    def events(self, track: Track, where: str) -> Events:
        """One event per stay. Raises `DataError` where edges and labels do not fit."""
        if len(self.labels) != len(self.edges) - 1 or any(a >= b for a, b in pairwise(self.edges)):
            raise DataError(f"{where}: zones need rising edges, one more than there are labels")
        columns = np.asarray(track.data, np.float64).reshape(len(track.data), -1)
        if columns.shape[1] < len(self.along):
            raise DataError(
                f"{where}: {self.track} has {columns.shape[1]} columns, `along:` {len(self.along)}"
            )
        place = columns[:, : len(self.along)] @ np.array(self.along)
        zone = np.digitize(place, self.edges) - 1  # NaN lies beyond the last edge
        zone[(zone < 0) | (zone >= len(self.labels)) | ~np.isfinite(place)] = -1
        return stays(zone, self.labels, track.rate, track.start)


def stays(code: NDArray[np.int64], labels: list[str], rate: float, start: float = 0.0) -> Events:
    """An event for every run of one code, an index into `labels`; −1 is none. `code` is (time,) at `rate` hertz."""
    edges = np.flatnonzero(np.diff(code, prepend=-2, append=-2))
    spans = [(a, b) for a, b in pairwise(edges.tolist()) if code[a] >= 0]
    return Events(
        np.array([start + a / rate for a, _ in spans]),
        np.array([(b - a) / rate for a, b in spans]),
        tuple(labels[code[a]] for a, _ in spans),
    )


def regular(time: NDArray[np.float64], data: NDArray[Any], unit: str, where: str) -> Track:
    """Samples at any `time` (seconds from the recording's start) as a track at their median rate.

    Every tick takes the sample nearest to it, NaN where none is within a period: what was not measured stays not measured, and a
    sample without a time tells nothing. Raises `DataError` for fewer than two samples.
    """
    time, data = np.asarray(time, np.float64), np.asarray(data, np.float64)
    if len(time) != len(data):
        raise DataError(f"{where}: {len(data)} samples do not fit {len(time)} times")
    known = np.isfinite(time)
    time, data = time[known], data[known]
    if len(time) < 2:
        raise DataError(f"{where}: {len(time)} of {len(known)} samples have a time, and a track needs two")
    order = np.argsort(time, kind="stable")
    time, data = time[order], data[order]
    steps = np.diff(time)
    period = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    if not period:
        raise DataError(f"{where}: all its samples are of one time")
    ticks = time[0] + period * np.arange(int(np.floor((time[-1] - time[0]) / period + 0.5)) + 1)
    after = np.searchsorted(time, ticks).clip(1, len(time) - 1)
    nearest = after - (ticks - time[after - 1] <= time[after] - ticks)
    out = data[nearest]
    out[np.abs(time[nearest] - ticks) > period] = np.nan
    return Track(out, 1 / period, unit, float(time[0]))


def trodes(path: Path) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Times in seconds and the other fields of a file of SpikeGadgets' Trodes: settings in text, then records.

    The settings name the fields and their types themselves. Raises `DataError` if the file is missing or broken.
    """
    if not path.exists():
        raise DataError(f"{path.name} should lie beside the recording, and does not")
    content = path.read_bytes()
    head, mark, records = content.partition(b"<End settings>\n")
    text = head.decode("ascii", errors="replace")
    clock = re.search(r"^clock ?rate: *(\d+)", text, re.IGNORECASE | re.MULTILINE)
    listed = re.search(r"^Fields: *(.*)$", text, re.MULTILINE)
    named = FIELD.findall(listed[1]) if listed else []
    if (
        not mark
        or clock is None
        or "time" not in dict(named)
        or not {kind for _, kind in named} <= TYPES.keys()
    ):
        raise DataError(
            f"{path.name} is no file of Trodes: its settings name no clock rate or no field for the time"
        )
    kind = np.dtype([(name, TYPES[type_]) for name, type_ in named])
    if len(records) % kind.itemsize:
        raise DataError(f"{path.name} is cut short: its last record is not whole; get it again")
    found = np.frombuffer(records, kind)
    return found["time"] / float(clock[1]), {name: found[name] for name, _ in named if name != "time"}
