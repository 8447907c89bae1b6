"""A zip archive of segments, one small MATLAB or text file each, whose label is in its path."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from brainfm.data.readers import Reader, compile_pattern
from brainfm.data.recording import Recording
from brainfm.data.segments import recording_of_windows
from brainfm.data.selection import SensorChoice
from brainfm.errors import DataError


class ZipSegments(Reader, SensorChoice):
    """One archive per recording; nothing is unpacked to disk. A member is (time,), or (sensor, time) either
    way round."""

    suffixes: ClassVar[tuple[str, ...]] = (".zip",)

    members: str = Field(
        description='which members are segments, such as "*/{label}/*.mat" (`{label}` is the code)'
    )
    labels: list[str] = Field(default=[], description="the codes whose members are used; default: all")
    sensors: list[str] = Field(description="the sensors' names")
    sfreq: float = Field(gt=0, description="hertz")
    unit: str = Field(description="of the numbers: V, mV, µV, T, fT, A m, ...")
    samples: int | None = Field(
        default=None, ge=1, description="how many samples of each are used; default: all"
    )

    def open(self, path: Path) -> Recording:
        """The segments one after another, in the order of their names. Raises `DataError` where they do not
        fit."""
        expression = re.compile(compile_pattern(self.members, ("label",)).pattern, re.IGNORECASE)
        try:
            with zipfile.ZipFile(path) as archive:
                found = [(name, expression.fullmatch(name)) for name in sorted(archive.namelist())]
                coded = {name: match.groupdict("").get("label", "") for name, match in found if match}
                members = {
                    name: code for name, code in coded.items() if not self.labels or code in self.labels
                }
                arrays = [self.segment(archive.read(name), name) for name in members]
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path.name} can't be read as a zip archive ({error})") from error
        if not arrays:
            raise DataError(
                f"{path.name} holds no member {self.members!r}; it holds {', '.join(n for n, _ in found[:4])}"
            )
        if len(shapes := {array.shape for array in arrays}) > 1:
            raise DataError(
                f"{path.name}: segments have the shapes {sorted(shapes)}; "
                f"say `samples:` to cut them to one length"
            )
        return recording_of_windows(
            np.stack(arrays), list(members.values()), self.sensors, self.sfreq, self.unit, self, path.name
        )

    def label(self, path: Path) -> str:
        """The card's unit: the members have none."""
        return self.unit

    def segment(self, content: bytes, name: str) -> NDArray[np.float64]:
        """One member as (sensor, time)."""
        array = np.atleast_2d(np.squeeze(numbers(content, name)))
        n = len(self.sensors)
        if array.ndim != 2 or n not in array.shape:
            raise DataError(f"{name} has shape {array.shape}, which does not fit {n} sensors")
        array = array if array.shape[0] == n else array.T
        if self.samples is not None and array.shape[1] < self.samples:
            raise DataError(f"{name} has {array.shape[1]} samples, fewer than the {self.samples} asked for")
        return array[:, : self.samples]


def numbers(content: bytes, name: str) -> NDArray[np.float64]:
    """The only array of a MATLAB file, or the numbers of a text file."""
    try:
        if not name.lower().endswith(".mat"):
            return np.loadtxt(io.BytesIO(content))
        found: dict[str, Any] = loadmat(io.BytesIO(content))  # type: ignore[arg-type]  # its stubs want a path
    # NotImplementedError is what scipy raises for a file of MATLAB 7.3, which is HDF5
    except (MatReadError, NotImplementedError, ValueError, TypeError) as error:
        raise DataError(f"{name} can't be read ({error})") from error
    arrays = {key: value for key, value in found.items() if not key.startswith("__")}
    if len(arrays) != 1:
        raise DataError(f"{name} holds {len(arrays)} variables where one is expected: {', '.join(arrays)}")
    return np.asarray(next(iter(arrays.values())), dtype=np.float64)
