"""A simulated brain that listens: sources of both temporal lobes follow what is said, on top of all else that it does.

Cortex answers to changes of a sound as if each passed a linear filter of 300 ms, the temporal response function, with a positive
peak after about 50 ms, a negative one after 100 and a positive one after 180 (Lalor & Foxe 2010, Eur. J. Neurosci. 31, figure 3;
Crosse et al. 2016, Front. Hum. Neurosci. 10:604). What is filtered here is a spectrogram of a few bands and the rises of its
envelope. Places, directions, tuning and delays of the sources are each person's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from brainfm.data.brain import Activity, Brain, activity, nearest, pool, tilted
from brainfm.data.recording import Events, Track
from brainfm.data.sound import SILENT, mel_spectrogram
from brainfm.data.speech import RATE, Voice, sentences, spoken

SITES = ("T7", "T8", "FT7", "FT8", "TP7", "TP8")
"""Under which electrodes auditory sources lie."""
EACH = 2
"""Sources under each."""
MOMENT = 1.5e-9
"""A·m, the standard deviation of a source over a session: a twelfth of what one of the background's is."""
BANDS = 8
"""Bands of the spectrogram that sources are tuned to; the rises of their sum are one more."""
EVERY = 0.01
"""Seconds from spectrum to spectrum."""
PEAKS = ((0.050, 0.015, 0.7), (0.105, 0.025, -1.0), (0.185, 0.035, 0.8))
"""Delay, width (seconds) and size of each peak of a response."""
LASTS = 0.3
"""Seconds of a response."""
BEFORE, PAUSE = 1.0, (0.5, 1.2)
"""Seconds before the first sentence, and the shortest and longest pause after each."""
GRID = 0.1
"""Seconds whose multiples sentences begin at, so that everyone's windows cut a sentence at the same places."""


@dataclass(frozen=True)
class Listener:
    """One person: the brain, its auditory sources among its dipoles, and what each of these answers to.

    `tuning` is (source, band + 1), the last for rises; `delay` (source, peak) in seconds is added to `PEAKS`.
    """

    brain: Brain
    tuning: NDArray[np.float64]
    delay: NDArray[np.float64]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        sites: Sequence[str] = SITES,
        each: int = EACH,
        brain: Brain | None = None,
    ) -> "Listener":
        """A person at random, or new sources of a `brain`; `each` so many of them under every site.

        Auditory cortex lies in a fold, so its sources point along the head rather than out of it.
        """
        brain = brain or Brain.draw(rng)
        place = np.concatenate([rng.choice(nearest(site, 8), each, replace=False) for site in sites])
        radial = pool()[place] / np.linalg.norm(pool()[place], axis=1, keepdims=True)
        turned = tilted(place, rng) + rng.normal(0, 0.5, (len(place), 3)) + np.array([0.0, 0.7, 0.7])
        turned -= 0.8 * (turned * radial).sum(axis=1, keepdims=True) * radial
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        best = rng.uniform(0, BANDS - 1, len(place))
        tuning = np.exp(-0.5 * ((np.arange(BANDS) - best[:, None]) / 1.2) ** 2)
        rises = rng.uniform(0.5, 1.5, (len(place), 1))
        both = replace(
            brain,
            place=np.concatenate([brain.place, place]),
            orientation=np.concatenate([brain.orientation, turned]),
        )
        return cls(both, np.hstack([tuning, rises]), rng.normal(0, 0.012, (len(place), len(PEAKS))))

    def response(self, sfreq: float) -> NDArray[np.float64]:
        """(source, time) what each source does after a click, at `sfreq` hertz."""
        time = np.arange(round(LASTS * sfreq)) / sfreq
        centre, width, size = np.array(PEAKS).T
        away = (time - (centre + self.delay)[..., None]) / width[:, None]
        return np.asarray((size[:, None] * np.exp(-0.5 * away**2)).sum(axis=1))


@dataclass(frozen=True)
class Heard:
    """What somebody was told: one sentence after another, (time,) of sound at `RATE`, and when each began and ended."""

    sound: NDArray[np.float32]
    events: Events
    voice: Voice

    @classmethod
    def of(
        cls, said: list[str], rng: np.random.Generator, voice: Voice, pauses: tuple[float, float] = PAUSE
    ) -> "Heard":
        """These sentences, in this order, with pauses."""
        onset, duration, now = [], [], BEFORE
        for sentence in said:
            onset.append(now)
            duration.append(len(spoken(sentence, voice)) / RATE)
            pause = now + duration[-1] + rng.uniform(*pauses)
            now = float(np.ceil(pause / GRID) * GRID)
        sound = np.zeros(int(np.ceil(now + BEFORE)) * RATE, np.float32)
        for at, sentence in zip(onset, said, strict=True):
            found = spoken(sentence, voice)
            first = round(at * RATE)
            sound[first : first + len(found)] = found
        return cls(sound, Events(np.array(onset), np.array(duration), tuple(said)), voice)

    @property
    def seconds(self) -> float:
        return len(self.sound) / RATE

    @property
    def track(self) -> Track:
        """What a recording keeps of it."""
        return Track(self.sound, float(RATE))


def some(count: int, each: int, seed: int, rng: np.random.Generator) -> list[str]:
    """`each` of the sentences of a seed, at random and in an order of somebody's own."""
    said = sentences(count, seed)
    return [said[row] for row in rng.permutation(count)[:each]]


def driven(heard: Heard, sfreq: float) -> NDArray[np.float64]:
    """(band + 1, time) what sources answer to at `sfreq` hertz, each of variance 1: loudness in bands, and how fast it rises."""
    loud = np.full((round(heard.seconds / EVERY), BANDS), np.log(SILENT))
    for onset, sentence in zip(heard.events.onset, heard.events.label, strict=True):
        found, first = loudness(sentence, heard.voice), round(onset / EVERY)
        loud[first : first + len(found)] = found
    every = np.arange(round(heard.seconds * sfreq)) / sfreq
    at = np.stack([np.interp(every, np.arange(len(loud)) * EVERY, band) for band in loud.T])
    rise = np.maximum(np.diff(at.mean(axis=0), prepend=at[:, 0].mean()), 0)
    both = np.vstack([at, rise])
    both -= both.mean(axis=1, keepdims=True)
    return np.asarray(both / both.std(axis=1, keepdims=True))


@lru_cache(maxsize=1024)
def loudness(sentence: str, voice: Voice) -> NDArray[np.float64]:
    """(time, band) how loud a sentence is, every `EVERY` seconds."""
    return mel_spectrogram(spoken(sentence, voice), RATE, BANDS, EVERY)


def listening(person: Listener, heard: Heard, rng: np.random.Generator, sfreq: float) -> Activity:
    """A session of this person while they listen: the brain's own rhythms and background, and the answer of its auditory sources.

    The events are the sentences; there are no other trials.
    """
    own = activity(person.brain, rng, heard.seconds, sfreq, ["rest"])
    moment = np.vstack([own.moment, answer(person, heard, sfreq)])
    return Activity(moment, sfreq, heard.events, own.envelope, np.full(len(own.label), -1))


def answer(person: Listener, heard: Heard, sfreq: float, moment: float = MOMENT) -> NDArray[np.float64]:
    """(source, time) in A·m what the person's sources make of what is heard; `moment` is the standard deviation of each."""
    drive = person.tuning @ driven(heard, sfreq)
    found = fftconvolve(drive, person.response(sfreq), axes=1)[:, : drive.shape[1]]
    found *= moment / found.std(axis=1, keepdims=True)
    return np.asarray(found)
