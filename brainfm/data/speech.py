"""Speech, synthesised: sentences of common words, spoken by espeak-ng or, where that is not at hand, by two resonances.

Sentences are made of a small grammar, so that as many as are wanted can be had, all different, of words that recur.
"""

import hashlib
import shutil
import subprocess
import tempfile
import wave
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, resample_poly

from brainfm.errors import DataError

Voice = Literal["espeak", "formants"]
RATE = 16000
"""Hertz, of every sound here: what networks of speech were trained on."""
COMMAND = "espeak-ng"
SPEAKERS = ("en-us+m3", "en-us+f2")
NOUNS = (  # noqa: SIM905 (a list of strings is harder to read)
    "river teacher window garden doctor mountain letter brother kitchen soldier market "
    "captain forest island summer village engine painter morning shadow"
).split()
VERBS = (  # noqa: SIM905
    "followed carried noticed painted remembered opened answered visited crossed "
    "repaired watched borrowed finished ordered"
).split()
QUALITIES = "quiet yellow broken heavy early famous gentle narrow distant hungry silver simple".split()  # noqa: SIM905
PLACES = "near behind under beside before after above without".split()  # noqa: SIM905


def sentences(count: int, seed: int = 0) -> list[str]:
    """Different sentences of two clauses and nineteen words, seven to nine seconds each."""
    rng = np.random.default_rng([seed, 11])
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{clause(rng)} and {clause(rng)}"] = None
    return list(found)


def clause(rng: np.random.Generator) -> str:
    """Who did what to whom, and where."""
    one, other, third = rng.choice(NOUNS, 3, replace=False)
    first, second = rng.choice(QUALITIES, 2, replace=False)
    return f"the {first} {one} {rng.choice(VERBS)} the {second} {other} {rng.choice(PLACES)} the {third}"


def can_speak() -> bool:
    """Whether espeak-ng is installed."""
    return shutil.which(COMMAND) is not None


@lru_cache(maxsize=1024)
def spoken(sentence: str, voice: Voice = "espeak") -> NDArray[np.float32]:
    """(time,) a sentence at `RATE` hertz, no louder than 1; which of two speakers says it follows from its words.

    Raises `DataError` where espeak-ng is asked for and is not there. The same version of it gives the same sound.
    """
    speaker = int(hashlib.sha256(sentence.encode()).digest()[0]) % len(SPEAKERS)
    sound = by_espeak(sentence, SPEAKERS[speaker]) if voice == "espeak" else by_formants(sentence, speaker)
    loud = 0.9 * sound / max(float(np.abs(sound).max()), 1e-9)
    loud.setflags(write=False)  # it is kept and given again
    return loud.astype(np.float32)


def by_espeak(sentence: str, speaker: str) -> NDArray[np.float64]:
    """A sentence said by espeak-ng at 150 words a minute."""
    if not can_speak():
        raise DataError(
            "speech is synthesised by espeak-ng, which is not installed: apt-get install espeak-ng, "
            "or say `voice: formants` in the card's reader"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        words = [COMMAND, "-v", speaker, "-s", "150", "-w", str(path), sentence]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode or not path.exists():
            raise DataError(f"espeak-ng could not say {sentence!r} ({' '.join(done.stderr.split())[:100]})")
        with wave.open(str(path), "rb") as file:
            rate = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.asarray(resample_poly(samples / 2**15, RATE, rate))


def by_formants(sentence: str, speaker: int) -> NDArray[np.float64]:
    """A sentence as a train of glottal pulses through two resonances that each letter sets, with hiss for consonants.

    No one would understand it, but it has the rhythm of words and syllables and a spectrum that tells letters apart (as
    Klatt 1980, J. Acoust. Soc. Am. 67, section I, with almost everything left out).
    """
    pieces = []
    rng = np.random.default_rng(list(sentence.encode()))
    pitch = (110.0, 190.0)[speaker] * (1 + 0.1 * rng.normal())
    for letter in sentence:
        if letter == " ":
            pieces.append(np.zeros(round(0.04 * RATE)))
            continue
        own = np.random.default_rng(ord(letter))  # a letter sounds the same everywhere
        first, second = own.uniform(250, 850), own.uniform(900, 2600)
        vowel = letter in "aeiouy"
        length = round((0.11 if vowel else 0.055) * RATE * (1 + 0.15 * rng.normal()))
        time = np.arange(length) / RATE
        pulses = np.diff(np.floor(time * pitch), prepend=0.0)
        source = pulses if vowel else 0.15 * rng.normal(size=length)
        said = resonance(source, first, 80.0) + resonance(source, second, 120.0)
        pieces.append(said * np.hanning(length) * (1.0 if vowel else 0.5))
    return np.concatenate(pieces)


def resonance(source: NDArray[np.float64], hertz: float, width: float) -> NDArray[np.float64]:
    """A sound through a resonator of two poles, `width` hertz wide."""
    radius, angle = np.exp(-np.pi * width / RATE), 2 * np.pi * hertz / RATE
    return np.asarray(lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source))
