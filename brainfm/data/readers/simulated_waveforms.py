"""Recordings of simulated people in which known waveforms are planted: every one is made when it is read."""

from pathlib import Path

import numpy as np

from brainfm.data.made_up import numbers, places
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording
from brainfm.data.waveforms import Person, simulate


class SimulatedWaveforms(Reader):
    """`subjects` people; the same seed gives the same bytes, in whatever order they are read."""

    subjects: int = 24
    seconds: float = 180.0
    sfreq: float = 128.0
    seed: int = 0

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject; folder and pattern are not looked at, there is no file."""
        return [Entry(*one) for one in places(self.subjects, 1)]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave."""
        subject, _ = numbers(path)
        person = Person.draw(np.random.default_rng([self.seed, 7, subject]))
        made = simulate(person, np.random.default_rng([self.seed, 8, subject]), self.seconds, self.sfreq)
        return Recording(made.signals, made.events, source=path.as_posix())
