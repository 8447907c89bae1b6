"""CSV and TSV tables (gzipped or not): a row per sample, a column per sensor, perhaps times and a marker."""

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.readers import Reader
from brainfm.data.recording import Events, Recording, Signal
from brainfm.data.segments import as_word
from brainfm.data.selection import SensorChoice
from brainfm.data.units import in_si
from brainfm.errors import DataError

GAP = 0.5
"""Seconds between two rows from which on they are not contiguous; wireless devices jitter by less."""


class Table(Reader, SensorChoice):
    """One table per recording."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

    sensors: list[str] = Field(default=[], description="their columns; default: all but times and markers")
    timestamps: str = Field(default="", description="the column with times in seconds, if there is one")
    marker: list[str] = Field(
        default=[], description="columns with event codes; the first that exists is used"
    )
    sfreq: float | None = Field(default=None, gt=0, description="hertz; default: from the timestamps")
    unit: str = Field(description="of the numbers: V, mV, µV, T, fT, A m, ...")

    def open(self, path: Path) -> Recording:
        """The table's sensors, with breaks where the timestamps jump and events where the marker changes."""
        table = load(path)
        columns = self.sensors or [str(name) for name in table if name not in (self.timestamps, *self.marker)]
        if missing := [name for name in columns if name not in table]:
            raise DataError(f"{path.name} has no column {missing[0]!r}; it has {', '.join(map(str, table))}")
        for name in columns:
            if not pd.api.types.is_numeric_dtype(table[name]):
                raise DataError(f"{path.name}: column {name!r} holds text; list the `sensors:`")
        (modality,) = self.held(columns, ["eeg"] * len(columns), path.name)
        selected = self.select(columns, ["eeg"] * len(columns), None, path.name, modality)
        data = table[[columns[row] for row in selected.rows]].to_numpy(float).T
        data = data * in_si(self.unit, selected.sensors.unit[0])
        sfreq, breaks = self.timing(table, path)
        signal = Signal(data, sfreq, selected.sensors, breaks)
        notes = [*selected.notes, *([f"{len(breaks)} gaps in the timestamps"] if breaks else [])]
        return Recording({modality: signal}, self.markers(table, sfreq), source=path.name, notes=tuple(notes))

    def label(self, path: Path) -> str:
        """The card's unit: a table has none."""
        return self.unit

    def timing(self, table: pd.DataFrame, path: Path) -> tuple[float, tuple[int, ...]]:
        """The rate, and the rows at which a new contiguous stretch begins."""
        if not self.timestamps:
            if self.sfreq is None:
                raise DataError(f"{path.name}: give `sfreq:`, or the column of `timestamps:`")
            return self.sfreq, ()
        if self.timestamps not in table:
            raise DataError(
                f"{path.name} has no column {self.timestamps!r}; it has {', '.join(map(str, table))}"
            )
        times = pd.to_numeric(table[self.timestamps], errors="coerce").to_numpy(float)
        if not np.isfinite(times).all() or len(times) < 2 or times[-1] <= times[0]:
            raise DataError(
                f"{path.name}: the column {self.timestamps!r} does not hold rising times in seconds"
            )
        breaks = np.flatnonzero(np.abs(np.diff(times)) > GAP) + 1
        edges = [0, *breaks, len(times)]
        held = sum(times[last - 1] - times[first] for first, last in pairwise(edges))
        measured = (len(times) - len(breaks) - 1) / held if held > 0 else np.nan
        if self.sfreq is not None and not abs(measured / self.sfreq - 1) < 0.02:
            raise DataError(
                f"{path.name}: `sfreq: {self.sfreq:g}` does not fit the timestamps, "
                f"which give {measured:.2f} Hz"
            )
        return self.sfreq or float(measured), tuple(int(row) for row in breaks)

    def markers(self, table: pd.DataFrame, sfreq: float) -> Events:
        """One event where the marker changes to a code that is neither 0 nor blank."""
        column = next((name for name in self.marker if name in table), None)
        if column is None:
            return Events()
        words: NDArray[Any] = np.array([as_word(value) for value in table[column]])
        begins = (words != np.roll(words, 1)) | (np.arange(len(words)) == 0)
        rows = np.flatnonzero(begins & (words != "0") & (words != ""))
        return Events(rows / sfreq, np.zeros(len(rows)), tuple(str(word) for word in words[rows]))


def load(path: Path) -> pd.DataFrame:
    """The table; tabs between the columns of a `.tsv`, commas otherwise."""
    separator = "\t" if ".tsv" in path.suffixes else ","
    try:
        return pd.read_csv(path, sep=separator)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} can't be read as a table ({error})") from error
