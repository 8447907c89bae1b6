"""fMRI on the surface of a hemisphere: `func.gii`, a value per vertex and volume."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.bold import Bold, beside
from brainfm.data.readers import Reader
from brainfm.data.recording import Recording, Sensors
from brainfm.data.surfaces import gifti, vertices
from brainfm.errors import DataError

OTHER = {"L": "R", "R": "L"}
SIDE = re.compile(r"(?:hemi-|\.)([LR])(?=[_.])")
"""The hemisphere in a file's name, as BIDS (hemi-L) or the Human Connectome Project (.L.) writes it."""


class Gifti(Reader, Bold):
    """One `.func.gii` per recording. Its header states no repetition time: `tr:` or BIDS's .json does.

    Vertices are called L00001 by hemisphere (hemi-L or .L. in the file's name, else `hemisphere`) and number, from 0. They
    have places where `surface` names a mesh. With `both`, the file of the other hemisphere beside this one is read too, and
    `surface` is this one's mesh, whose name tells the other's. Vertices that are constant, as the medial wall is, are left
    out with a note.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".func.gii",)

    hemisphere: str = Field(default="", description="L or R, where the name does not say")
    both: bool = Field(default=False, description="read the other hemisphere's file, too")
    surface: str = Field(default="", description="the mesh, a .surf.gii beside the recording, for the places")

    def open(self, path: Path) -> Recording:
        """The vertices' courses. Raises `DataError` for a file that is no time series or states no time."""
        sfreq = self.sfreq(path, None)
        sides = [self.half(path, self.side(path), self.surface)]
        if self.both:
            sides.append(self.half(mirrored(path), *self.other(path)))
        lengths = [values.shape[1] for values, _, _ in sides]
        if len(set(lengths)) > 1:
            raise DataError(f"{path.name}: its hemispheres have {lengths[0]} and {lengths[1]} volumes")
        tables = [table for _, table, _ in sides]
        sensors = tables[0] if len(tables) == 1 else joined(*tables)
        left = sum(count for _, _, count in sides)
        notes = [f"{left} vertices are constant and were left out"] if left else []
        return self.run(np.concatenate([values for values, _, _ in sides]), sfreq, sensors, path, notes)

    def half(self, path: Path, side: str, surface: str) -> tuple[NDArray[np.float32], Sensors, int]:
        """A hemisphere's values (vertex, volume), its table, and how many vertices do not vary."""
        values = self.series(path)
        varies = np.isfinite(values).all(axis=1) & (values.max(axis=1) > values.min(axis=1))
        if not varies.any():
            raise DataError(f"{path.name}: no vertex varies")
        names = [f"{side}{row:05d}" for row in np.flatnonzero(varies).tolist()]
        sensors = Sensors.of(names, "vertex", self.si)
        if surface:
            place = vertices(beside(path, surface, "surface"), len(values))[varies]
            sensors = Sensors.of(names, "vertex", self.si, place, self.frame(path))
        return values[varies], sensors, int((~varies).sum())

    def other(self, path: Path) -> tuple[str, str]:
        """The other hemisphere and its mesh."""
        surface = mirrored(Path(self.surface)).as_posix() if self.surface else ""
        return OTHER[self.side(path)], surface

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
        found = SIDE.search(path.name)
        side = self.hemisphere or (found[1] if found else "")
        if side not in OTHER:
            raise DataError(f"{path.name} does not say its hemisphere; say `hemisphere: L` or R")
        return side


def mirrored(path: Path) -> Path:
    """The path with the other hemisphere in its name. Raises `DataError` where the name holds none."""
    match = SIDE.search(path.name)
    if match is None:
        raise DataError(f"{path.name} does not say its hemisphere, so `both:` can't tell the other's file")
    at = match.start(1)
    return path.with_name(f"{path.name[:at]}{OTHER[match[1]]}{path.name[at + 1 :]}")


def joined(first: Sensors, second: Sensors) -> Sensors:
    """Two tables as one."""
    return replace(
        first,
        name=first.name + second.name,
        kind=first.kind + second.kind,
        unit=first.unit + second.unit,
        position=np.concatenate([first.position, second.position]),
        orientation=np.concatenate([first.orientation, second.orientation]),
        region=first.region + second.region,
    )
