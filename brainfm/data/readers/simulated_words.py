"""Simulated people with depth electrodes who say words; every recording is made when it is read."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from brainfm.data.made_up import numbers, places
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording
from brainfm.data.speaking import Speaker, order, talk
from brainfm.data.speech import NOUNS, Voice


class SimulatedWords(Reader):
    """`subjects` people who say each of so many `words` `repeats` times, with `sensors` contacts where their surgeons put them.

    An event is a word, its label too; with `tells: speech` it is speech or silence. The track `sound` is what was said. The same
    seed gives the same bytes.
    """

    subjects: int = Field(default=8, ge=1)
    words: int = Field(default=6, ge=2, le=len(NOUNS))
    repeats: int = Field(default=20, ge=1)
    tells: Literal["word", "speech"] = "word"
    sensors: int = Field(default=32, ge=2)
    sfreq: float = Field(default=128.0, gt=0)
    moment: float = Field(
        default=6e-9, gt=0, description="A·m, the standard deviation of each source that answers"
    )
    voice: Voice = "formants"
    seed: int = 0

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject; folder and pattern are not looked at, there is no file."""
        return [Entry(*one) for one in places(self.subjects, 1)]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave."""
        subject, session = numbers(path)
        person = Speaker.draw(np.random.default_rng([self.seed, subject, 9]))
        rng = np.random.default_rng([self.seed, subject, session, 10])
        said = order(self.words, self.repeats, rng)
        found = talk(person, rng, said, self.tells, self.sensors, self.sfreq, self.moment, self.voice)
        return replace(found, source=path.as_posix())
