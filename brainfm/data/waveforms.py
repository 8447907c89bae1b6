"""Simulated EEG in which known waveforms are planted: sleep spindles, spike-and-wave, bursts of alpha, or nothing.

Every person has a background of their own (the exponent and the size of its 1/f power), frequencies of their own, and waveforms
of their own size, so that what is found in some people must be found in others. Shapes after the American Academy of Sleep
Medicine's rules (spindle: 11 to 16 Hz, half a second at least, largest over the centre), Panayiotopoulos 2005 (absences:
generalised 3 Hz, a spike and a slow wave each) and Berger 1929 (alpha: 8 to 12 Hz, largest over the back).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.brain import coloured
from brainfm.data.positions import DEFAULT_MONTAGE, head_positions, to_mni
from brainfm.data.recording import Events, Recording, Sensors, Signal

KINDS = ("spindle", "spike_wave", "alpha", "nothing")
SENSORS = {  # how much of each kind reaches a sensor
    "Fz": (0.7, 1.0, 0.2),
    "Cz": (1.0, 0.8, 0.4),
    "Pz": (0.7, 0.6, 0.8),
    "O1": (0.2, 0.4, 1.0),
}
WINDOW = 4.0
"""Seconds in which one waveform lies, anywhere."""


@dataclass(frozen=True)
class Person:
    """What is one person's own. `background` and the sizes are in volts, frequencies in hertz."""

    exponent: float
    background: float
    hertz: tuple[float, float, float]
    size: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Person":
        """Anybody."""
        background = float(rng.lognormal(np.log(10e-6), 0.3))
        hertz = (rng.uniform(11.8, 14.5), rng.uniform(2.8, 3.4), rng.uniform(8.5, 11.0))
        size = tuple(background * rng.lognormal(np.log(ratio), 0.25) for ratio in (1.6, 4.0, 1.8))
        return cls(float(rng.uniform(0.8, 1.6)), background, hertz, (size[0], size[1], size[2]))


def simulate(
    person: Person, rng: np.random.Generator, seconds: float = 180.0, sfreq: float = 128.0
) -> Recording:
    """A session: one event every few seconds, labelled by what lies somewhere in the four seconds after it."""
    n_times = round(seconds * sfreq)
    signal = person.background * coloured(rng, len(SENSORS), n_times, sfreq, person.exponent, (0.3, np.inf))
    signal += 1e-6 * rng.normal(size=signal.shape)
    reach = np.array(list(SENSORS.values()))
    onsets, labels = [], []
    at = 1.0
    while at + WINDOW + 1.0 < seconds:
        kind = int(rng.integers(len(KINDS)))
        if kind < len(KINDS) - 1:
            wave = person.size[kind] * SHAPES[kind](rng, person.hertz[kind], sfreq)
            start = round((at + rng.uniform(0, WINDOW - len(wave) / sfreq)) * sfreq)
            signal[:, start : start + len(wave)] += np.outer(reach[:, kind] * rng.lognormal(0, 0.2), wave)
        onsets.append(at)
        labels.append(KINDS[kind])
        at += WINDOW + float(rng.uniform(0.3, 1.5))
    names = list(SENSORS)
    positions = to_mni(np.stack([head_positions(DEFAULT_MONTAGE)[name] for name in names]))
    table = Sensors.of(names, "eeg", "V", position=positions, frame="approximate")
    events = Events(np.array(onsets), np.full(len(onsets), WINDOW), tuple(labels))
    return Recording({"eeg": Signal(signal, sfreq, table)}, events=events, source="simulated")


def spindle(rng: np.random.Generator, hertz: float, sfreq: float) -> NDArray[np.float64]:
    """(time,) a rhythm that grows and fades, and slows by half a hertz."""
    times = np.arange(round(rng.uniform(0.9, 1.6) * sfreq)) / sfreq
    turned = hertz * times - 0.25 * times**2 / times[-1] + rng.uniform()
    return np.sin(2 * np.pi * turned) * np.hanning(len(times))


def spike_wave(rng: np.random.Generator, hertz: float, sfreq: float) -> NDArray[np.float64]:
    """(time,) some cycles of a sharp spike and a slow wave of the other sign."""
    times = np.arange(round(rng.uniform(1.8, 3.2) * sfreq)) / sfreq
    cycle = (times * hertz + rng.uniform()) % 1.0
    spike = np.exp(-0.5 * ((cycle - 0.15) / 0.04) ** 2)
    slow = np.sin(np.pi * np.clip((cycle - 0.3) / 0.6, 0, 1)) ** 2
    edge = np.minimum(1.0, 5 * np.minimum(times, times[-1] - times))
    return np.asarray((spike - 0.7 * slow) * edge)


def alpha(rng: np.random.Generator, hertz: float, sfreq: float) -> NDArray[np.float64]:
    """(time,) a rhythm whose size wanders."""
    times = np.arange(round(rng.uniform(1.0, 2.5) * sfreq)) / sfreq
    wander = 1 + 0.4 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.2) * times + rng.uniform()))
    edge = np.minimum(1.0, 4 * np.minimum(times, times[-1] - times))
    return np.asarray(np.sin(2 * np.pi * (hertz * times + rng.uniform())) * wander * edge)


SHAPES = (spindle, spike_wave, alpha)
