"""Spikes that were counted in bins before they were published: neuron × bin, or neuron × trial × bin."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.readers import Reader
from brainfm.data.recording import Events, Recording, Sensors, Signal, Track
from brainfm.data.segments import as_word
from brainfm.data.trial_counts import Axis, Piece, Run, TrialCounts
from brainfm.data.variables import SUFFIXES, variable, variables_of
from brainfm.errors import DataError


class BinnedCounts(Reader):
    """One file per recording; its pieces lie one after another, with a break between any two and between trials.

    Bins that overlap (`width` above `step`) are brought to the running mean of the counts in one `step`, so that rates
    stay rates and no spike is counted several times. Neurons that were recorded one after another (`apart`) become one
    population by pairing trials of one condition in their order, and trials that some neuron lacks are left out.
    """

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    pieces: list[Piece] = Field(min_length=1)
    axes: list[Axis] = Field(description="what the axes of the counts are, in order")
    step: float = Field(gt=0, description="seconds from one bin's start to the next one's")
    width: float | None = Field(default=None, gt=0, description="seconds that a bin lasts; default: `step`")
    unit: Literal["count", "Hz", "1/ms"] = Field(description="of the numbers: spikes in a bin, or a rate")
    onset: float = Field(default=0.0, ge=0, description="seconds from a trial's start to its event")
    apart: bool = Field(default=False, description="the neurons were recorded one after another")
    names: str = Field(default="", description="the variable that holds the neurons' names")
    multiunit: bool = Field(default=False, description="the counts are not those of single neurons")
    region: str = Field(default="", description="where the neurons are")
    units: dict[str, str] = Field(default={}, description="the unit of each track")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Never: what the variables are has to be said, so these files go to this reader when it is named."""
        return False

    def open(self, path: Path) -> Recording:
        """The counts per `step`, an event per trial (or run of one label), the tracks. Raises `DataError` where they
        do not fit."""
        content = variables_of(path)
        parts = [TrialCounts.of(piece, self.axes, self.apart, content, path.name) for piece in self.pieces]
        if len(neurons := {len(part.values) for part in parts}) > 1:
            raise DataError(f"{path.name}: its pieces hold {' and '.join(map(str, sorted(neurons)))} neurons")
        starts = list(accumulate((part.ends[-1] for part in parts), initial=0))
        ends = [start + end for start, part in zip(starts, parts, strict=False) for end in part.ends]
        data = self.per_step(np.concatenate([part.values for part in parts], axis=1), path.name)
        signal = Signal(data, 1 / self.step, self.table(content, len(data), path.name), tuple(ends[:-1]))
        runs = [(start, run) for start, part in zip(starts, parts, strict=False) for run in part.runs]
        notes = [note for part in parts for note in part.notes]
        if self.width is not None and self.width > self.step:
            notes.append(f"bins of {self.width:g} s overlap: counts are the running mean per {self.step:g} s")
        return Recording(
            {"spikes": signal},
            self.events(runs, path.name),
            self.together(parts, path.name),
            source=path.name,
            notes=tuple(notes),
        )

    def label(self, path: Path) -> str:
        """The card's unit; the gate's own advice is on units of time."""
        return self.unit

    def per_step(self, values: NDArray[np.float64], where: str) -> NDArray[np.float64]:
        """Counts in one step. Raises `DataError` where the numbers, in their unit, are not whole spikes in a bin."""
        width = self.width or self.step
        if width < self.step:
            raise DataError(
                f"{where}: bins of {width:g} s every {self.step:g} s leave spikes out; correct `width`"
            )
        counts = values * {"count": 1.0, "Hz": width, "1/ms": 1e3 * width}[self.unit]
        known = counts[np.isfinite(counts)]
        if (known < 0).any() or np.abs(known - known.round()).max(initial=0.0) > 1e-3:
            raise DataError(
                f"{where}: in bins of {width:g} s its numbers, as {self.unit}, are not whole spikes; "
                "correct `width` or `unit`"
            )
        return counts * (self.step / width)

    def table(self, content: dict[str, Any], n: int, where: str) -> Sensors:
        """The neurons, under the file's names or numbered."""
        names = [f"n{row:03d}" for row in range(1, n + 1)]
        if self.names:
            names = [as_word(name) for name in np.ravel(variable(content, self.names, where))]
        if len(names) != n:
            raise DataError(f"{where}: {len(names)} names do not fit {n} neurons")
        kind = "multiunit" if self.multiunit else "neuron"
        return Sensors.of(names, kind, "count").with_regions([self.region] * n)

    def events(self, runs: Sequence[tuple[int, Run]], where: str) -> Events:
        """An event per labelled run of a piece that starts at that bin, `onset` after the start where it is a trial."""
        named = [(start + run.start, run) for start, run in runs if run.label]
        if any(self.onset >= (run.stop - run.start) * self.step for _, run in named):
            raise DataError(f"{where}: an onset at {self.onset:g} s lies beyond the end of a trial")
        return Events(
            np.array([start * self.step + self.onset for start, _ in named]),
            np.array([(run.stop - run.start) * self.step - self.onset for _, run in named]),
            tuple(run.label for _, run in named),
        )

    def together(self, parts: Sequence[TrialCounts], where: str) -> dict[str, Track]:
        """Every track over all pieces, a sample per bin."""
        names = dict.fromkeys(name for part in parts for name in part.tracks)
        if lacking := [name for name in names if any(name not in part.tracks for part in parts)]:
            raise DataError(f"{where}: the track {lacking[0]!r} is not in every piece")
        joined = {name: np.concatenate([part.tracks[name] for part in parts]) for name in names}
        return {name: Track(data, 1 / self.step, self.units.get(name, "")) for name, data in joined.items()}
