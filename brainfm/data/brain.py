"""A simulated brain: dipoles with rhythms, trials and a known truth, to be seen by any instrument.

The person is drawn once (`Brain.draw`), each session's activity after it (`activity`). Imagined movement of
a hand lowers the mu rhythm over the other hemisphere (Pfurtscheller & Lopes da Silva 1999, section 3), and
shifts by class the phase between a frontal and a parietal source. All else is unlabelled structure:
background of 1/f power that travels from source to source with a delay, and rhythms whose envelopes wax and
wane over seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.positions import DEFAULT_MONTAGE, head_positions
from brainfm.data.recording import Events, Track
from brainfm.errors import DataError

CENTRE = np.array([0.0, 0.0, 0.04])
"""The middle of the brain in head coordinates, in metres."""
SHELLS = (0.066, 0.050)
"""Distances of the cortex's crowns and folds from the middle, in metres."""
BACKGROUND = 36
"""Dipoles without a rhythm of their own."""
TRUTH_RATE = 16.0
"""Hertz at which the truth is kept."""
TRIAL, GAP = 2.5, (1.0, 1.6)
"""Seconds that a trial lasts, and the shortest and longest pause after it."""


@dataclass(frozen=True)
class Rhythm:
    """A dipole's oscillation: which sensor it lies under, the frequencies that people have, its moment in
    A·m."""

    name: str
    under: str
    hertz: tuple[float, float]
    moment: float


RHYTHMS = (
    Rhythm("alpha_left", "O1", (8.5, 11.5), 20e-9),
    Rhythm("alpha_right", "O2", (8.5, 11.5), 20e-9),
    Rhythm("alpha_middle", "Pz", (8.5, 11.5), 12e-9),
    Rhythm("mu_left", "C3", (9.5, 12.5), 19e-9),
    Rhythm("mu_right", "C4", (9.5, 12.5), 19e-9),
    Rhythm("mu_middle", "Cz", (9.5, 12.5), 10e-9),
    Rhythm("beta_left", "C3", (17.0, 23.0), 8e-9),
    Rhythm("beta_right", "C4", (17.0, 23.0), 8e-9),
    Rhythm("theta", "Fz", (5.0, 7.0), 12e-9),
    Rhythm("lag_front", "FCz", (14.0, 16.0), 8e-9),
    Rhythm("lag_back", "CPz", (14.0, 16.0), 8e-9),
)
NAMES = tuple(rhythm.name for rhythm in RHYTHMS)
SUPPRESSED: dict[str, dict[str, float]] = {
    "left_hand": {"mu_right": 1.0, "beta_right": 0.8, "mu_left": 0.35, "beta_left": 0.3},
    "right_hand": {"mu_left": 1.0, "beta_left": 0.8, "mu_right": 0.35, "beta_right": 0.3},
    "feet": {"mu_middle": 1.0, "mu_left": 0.3, "mu_right": 0.3},
    "rest": {},
}
"""How much of the person's desynchronisation each class brings to which rhythm."""
LAG = {"left_hand": np.pi / 4, "right_hand": -np.pi / 4, "feet": 0.0, "rest": 0.0}
"""How far, in radians, `lag_back` runs behind `lag_front` in each class."""


@dataclass(frozen=True)
class Brain:
    """One person: where the dipoles are and what is their own about the rhythms. The first rows are
    `RHYTHMS`.

    `place` indexes `pool()`; `orientation` is (dipole, 3); `hertz`, `moment` and `waning` are per rhythm;
    `delay` (s) and `source` say from where and how late each background dipole hears another.
    """

    place: NDArray[np.int64]
    orientation: NDArray[np.float64]
    hertz: NDArray[np.float64]
    moment: NDArray[np.float64]
    waning: NDArray[np.float64]
    exponent: float
    heard: NDArray[np.int64]
    delay: NDArray[np.float64]
    desynchronisation: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Brain":
        """A person at random."""
        near = [nearest(rhythm.under) for rhythm in RHYTHMS]
        named = np.array([rng.choice(places) for places in near])
        # rhythms of one area come from one patch of cortex
        named[NAMES.index("beta_left")] = named[NAMES.index("mu_left")]
        named[NAMES.index("beta_right")] = named[NAMES.index("mu_right")]
        place = np.concatenate([named, rng.choice(len(pool()), BACKGROUND, replace=False)])
        low, high = np.array([rhythm.hertz for rhythm in RHYTHMS]).T
        alpha = rng.uniform()  # a person's alpha, mu and beta are fast or slow together
        return cls(
            place=place,
            orientation=tilted(place, rng),
            hertz=low + (high - low) * np.clip(alpha + rng.normal(0, 0.08, len(low)), 0, 1),
            moment=np.array([rhythm.moment for rhythm in RHYTHMS]) * np.exp(rng.normal(0, 0.25, len(low))),
            waning=rng.uniform(0.25, 0.5, len(low)),
            exponent=rng.uniform(1.0, 1.5),
            heard=rng.integers(0, np.maximum(np.arange(BACKGROUND), 1)),
            delay=rng.uniform(0.008, 0.04, BACKGROUND),
            desynchronisation=rng.uniform(0.5, 0.85),
        )


@dataclass(frozen=True)
class Activity:
    """One session of a brain: `moment` is (dipole, time) in A·m at `sfreq`; the truth is in the rest.

    `envelope` is (rhythm, time) in A·m; `label` is (time,), the index of the class, −1 between trials.
    """

    moment: NDArray[np.float64]
    sfreq: float
    events: Events
    envelope: NDArray[np.float64]
    label: NDArray[np.int64]

    def at(self, sfreq: float) -> "Activity":
        """The same activity at another rate, for an instrument that samples otherwise."""
        if sfreq == self.sfreq:
            return self
        from scipy.signal import resample_poly

        ratio = Fraction(sfreq / self.sfreq).limit_denominator(1000)
        moment, envelope = (
            resample_poly(one, ratio.numerator, ratio.denominator, axis=1)
            for one in (self.moment, self.envelope)
        )
        nearest_ = np.round(np.arange(moment.shape[1]) / float(ratio)).astype(int)
        label = self.label[np.minimum(nearest_, len(self.label) - 1)]
        return Activity(moment, sfreq, self.events, envelope, label)


def activity(
    brain: Brain,
    rng: np.random.Generator,
    seconds: float,
    sfreq: float,
    classes: Sequence[str],
    trial: float = TRIAL,
    gap: tuple[float, float] = GAP,
) -> Activity:
    """A session of this person, with trials of all `classes` in random order, `trial` seconds each with `gap` between."""
    if unknown := [name for name in classes if name not in SUPPRESSED]:
        raise DataError(f"class {unknown[0]!r} can't be simulated; known: {', '.join(SUPPRESSED)}")
    n_times = round(seconds * sfreq)
    events = trials(rng, seconds, classes, trial, gap)
    wane, lag, label = course(brain, rng, events, classes, n_times, sfreq)
    envelope = brain.moment[:, None] * waxing(brain.waning, rng, n_times, sfreq) * wane
    phase = phases(brain.hertz, rng, n_times, sfreq)
    front, back = NAMES.index("lag_front"), NAMES.index("lag_back")
    phase[back] = phase[front] - lag
    rhythms = envelope * (np.cos(phase) + 0.25 * np.cos(2 * phase))  # real rhythms are arched, not sinusoidal
    return Activity(
        np.vstack([rhythms, background(brain, rng, n_times, sfreq)]), sfreq, events, envelope, label
    )


def truth(session: Activity) -> dict[str, Track]:
    """What the simulation knows, at a lower rate."""
    step = max(1, round(session.sfreq / TRUTH_RATE))
    rate = session.sfreq / step
    return {
        "envelopes": Track(session.envelope[:, ::step].T, rate, unit=f"A m ({', '.join(NAMES)})"),
        "class": Track(session.label[::step], rate),
    }


def trials(
    rng: np.random.Generator, seconds: float, classes: Sequence[str], trial: float, gap: tuple[float, float]
) -> Events:
    """Trials one after another with pauses, every class as often as every other."""
    onset, now = [], 1.0
    while now + trial <= seconds:
        onset.append(now)
        now += trial + rng.uniform(*gap)
    order = np.concatenate([rng.permutation(len(classes)) for _ in range(len(onset))] or [np.zeros(0, int)])
    labels = tuple(classes[row] for row in order[: len(onset)])
    return Events(np.array(onset), np.full(len(onset), trial), labels)


def course(
    brain: Brain,
    rng: np.random.Generator,
    events: Events,
    classes: Sequence[str],
    n_times: int,
    sfreq: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """What the trials do: the factor on each rhythm (rhythm, time), the phase lag (time,) and the class
    (time,)."""
    wane, lag, label = np.ones((len(NAMES), n_times)), np.zeros(n_times), np.full(n_times, -1)
    for onset, duration, name in zip(events.onset, events.duration, events.label, strict=True):
        first, length = round(onset * sfreq), round(duration * sfreq)
        ramp = np.clip(np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.4 * sfreq), 0, 1)
        span = slice(first, first + length)
        depth = np.clip(brain.desynchronisation * rng.normal(1.0, 0.4), 0, 0.95)
        for rhythm, share in SUPPRESSED[name].items():
            wane[NAMES.index(rhythm), span] -= share * depth * ramp
        lag[span] = (LAG[name] + rng.normal(0, 0.6)) * ramp
        label[span] = classes.index(name)
    return wane, lag, label


def waxing(
    depth: NDArray[np.float64], rng: np.random.Generator, n_times: int, sfreq: float
) -> NDArray[np.float64]:
    """(rhythm, time) log-normal envelopes that change over seconds, around 1."""
    slow = coloured(rng, len(depth), n_times, sfreq, 2.0, band=(0.03, 0.7))
    return np.exp(depth[:, None] * slow)


def phases(
    hertz: NDArray[np.float64], rng: np.random.Generator, n_times: int, sfreq: float
) -> NDArray[np.float64]:
    """(rhythm, time) phases that advance at their frequency and diffuse, which gives each line a width of
    about 1 Hz."""
    step = 2 * np.pi * hertz[:, None] / sfreq
    jitter = rng.normal(0, np.sqrt(2 * np.pi * 0.5 / sfreq), (len(hertz), n_times))
    return np.cumsum(step + jitter, axis=1) + rng.uniform(0, 2 * np.pi, (len(hertz), 1))


def background(brain: Brain, rng: np.random.Generator, n_times: int, sfreq: float) -> NDArray[np.float64]:
    """(dipole, time) in A·m: 1/f noise, part of which each dipole hears from an earlier one with a delay."""
    own = coloured(rng, BACKGROUND, n_times, sfreq, brain.exponent, band=(0.3, np.inf))
    for row in range(1, BACKGROUND):
        shift = max(1, round(brain.delay[row] * sfreq))
        own[row] = 0.8 * own[row] + 0.6 * np.roll(own[brain.heard[row]], shift)
    return 18e-9 * own


def coloured(
    rng: np.random.Generator,
    rows: int,
    n_times: int,
    sfreq: float,
    exponent: float,
    band: tuple[float, float],
) -> NDArray[np.float64]:
    """(row, time) noise of unit variance whose power falls as frequency to the minus `exponent` within
    `band`."""
    hertz = np.fft.rfftfreq(n_times, 1 / sfreq)
    inside = (hertz >= band[0]) & (hertz <= band[1])
    inside[1] |= not inside.any()  # a signal too short for the band keeps its slowest wave
    gain = np.zeros(len(hertz))
    gain[inside] = hertz[inside] ** (-exponent / 2)
    shape = (rows, len(hertz))
    noise = np.fft.irfft((rng.normal(size=shape) + 1j * rng.normal(size=shape)) * gain, n=n_times)
    return np.asarray(noise / noise.std(axis=1, keepdims=True))


def sphere_gain(info: Any, meg: bool) -> NDArray[np.float64]:
    """(sensor, place of `pool`, 3) what each sensor of an MNE `Info` measures of 1 A·m, by MNE's sphere in head coordinates."""
    import mne

    sphere = mne.make_sphere_model(r0=tuple(CENTRE), head_radius=0.09, verbose="error")
    places = {"rr": pool(), "nn": np.tile([0.0, 0.0, 1.0], (len(pool()), 1))}
    space = mne.setup_volume_source_space(pos=places, sphere_units="m", verbose="error")
    forward = mne.make_forward_solution(
        info, None, space, sphere, meg=meg, eeg=not meg, mindist=0, verbose="error"
    )
    return np.asarray(forward["sol"]["data"]).reshape(-1, len(pool()), 3)


def tilted(place: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(dipole, 3) unit orientations around the radial one, as the folds of a person's cortex make them."""
    radial = pool()[place] - CENTRE
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    around = np.where(np.arange(len(place)) < len(RHYTHMS), 0.35, 2.0)[:, None]
    orientation = radial + around * rng.normal(size=radial.shape) / np.sqrt(3)
    return np.asarray(orientation / np.linalg.norm(orientation, axis=1, keepdims=True))


def nearest(sensor: str, n: int = 5) -> NDArray[np.int64]:
    """The places on the outer shell that lie under a sensor: where one person or another has that patch of
    cortex."""
    direction = head_positions(DEFAULT_MONTAGE)[sensor] - CENTRE
    site = CENTRE + SHELLS[0] * direction / np.linalg.norm(direction)
    return np.argsort(np.linalg.norm(pool() - site, axis=1))[:n]


@lru_cache(maxsize=1)
def pool() -> NDArray[np.float64]:
    """(place, 3) where a dipole can be, in metres in head coordinates: even (Fibonacci) lattices on two
    shells."""
    index = np.arange(260) + 0.5
    height, turn = 1 - 2 * index / len(index), np.pi * (1 + np.sqrt(5)) * index
    across = np.sqrt(1 - height**2)
    sphere = np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)
    upper = sphere[height > -0.35]
    return np.concatenate([CENTRE + radius * upper for radius in SHELLS])
