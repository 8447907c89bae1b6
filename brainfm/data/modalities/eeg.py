"""EEG: potentials on the scalp, and how the simulated brain looks to them."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.data.brain import CENTRE, Activity, Brain, activity, pool, sphere_gain, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.positions import DEFAULT_MONTAGE, head_positions, to_mni
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

MONTAGE = (  # noqa: SIM905 (a list of 64 strings is harder to read)
    "C3 C4 Cz Fz Pz O1 O2 P3 P4 F3 F4 Fp1 Fp2 F7 F8 T7 T8 P7 P8 "  # the first 19 are the 10-20 system
    "FC1 FC2 CP1 CP2 FC5 FC6 CP5 CP6 Oz POz FCz CPz AFz "
    "FC3 FC4 CP3 CP4 C1 C2 C5 C6 F1 F2 F5 F6 P1 P2 P5 P6 AF3 AF4 AF7 AF8 "
    "PO3 PO4 PO7 PO8 FT7 FT8 TP7 TP8 Iz Fpz FT9 FT10"
).split()
"""The sensors of the simulation in the order in which a smaller montage takes them."""


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 180.0,
    sfreq: float = 128.0,
    sensors: int = 19,
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person (a new one unless `brain` is given) with trials of `classes`.

    Potentials by MNE's four-shell sphere (`mne.make_sphere_model`), noise of sensors and mains, blinks. The
    tracks `envelopes` (time, rhythm; A·m) and `class` (time,; index into `classes`, −1 between trials) are
    the truth.
    """
    if not 8 <= sensors <= len(MONTAGE):
        raise DataError(f"{sensors} sensors can't be simulated; take 8 to {len(MONTAGE)}")
    person = brain or Brain.draw(rng)
    session = (session or activity(person, rng, seconds, sfreq, classes)).at(sfreq)
    data = potentials(person, session, rng)[:sensors]
    names = MONTAGE[:sensors]
    positions = to_mni(np.stack([head_positions(DEFAULT_MONTAGE)[name] for name in names]))
    table = Sensors.of(names, "eeg", "V", position=positions, frame="approximate")
    return Recording(
        {"eeg": Signal(data, sfreq, table)}, events=session.events, tracks=truth(session), source="simulated"
    )


def potentials(person: Brain, session: Activity, rng: np.random.Generator) -> NDArray[np.float64]:
    """(sensor, time) in volts at all of `MONTAGE`: brain, eyes, mains and the sensors' own noise."""
    n_times = session.moment.shape[1]
    gain = np.einsum("spx,px->sp", leadfield()[:, person.place], person.orientation)
    gain = gain * rng.normal(1.0, 0.03, (len(gain), 1))  # the cap sits a little differently each session
    eyes = np.outer(blink_map(), blinks(rng, n_times, session.sfreq))
    noise = rng.normal(0, 0.8e-6, (len(gain), n_times))
    return gain @ session.moment + eyes + mains(rng, len(gain), n_times, session.sfreq) + noise


def blinks(rng: np.random.Generator, n_times: int, sfreq: float) -> NDArray[np.float64]:
    """(time,) volts over the eyes: about twelve blinks a minute, each a third of a second."""
    length = max(2, round(0.35 * sfreq))
    course = np.zeros(n_times + length)
    for start in rng.integers(0, n_times, rng.poisson(n_times / sfreq / 5)):
        course[start : start + length] += rng.uniform(60e-6, 140e-6) * np.hanning(length)
    return course[:n_times]


def mains(rng: np.random.Generator, n_sensors: int, n_times: int, sfreq: float) -> NDArray[np.float64]:
    """(sensor, time) volts of 50 Hz hum, different at each sensor; none where the rate can't hold it."""
    if sfreq <= 100.0:
        return np.zeros((n_sensors, n_times))
    hum = np.cos(2 * np.pi * 50.0 * np.arange(n_times) / sfreq + rng.uniform(0, 2 * np.pi))
    return np.outer(rng.lognormal(np.log(0.6e-6), 0.5, n_sensors), hum)


def blink_map() -> NDArray[np.float64]:
    """(sensor,) how much of a blink reaches each of `MONTAGE`, 1 at the strongest.

    The eyes lie outside the sphere that stands for the brain, so the potential of the nearest dipoles inside
    stands for theirs.
    """
    front = np.argsort((pool() - CENTRE) @ np.array([0.0, 1.0, -0.3]))[-4:]
    spread = leadfield()[:, front, 1].mean(axis=1)
    return np.asarray(spread / np.abs(spread).max())


@lru_cache(maxsize=1)
def leadfield() -> NDArray[np.float64]:
    """(sensor of `MONTAGE`, place of `pool`, 3) volts per A·m in head coordinates."""
    import mne

    montage = mne.channels.make_dig_montage(
        {name: head_positions(DEFAULT_MONTAGE)[name] for name in MONTAGE}, coord_frame="head"
    )
    info = mne.create_info(MONTAGE, 1000.0, "eeg").set_montage(montage, verbose="error")
    return sphere_gain(info, meg=False)


EEG = Modality(
    name="eeg",
    title="EEG",
    words="scalp EEG",
    kinds={"eeg": Kind("V", plausible=(1e-7, 1e-3), typical=1e-5, flat=1e-9)},
    montage=DEFAULT_MONTAGE,
    sfreq=128.0,
    simulate=simulate,
)
