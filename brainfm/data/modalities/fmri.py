"""fMRI: the blood's oxygen, seconds after the neurons, and how the simulated brain looks to it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.data.amplitude import slow_variation
from brainfm.data.brain import CENTRE, NAMES, SHELLS, Activity, Brain, activity, coloured, pool, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.positions import DEFAULT_MONTAGE, head_positions, to_mni
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.errors import DataError

NEURAL = 64.0
"""Hertz at which the brain's activity is made before the blood answers it."""
DRIVE = 8.0
"""Hertz at which the blood is driven; divides `NEURAL`."""
BLOCK, PAUSE = 12.0, (9.0, 13.0)
"""Seconds that a block of one class lasts, and the shortest and longest pause after it."""
SPREAD = 0.012
"""Metres over which a patch of cortex drives its neighbours' blood (point spread and draining veins)."""
SUPPRESSING = ("alpha", "mu", "beta")
"""Rhythms whose weakening goes with more oxygen (Laufs et al. 2003; Ritter et al. 2009)."""
SITES = [
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "O2",
]
"""A voxel's region is the one of these sites that it lies under: parcels that all people share."""


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 600.0,
    sfreq: float = 0.5,
    sensors: int = 120,
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person in blocks of `classes`: percent signal change in about `sensors` voxels, each person's own.

    The neurons' drive passes nilearn's haemodynamic response (`nilearn.glm.first_level.glover_hrf`; Glover 1999) and spreads
    over the neighbouring voxels; thermal noise, slow drift, and a head that moves. The tracks are the truth and `motion` (time,
    6), the confound that every voxel holds some of.
    """
    if sensors < 2:
        raise DataError(f"{sensors} voxels can't be simulated; take at least 2")
    person = brain or Brain.draw(rng)
    session = (session or activity(person, rng, seconds, NEURAL, classes, BLOCK, PAUSE)).at(NEURAL)
    place, region = voxels(np.random.default_rng(person.place), sensors)
    response = oxygen(drive(session, person), sfreq, round(seconds * sfreq))
    moved = motion(rng, response.shape[1])
    data = spread(place, person) @ response + noise(rng, len(place), response.shape[1], moved)
    table = Sensors.of(
        [f"v{row:04d}" for row in range(len(place))], "voxel", "%", to_mni(place), "approximate"
    ).with_regions(region)
    tracks = {**truth(session), "motion": Track(moved.T, sfreq)}
    return Recording(
        {"fmri": Signal(data, sfreq, table)}, events=session.events, tracks=tracks, source="simulated"
    )


def voxels(rng: np.random.Generator, about: int) -> tuple[NDArray[np.float64], list[str]]:
    """(voxel, 3) places in the grey matter in head coordinates, nine to eleven tenths of `about`, and their regions."""
    count = max(2, round(about * rng.uniform(0.9, 1.1)))
    direction = rng.normal(size=(20 * count, 3))
    direction = direction[direction[:, 2] > -0.3 * np.linalg.norm(direction, axis=1)][:count]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    place = CENTRE + rng.uniform(SHELLS[1] - 4e-3, SHELLS[0] + 2e-3, (count, 1)) * direction
    sites = np.stack([head_positions(DEFAULT_MONTAGE)[name] for name in SITES]) - CENTRE
    under = np.argmax(direction @ (sites / np.linalg.norm(sites, axis=1, keepdims=True)).T, axis=1)
    return place, [f"under_{SITES[site]}" for site in under]


def drive(session: Activity, person: Brain) -> NDArray[np.float64]:
    """(dipole, time) at `DRIVE` hertz: how much more than usual each patch of cortex asks for."""
    relative = session.envelope / person.moment[:, None] - 1
    sign = np.array([-1.0 if name.startswith(SUPPRESSING) else 1.0 for name in NAMES])
    rest = session.moment[len(NAMES) :] ** 2
    power = np.concatenate([sign[:, None] * relative, rest / rest.mean(axis=1, keepdims=True) - 1])
    step = round(NEURAL / DRIVE)
    return power[:, : power.shape[1] // step * step].reshape(len(power), -1, step).mean(axis=2)


def oxygen(asked: NDArray[np.float64], sfreq: float, n_times: int) -> NDArray[np.float64]:
    """(dipole, volume) the response to the drive, each dipole's of unit size for a lasting drive of one."""
    from nilearn.glm.first_level import glover_hrf

    kernel = glover_hrf(1 / DRIVE, oversampling=1)
    kernel = kernel / kernel.sum()
    # the first seconds lack what came before; hold the first value
    held = np.pad(asked, ((0, 0), (len(kernel) - 1, 0)), mode="edge")
    course = np.stack([np.convolve(row, kernel, mode="valid") for row in held])
    at = np.minimum((np.arange(n_times) / sfreq * DRIVE).round().astype(int), course.shape[1] - 1)
    return course[:, at]


def spread(place: NDArray[np.float64], person: Brain) -> NDArray[np.float64]:
    """(voxel, dipole) percent signal change for a drive of one."""
    apart = np.linalg.norm(place[:, None] - pool()[person.place][None], axis=-1)
    return np.asarray(2.5 * np.exp(-0.5 * (apart / SPREAD) ** 2))


def motion(rng: np.random.Generator, n_times: int) -> NDArray[np.float64]:
    """(parameter, volume) three shifts in metres and three turns in radians that wander by half a millimetre."""
    return 5e-4 * coloured(rng, 6, n_times, 1.0, 2.0, band=(0.005, np.inf))


def noise(rng: np.random.Generator, n: int, n_times: int, moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """(voxel, volume) percent: thermal noise, noise with a memory, drift of the scanner, and what the movement brings."""
    lasting = coloured(rng, n, n_times, 1.0, 1.0, band=(0.005, np.inf))
    drift = rng.normal(0, 0.5, (n, 1)) * np.linspace(-1, 1, n_times)
    jolted = rng.normal(0, 0.3, (n, 6)) @ (moved / 5e-4)
    return 0.6 * rng.normal(size=(n, n_times)) + 0.4 * lasting + drift + 0.4 * jolted


FMRI = Modality(
    name="fmri",
    title="fMRI",
    words="BOLD signal in percent or z",
    kinds={
        "voxel": Kind("%", plausible=(0.02, 30.0), typical=1.0, flat=1e-6, whose="subject"),
        "vertex": Kind("%", plausible=(0.02, 30.0), typical=1.0, flat=1e-6, whose="subject"),
        "parcel": Kind("%", plausible=(0.02, 30.0), typical=1.0, flat=1e-6),
    },
    montage="",
    sfreq=0.5,
    simulate=simulate,
    amplitude=slow_variation,
)
