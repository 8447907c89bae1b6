"""Recordings of the simulated brain, where no file is at hand: every one is made when it is read."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from brainfm.data.brain import Brain, activity
from brainfm.data.made_up import numbers, places
from brainfm.data.modalities import modality
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording

SHARED = 256.0
"""Hertz at which a session is made that several instruments see."""


class Simulated(Reader):
    """`subjects` people with `sessions` each; the same seed gives the same bytes, in whatever order they
    are read."""

    modality: str = "eeg"
    beside: list[str] = Field(default=[], description="other instruments that see the same session at once")
    subjects: int = 8
    sessions: int = 1
    seconds: float = 180.0
    sfreq: float | None = Field(default=None, description="hertz; default: the modality's own")
    sensors: int | None = Field(default=None, description="how many; default: the modality's own")
    classes: list[Literal["left_hand", "right_hand", "feet", "rest"]] = Field(
        default=["left_hand", "right_hand"]
    )
    seed: int = 0

    @field_validator("beside")
    @classmethod
    def _one_cursor(cls, value: list[str], info: Any) -> list[str]:
        if {"spikes", "behaviour"} <= {info.data.get("modality"), *value}:
            raise ValueError(
                "spikes bring the track velocity, which is their cursor; make behaviour of it by from_track"
            )
        return value

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject and session; folder and pattern are not looked at, there is no file."""
        return [Entry(*one) for one in places(self.subjects, self.sessions)]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave."""
        subject, session = numbers(path)
        brain = Brain.draw(np.random.default_rng([self.seed, subject]))
        rng = np.random.default_rng([self.seed, subject, session])
        seen = activity(brain, rng, self.seconds, SHARED, self.classes) if self.beside else None
        given = {"sfreq": self.sfreq, "sensors": self.sensors}
        of_the_first = {name: value for name, value in given.items() if value is not None}
        found = [
            modality(name).simulate(
                rng,
                seconds=self.seconds,
                classes=self.classes,
                brain=brain,
                session=seen,
                **(of_the_first if name == self.modality else {}),
            )
            for name in (self.modality, *self.beside)
        ]
        signals = {name: signal for one in found for name, signal in one.signals.items()}
        tracks = {name: track for one in found for name, track in one.tracks.items()}
        return Recording(signals, found[0].events, tracks, source=path.as_posix())
