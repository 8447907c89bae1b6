"""Intracranial EEG: potentials at contacts in the brain, and how the simulated brain looks to them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.data.brain import CENTRE, SHELLS, Activity, Brain, activity, pool, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.positions import to_mni
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

SPACING = 3.5e-3
"""Metres between the contacts of a shaft (Dixi's and Ad-Tech's depth electrodes)."""
SHAFT = 8
"""Contacts of a shaft."""
CONDUCTIVITY = 0.33
"""Of brain tissue, in S/m (Geddes & Baker 1967)."""
MOTOR = (np.array([0.045, 0.0, 0.045]), np.array([-0.045, 0.0, 0.045]))
"""Directions of both motor areas from the brain's middle."""
NEAREST = 4e-3
"""Metres within which a dipole is no point any more: its patch of cortex is as wide."""


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 180.0,
    sfreq: float = 256.0,
    sensors: int = 48,
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person with depth electrodes where this person's surgeon put them.

    Potentials of dipoles in an unbounded conductor (Nunez & Srinivasan 2006, eq. 1.9), noise of the contacts, and a
    reference that all share. The tracks are the truth (`brain.truth`).
    """
    if sensors < 2:
        raise DataError(f"{sensors} contacts can't be simulated; take at least 2")
    person = brain or Brain.draw(rng)
    # where the shafts are is the person's own, the same in every session
    place, names = shafts(np.random.default_rng(person.place), sensors)
    session = (session or activity(person, rng, seconds, sfreq, classes)).at(sfreq)
    data = gains(place, person) @ session.moment + noise(rng, len(place), session)
    table = Sensors.of(names, "seeg", "V", position=to_mni(place), frame="approximate")
    return Recording(
        {"seeg": Signal(data, sfreq, table)}, events=session.events, tracks=truth(session), source="simulated"
    )


def shafts(
    rng: np.random.Generator, sensors: int, aims: Sequence[NDArray[np.float64]] = MOTOR
) -> tuple[NDArray[np.float64], list[str]]:
    """(contact, 3) places in metres in head coordinates, on straight shafts from the surface inwards, and their names.

    The first shafts lie in the directions `aims` from the brain's middle, by default at the motor areas of either side, the
    others anywhere.
    """
    places, names = [], []
    for shaft in range(-(-sensors // SHAFT)):
        aim = aims[shaft] if shaft < len(aims) else rng.normal(size=3) * [1, 1, 0.6] + [0, 0, 0.4]
        entry = CENTRE + (SHELLS[0] + 2e-3) * (aim := aim / np.linalg.norm(aim))
        inwards = -aim + 0.3 * rng.normal(size=3)
        inwards /= np.linalg.norm(inwards)
        places += [entry + SPACING * step * inwards for step in range(SHAFT)]
        names += [f"{chr(65 + shaft % 26)}{shaft // 26 or ''}{step + 1}" for step in range(SHAFT)]
    return np.array(places[:sensors]), names[:sensors]


def gains(place: NDArray[np.float64], person: Brain) -> NDArray[np.float64]:
    """(contact, dipole) volts per A·m."""
    away = place[:, None, :] - pool()[person.place][None]
    distance = np.maximum(np.linalg.norm(away, axis=-1), NEAREST)
    along = np.einsum("cdx,dx->cd", away, person.orientation)
    return np.asarray(along / (4 * np.pi * CONDUCTIVITY * distance**3))


def noise(rng: np.random.Generator, n: int, session: Activity) -> NDArray[np.float64]:
    """(contact, time) volts: each contact's own, and the reference that all share."""
    n_times = session.moment.shape[1]
    return rng.normal(0, 2e-6, (n, n_times)) + rng.normal(0, 4e-6, n_times)


SEEG = Modality(
    name="seeg",
    title="sEEG",
    words="intracranial EEG",
    kinds={
        kind: Kind("V", plausible=(3e-7, 5e-3), typical=5e-5, flat=1e-9, whose="subject")
        for kind in ("seeg", "ecog", "dbs")
    },
    montage="",
    sfreq=256.0,
    simulate=simulate,
)
