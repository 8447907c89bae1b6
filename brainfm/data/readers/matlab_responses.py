"""A MATLAB file of estimated fMRI responses: an amplitude per voxel and stimulus, and perhaps what was seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.bold import BoldUnit, recording_of_responses
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording, Sensors
from brainfm.data.segments import as_word
from brainfm.data.variables import from_matlab, variable
from brainfm.errors import DataError
from brainfm.part import Settings

Axis = Literal["sensor", "window", "label", "run"]
RUN = "run-"
"""What a run's part of a file is called, as if the file were a folder of its runs."""


class Seen(Settings):
    """What was seen at each response: a variable with one row each, and the shape of a row.

    `order` F is MATLAB's: the first axis runs fastest.
    """

    variable: str
    shape: list[int] = Field(default=[])
    order: Literal["C", "F"] = "C"


class MatlabResponses(Reader, BoldUnit):
    """One `.mat` (up to version 7) of responses. With a `run` axis every run is a recording of its own."""

    responses: list[str] = Field(
        min_length=1, description="the variables with responses, one after another in time; all of one shape"
    )
    axes: list[Axis] = Field(description="what their axes are: sensor, then window, or label and perhaps run")
    labels: str = Field(default="", description="the variable with one code per window")
    classes: list[str] = Field(default=[], description="the labels along the axis `label`, in order")
    tracks: dict[str, Seen] = Field(default={}, description="what was seen, by the name of its track")
    seconds: float = Field(default=1.0, gt=0, description="how long a response counts for: a nominal length")

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """The files that fit, each once for every run that it holds."""
        entries = super().find(folder, pattern)
        if "run" not in self.axes:
            return entries
        return [
            replace(entry, path=entry.path / f"{RUN}{run}", run=str(run))
            for entry in entries
            for run in range(1, self.ordered(from_matlab(entry.path), entry.path.name).shape[3] + 1)
        ]

    def open(self, path: Path) -> Recording:
        """The responses of a file, or of the one run that `find` gave. Raises `DataError` where they do not fit."""
        one = path.name.startswith(RUN) and not path.is_file()
        file = path.parent if one else path
        content = from_matlab(file)
        found = self.ordered(content, file.name)
        if one:
            number = path.name.removeprefix(RUN)
            if not number.isdigit() or not 1 <= int(number) <= found.shape[3]:
                raise DataError(f"{file.name} holds the runs 1 to {found.shape[3]}, not {number}")
            found = found[..., int(number) - 1 : int(number)]
        # run by run, and within a run variable by variable
        values = found.transpose(1, 3, 0, 2).reshape(found.shape[1], -1)
        labels = self.labels_of(content, found, file.name)
        names = [f"v{row + 1:0{len(str(len(values)))}d}" for row in range(len(values))]
        where = f"{file.name}/{path.name}" if one else file.name
        return recording_of_responses(
            self.betas(values, file.name),
            labels,
            Sensors.of(names, "voxel", self.si),
            self.seconds,
            where,
            {name: shown(content, seen, file.name) for name, seen in self.tracks.items()},
        )

    def label(self, path: Path) -> str:
        """The card's unit: MATLAB arrays have none."""
        return self.unit

    def ordered(self, content: dict[str, Any], where: str) -> NDArray[np.float32]:
        """(variable, sensor, window or label, run) the responses; one run where the axes name none."""
        if sorted(self.axes) not in (["sensor", "window"], ["label", "sensor"], ["label", "run", "sensor"]):
            raise DataError(
                f"axes {self.axes} must be sensor and window, or sensor and label and perhaps run, each once"
            )
        if ("label" in self.axes) != bool(self.classes) or ("window" in self.axes) != bool(self.labels):
            raise DataError(
                f"{where}: an axis `label` needs `classes:`, its labels in order; an axis `window` needs "
                "`labels:`, the variable with one code each"
            )
        arrays = [np.asarray(variable(content, name, where)) for name in self.responses]
        for name, array in zip(self.responses, arrays, strict=True):
            if (
                array.ndim != len(self.axes)
                or array.dtype.kind not in "iuf"
                or array.shape != arrays[0].shape
            ):
                raise DataError(
                    f"{where}: {name} has shape {array.shape}, which does not fit axes {self.axes} or the others"
                )
        middle = "label" if "label" in self.axes else "window"
        axes = [self.axes.index(axis) for axis in ("sensor", middle, "run") if axis in self.axes]
        found = np.stack([np.asarray(array, np.float32).transpose(axes) for array in arrays])
        return found if "run" in self.axes else found[..., None]

    def labels_of(self, content: dict[str, Any], found: NDArray[np.float32], where: str) -> list[str]:
        """The label of each response, in the order run, variable, window or label."""
        variables, _, count, runs = found.shape
        labels = self.classes or [as_word(code) for code in np.ravel(variable(content, self.labels, where))]
        if len(labels) != count:
            raise DataError(f"{where}: {len(labels)} labels do not fit {count} responses of each voxel")
        return labels * (variables * runs)


def shown(content: dict[str, Any], seen: Seen, where: str) -> NDArray[Any]:
    """(response, ...) what was seen at each."""
    array = np.asarray(variable(content, seen.variable, where))
    size = int(np.prod(seen.shape)) if seen.shape else array[0].size
    if array.size != len(array) * size:
        raise DataError(f"{where}: a row of {seen.variable} holds {array[0].size} numbers, not {seen.shape}")
    flat = array.reshape(len(array), -1)
    return np.stack([row.reshape(seen.shape or (size,), order=seen.order) for row in flat])
