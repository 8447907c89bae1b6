"""A MATLAB file that holds an array of windows, with their labels and sensors' names in other variables."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.readers import Reader
from brainfm.data.recording import Recording
from brainfm.data.segments import as_word, recording_of_windows
from brainfm.data.selection import SensorChoice
from brainfm.data.variables import from_matlab, variable
from brainfm.errors import DataError

Axis = Literal["window", "sensor", "time"]


class MatlabEpochs(Reader, SensorChoice):
    """One `.mat` file (up to version 7) per recording."""

    suffixes: ClassVar[tuple[str, ...]] = (".mat",)

    windows: str = Field(description="the variable that holds the windows")
    axes: list[Axis] = Field(description="what its axes are, in order; without `sensor` there is one sensor")
    labels: str = Field(default="", description="the variable that holds one code per window")
    names: str = Field(default="", description="the variable that holds the sensors' names")
    sensors: list[str] = Field(default=[], description="the sensors' names, where the file has none")
    sfreq: float = Field(gt=0, description="hertz")
    unit: str = Field(description="of the numbers: V, mV, µV, T, fT, A m, ...")

    def open(self, path: Path) -> Recording:
        """The windows one after another, each with an event of its code. Raises `DataError` where they do
        not fit."""
        content = from_matlab(path)
        windows = self.ordered(np.asarray(variable(content, self.windows, path.name)), path)
        names = self.sensors or [as_word(name) for name in np.ravel(variable(content, self.names, path.name))]
        labels = [""] * len(windows)
        if self.labels:
            labels = [as_word(code) for code in np.ravel(variable(content, self.labels, path.name))]
        return recording_of_windows(windows, labels, names, self.sfreq, self.unit, self, path.name)

    def label(self, path: Path) -> str:
        """The card's unit: MATLAB arrays have none."""
        return self.unit

    def ordered(self, array: NDArray[Any], path: Path) -> NDArray[np.float64]:
        """The array as (window, sensor, time)."""
        if sorted(self.axes) not in (["sensor", "time", "window"], ["time", "window"]):
            raise DataError(
                f"axes {self.axes} must be window, sensor and time, each once, or window and time"
            )
        if array.ndim != len(self.axes) or array.dtype.kind not in "iuf":
            raise DataError(
                f"{path.name}: {self.windows} has shape {array.shape}, which does not fit axes {self.axes}"
            )
        if "sensor" not in self.axes:
            array = array[..., None]
        axes = [*self.axes, "sensor"]
        return np.asarray(array, dtype=np.float64).transpose(
            [axes.index(axis) for axis in ("window", "sensor", "time")]
        )
