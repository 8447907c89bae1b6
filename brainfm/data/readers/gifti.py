"""fMRI on the surface of a hemisphere: `func.gii`, a value per vertex and volume."""

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.bold import Bold, beside
from brainfm.data.confounds import TRACK, confounds_of
from brainfm.data.readers import Reader
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.surfaces import gifti, vertices
from brainfm.errors import DataError


class Gifti(Reader, Bold):
    """One `.func.gii` per recording. Its header states no repetition time: `tr:` or BIDS's .json does.

    Vertices are called L00001 by hemisphere (hemi-L or .L. in the file's name, else `hemisphere`) and number, from 0. They
    have places where `surface` names a mesh. Those that are constant, as the medial wall is, are left out with a note.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".func.gii",)

    hemisphere: str = Field(default="", description="L or R, where the name does not say")
    surface: str = Field(default="", description="the mesh, a .surf.gii beside the recording, for the places")

    def open(self, path: Path) -> Recording:
        """The vertices' courses. Raises `DataError` for a file that is no time series or states no time."""
        values = self.series(path)
        sfreq = self.sfreq(path, None)
        varies = np.isfinite(values).all(axis=1) & (values.max(axis=1) > values.min(axis=1))
        if not varies.any():
            raise DataError(f"{path.name}: no vertex varies")
        side = self.side(path)
        names = [f"{side}{row:05d}" for row in np.flatnonzero(varies).tolist()]
        sensors = Sensors.of(names, "vertex", self.si)
        if self.surface:
            place = vertices(beside(path, self.surface, "surface"), len(values))[varies]
            sensors = Sensors.of(names, "vertex", self.si, place, self.frame(path))
        data, notes = self.course(values[varies], path.name)
        left = int((~varies).sum())
        notes = [*notes, *([f"{left} vertices are constant and were left out"] if left else [])]
        tracks = {}
        if self.confounds is not None:
            tracks[TRACK], said = confounds_of(path, self.confounds, data.shape[1], sfreq)
            notes += said
        return Recording(
            {"fmri": Signal(data, sfreq, sensors)}, tracks=tracks, source=path.name, notes=tuple(notes)
        )

    def label(self, path: Path) -> str:
        """The unit after the reader's own conversion."""
        return "%" if self.unit == "raw" else self.unit

    def series(self, path: Path) -> NDArray[np.float32]:
        """(vertex, volume), of one array per volume or of one array for all."""
        arrays: list[Any] = gifti(path).darrays
        shapes = {np.shape(array.data) for array in arrays}
        if len(shapes) == 1 and len(arrays) > 1 and len(next(iter(shapes))) == 1:
            return np.stack([np.asarray(array.data, np.float32) for array in arrays], axis=1)
        if len(arrays) == 1 and arrays[0].data.ndim == 2 and arrays[0].data.shape[1] > 1:
            return np.asarray(arrays[0].data, np.float32)
        raise DataError(
            f"{path.name} holds {len(arrays)} arrays of the shapes {sorted(shapes)}: no time course"
        )

    def side(self, path: Path) -> str:
        """L or R."""
        found = re.search(r"(?:hemi-|\.)([LR])(?=[_.])", path.name)
        side = self.hemisphere or (found[1] if found else "")
        if side not in ("L", "R"):
            raise DataError(f"{path.name} does not say its hemisphere; say `hemisphere: L` or R")
        return side
