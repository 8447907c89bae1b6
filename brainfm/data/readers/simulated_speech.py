"""Simulated people who listen to sentences, under EEG or MEG; every recording is made when it is read."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.listening import Heard, Listener, listening, some
from brainfm.data.modalities import modality
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording, Signal
from brainfm.data.speech import Voice
from brainfm.errors import DataError

JUMP = (300.0, 3000.0)
"""The smallest and largest artefact, in standard deviations of its sensor."""
FADES = 0.4
"""Seconds after which a third of it is left."""


class SimulatedSpeech(Reader):
    """`subjects` people who hear the same `sentences`, or `each` so many of them, in an order of their own.

    An event is a sentence, its label the words; the track `sound` is what was heard. The same seed gives the same bytes, with
    `voice: espeak` as far as espeak-ng says the same.
    """

    modality: Literal["eeg", "meg"] = "meg"
    subjects: int = Field(default=12, ge=1)
    sentences: int = Field(default=60, ge=2)
    each: int | None = Field(default=None, ge=1, description="how many of them each hears; all")
    sfreq: float = Field(default=128.0, gt=0)
    sensors: int = 48
    voice: Voice = "espeak"
    artefacts: float = Field(
        default=0.0, ge=0, description="in a minute: one sensor jumps far beyond all brain signals and decays"
    )
    seed: int = 0

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """One entry per subject; folder and pattern are not looked at, there is no file."""
        return [
            Entry(Path("simulated_speech", f"subject{subject:02d}"), f"{subject:02d}", "01")
            for subject in range(1, self.subjects + 1)
        ]

    def open(self, path: Path) -> Recording:
        """The recording of a path that `find` gave. Raises `DataError` where nobody can speak."""
        number = path.name.removeprefix("subject")
        if not number.isdigit():
            raise DataError(
                f"{path} is no simulated listener; their paths are simulated_speech/subject01 and so on"
            )
        person = Listener.draw(np.random.default_rng([self.seed, int(number), 7]))
        rng = np.random.default_rng([self.seed, int(number), 8])
        heard = Heard.of(some(self.sentences, self.each or self.sentences, self.seed, rng), rng, self.voice)
        session = listening(person, heard, rng, self.sfreq)
        found = modality(self.modality).simulate(
            rng, sfreq=self.sfreq, sensors=self.sensors, brain=person.brain, session=session
        )
        signal = found.signal(self.modality)
        signal = replace(signal, data=signal.load() + self.jumps(rng, signal))
        return Recording(
            {self.modality: signal}, heard.events, {"sound": heard.track}, source=path.as_posix()
        )

    def jumps(self, rng: np.random.Generator, signal: Signal) -> NDArray[np.float64]:
        """(sensor, time) artefacts, as a bad contact or a SQUID that loses its lock makes them."""
        out = np.zeros((len(signal.sensors), signal.n_times))
        spread = signal.load().std(axis=1)
        decay = np.exp(-np.arange(round(5 * FADES * signal.sfreq)) / (FADES * signal.sfreq))
        for _ in range(rng.poisson(self.artefacts * signal.seconds / 60)):
            row, first = rng.integers(len(out)), rng.integers(signal.n_times - len(decay))
            size = np.exp(rng.uniform(*np.log(JUMP))) * rng.choice([-1, 1])
            out[row, first : first + len(decay)] += size * spread[row] * decay
        return out
