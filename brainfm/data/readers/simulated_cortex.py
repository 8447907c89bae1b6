"""Recordings of the simulated visual cortex: a session a recording, a trial a sample, what was seen as a track."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import Field

from brainfm.data.made_up import numbers, places
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording, Signal, Track
from brainfm.data.visual_cortex import VisualCortex


class SimulatedCortex(Reader):
    """`subjects` people who each see `pictures` of their own once and `shared` ones `repeats` times, over `sessions`."""

    subjects: int = Field(default=4, ge=1)
    sessions: int = Field(default=4, ge=1)
    pictures: int = Field(default=600, ge=1)
    shared: int = Field(default=100, ge=1)
    repeats: int = Field(default=3, ge=1)
    pixels: int = Field(default=16, ge=8)
    ncsnr: tuple[float, float] = Field(default=(0.3, 1.2), strict=False, description="bounds of each voxel's")
    seed: int = 0

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject and session; folder and pattern are not looked at, there is no file."""
        return [Entry(*one) for one in places(self.subjects, self.sessions)]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave, at a nominal trial a second."""
        subject, session = numbers(path)
        seen = simulated(self).people[subject - 1]
        rows = np.flatnonzero(seen.session == session - 1)
        signal = Signal(seen.response[rows].T, 1.0, seen.voxels)
        return Recording(
            {"fmri": signal}, tracks={"image": Track(seen.images(rows), 1.0)}, source=path.as_posix()
        )


@lru_cache(maxsize=2)
def simulated(reader: SimulatedCortex) -> VisualCortex:
    """The whole cortex, made once for all of its recordings."""
    return VisualCortex.simulate(
        reader.seed,
        subjects=reader.subjects,
        pictures=reader.pictures,
        shared=reader.shared,
        repeats=reader.repeats,
        sessions=reader.sessions,
        pixels=reader.pixels,
        ncsnr=reader.ncsnr,
    )
