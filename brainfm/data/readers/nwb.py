"""NWB files of spikes: units, intervals, behaviour, and the field potentials beside them when they are asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.from_nwb import (
    Sort,
    behaviour,
    contacts_of,
    electrical_series,
    interval_events,
    interval_tables,
    is_of_events,
    neurons,
    observed,
    sorts,
    timed,
    track_of,
)
from brainfm.data.lazy import LazyDataset
from brainfm.data.readers import Reader
from brainfm.data.recording import Events, Recording, Signal, Track
from brainfm.data.selection import listing
from brainfm.data.spike_trains import ending, gaps, in_order, recording_of_trains
from brainfm.data.units import UNITS
from brainfm.errors import DataError


class Nwb(Reader):
    """One file of HDF5 per recording, whose times count from where its observation began.

    That is the session's start unless the units' observation intervals say otherwise, or the electrical series does where it
    is read too: then spikes before and after it are left out with a note.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".nwb",)

    modalities: list[Literal["spikes", "seeg"]] = Field(
        default=["spikes"],
        min_length=1,
        description="`seeg` reads an electrical series too, or alone",
    )
    intervals: list[str] = Field(
        default=["trials", "epochs"], description="tables of intervals that become events"
    )
    codes: str = Field(
        default="", description="their column with the events' codes; default: tags, else the table's name"
    )
    marks: list[str] = Field(
        default=[], description="their columns that hold a time, such as go_cue_time: an event each"
    )
    quality: str = Field(
        default="", description="the units' column on their quality; default: the usual ones"
    )
    sorts: dict[str, Sort] = Field(
        default={}, description="that column's words; default: good, mua, noise and the like"
    )
    unit: Literal["s", "ms", "µs"] = Field(
        default="s", description="of the spikes' times, where a file breaks NWB's rule of seconds"
    )
    series: str = Field(default="", description="the electrical series to read; default: the only one")

    def open(self, path: Path) -> Recording:
        """Spikes, events and behaviour; field potentials stay in the file until they are sliced."""
        try:
            from hdmf.build.errors import ConstructError
            from pynwb import NWBHDF5IO
        except ImportError:
            raise DataError(
                f"{path.name} needs pynwb to be read: pip install 'brainfm-toolkit[spikes]'"
            ) from None
        if path.is_dir():
            raise DataError(f"{path.name} is a folder of zarr; export it to HDF5 with hdmf-zarr first")
        if not path.exists():
            raise DataError(f"{path} does not exist")
        try:
            with NWBHDF5IO(str(path), mode="r") as io:
                return self.recording(io.read(), path)
        except (OSError, ValueError, TypeError, KeyError, ConstructError) as error:
            raise DataError(f"{path.name} can't be read as NWB ({' '.join(str(error).split())})") from error

    def label(self, path: Path) -> str:
        """Seconds by NWB's schema, unless the card says that the file is wrong."""
        return self.unit

    def recording(self, nwb: Any, path: Path) -> Recording:
        """What is asked for of an open file."""
        where = path.name
        field, start, stop = None, None, None
        if "seeg" in self.modalities:
            field, start = self.field_potential(nwb, path)
            stop = start + field.seconds
        spikes = Recording({}, source=where)
        if "spikes" in self.modalities:
            spikes, start = self.spikes(nwb, where, start, stop)
        signals = {**spikes.signals, **({} if field is None else {"seeg": field})}
        intervals, unknown = self.events(nwb, start or 0.0, where)
        tracks, marks, notes = self.tracks(nwb, start or 0.0, where)
        shift = [f"times count from {start:.6g} s of the session"] if start else []
        subject = getattr(nwb.subject, "subject_id", None) or ""
        return Recording(
            signals,
            in_order([spikes.events, *intervals, *marks]),
            tracks,
            subject=str(subject),
            session=str(nwb.session_id or ""),
            source=where,
            notes=(*spikes.notes, *shift, *unknown, *notes),
        )

    def spikes(
        self, nwb: Any, where: str, start: float | None, stop: float | None
    ) -> tuple[Recording, float]:
        """The units that are neurons or multiunits, an event for every stretch in which none was observed, and the start."""
        units = nwb.units
        if units is None or "spike_times" not in units.colnames:
            raise DataError(
                f"{where} holds no sorted units; an electrical series is read with `modalities: [seeg]`"
            )
        kinds, notes = sorts(units, self.quality, self.sorts, where)
        table = neurons(units, kinds)
        keep = [row for row, kind in enumerate(kinds) if kind != "drop"]
        notes += listing(
            "left out by their quality", [table.name[row] for row in range(len(kinds)) if row not in keep]
        )
        trains = [
            np.asarray(units.get_unit_spike_times(row), np.float64) / UNITS["Hz"][self.unit] for row in keep
        ]
        seen = observed(units)
        if start is None or stop is None:
            first = min((float(train.min()) for train in trains if len(train)), default=0.0)
            last = max((float(train.max()) for train in trains if len(train)), default=0.0)
            start = min(min((float(one.min()) for one in seen), default=0.0), first)
            stop = max(max((float(one.max()) for one in seen), default=0.0), ending(start, last))
        else:
            inside = [train[(train >= start) & (train < stop)] for train in trains]
            outside = sum(len(a) - len(b) for a, b in zip(trains, inside, strict=True))
            notes += (
                [f"{outside} spikes lie outside the electrical series and were left out"] if outside else []
            )
            trains = inside
        recording = recording_of_trains(trains, table.take(keep), where, start, stop, self.unit)
        unseen = gaps(seen, start, stop)
        if len(unseen.label):
            lost = float(unseen.duration.sum())
            notes.append(f"no unit was observed for {lost:.3g} s: those stretches are events `unobserved`")
        return replace(recording, events=unseen).noting(*notes), start

    def events(self, nwb: Any, start: float, where: str) -> tuple[list[Events], list[str]]:
        """The tables of intervals, on the recording's clock, and notes on those that have no start."""
        tables = interval_tables(nwb, self.intervals)
        asked = "intervals" in self.model_fields_set
        if asked and (missing := [name for name in self.intervals if name not in tables]):
            raise DataError(f"{where} has no table of intervals {missing[0]!r}")
        found = [
            interval_events(table, name, self.codes, self.marks, where) for name, table in tables.items()
        ]
        events = [replace(one, onset=one.onset - start) for one, _ in found]
        return events, [note for _, notes in found for note in notes]

    def tracks(self, nwb: Any, start: float, where: str) -> tuple[dict[str, Track], list[Events], list[str]]:
        """Behaviour as tracks, behavioural events as events, and notes on what has no time and on series without numbers."""
        tracks, marks, left, notes = {}, [], [], []
        for name, series in behaviour(nwb):
            if is_of_events(series):
                at = np.asarray(series.timestamps[:], float) - start
                known, said = timed(at, f"events {name} have no time")
                marks.append(Events(at[known], np.zeros(known.sum()), (name,) * int(known.sum())))
                notes += said
            elif (track := track_of(series, start, f"{where}: {name}")) is not None:
                tracks[name] = track
            else:
                left.append(name)
        return tracks, marks, [*notes, *listing("no numbers, left out", left)]

    def field_potential(self, nwb: Any, path: Path) -> tuple[Signal, float]:
        """The electrical series in volts, unread, and when it began in seconds of the session."""
        series = electrical_series(nwb, self.series, path.name)
        sensors = contacts_of(series)
        if series.rate is None:
            steps = np.diff(np.asarray(series.timestamps[:], float))
            if len(steps) < 1 or np.ptp(steps) > 0.01 * np.median(steps):
                raise DataError(f"{path.name}: {series.name} has no constant rate; resample it first")
            rate, start = 1 / float(np.median(steps)), float(series.timestamps[0])
        else:
            rate, start = float(series.rate), float(series.starting_time or 0.0)
        scale: NDArray[np.float64] = np.full(len(sensors), float(series.conversion))
        if series.channel_conversion is not None:
            scale = scale * np.asarray(series.channel_conversion[:], float)
        data = LazyDataset(path, series.data.name, range(len(sensors)), scale, float(series.offset))
        return Signal(data, rate, sensors), start
