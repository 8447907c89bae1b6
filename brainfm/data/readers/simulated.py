"""Recordings of the simulated brain, where no file is at hand: every one is made when it is read."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from brainfm.data.brain import Brain
from brainfm.data.modalities import modality
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording
from brainfm.errors import DataError


class Simulated(Reader):
    """`subjects` people with `sessions` each; the same seed gives the same bytes, in whatever order they
    are read."""

    modality: str = "eeg"
    subjects: int = 8
    sessions: int = 1
    seconds: float = 180.0
    sfreq: float | None = Field(default=None, description="hertz; default: the modality's own")
    sensors: int | None = Field(default=None, description="how many; default: the modality's own")
    classes: list[Literal["left_hand", "right_hand", "feet", "rest"]] = Field(
        default=["left_hand", "right_hand"]
    )
    seed: int = 0

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject and session; folder and pattern are not looked at, there is no file."""
        return [
            Entry(
                Path("simulated", f"subject{subject:02d}", f"session{session:02d}"),
                f"{subject:02d}",
                f"{session:02d}",
            )
            for subject in range(1, self.subjects + 1)
            for session in range(1, self.sessions + 1)
        ]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave."""
        names = [path.parent.name.removeprefix("subject"), path.name.removeprefix("session")]
        if not all(name.isdigit() for name in names):
            raise DataError(
                f"{path} is no simulated recording; their paths are subject01/session01 and so on"
            )
        subject, session = map(int, names)
        brain = Brain.draw(np.random.default_rng([self.seed, subject]))
        given = {"sfreq": self.sfreq, "sensors": self.sensors}
        recording = modality(self.modality).simulate(
            np.random.default_rng([self.seed, subject, session]),
            seconds=self.seconds,
            classes=self.classes,
            brain=brain,
            **{name: value for name, value in given.items() if value is not None},
        )
        return Recording(recording.signals, recording.events, recording.tracks, source=path.as_posix())
