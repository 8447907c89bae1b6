"""MEG: magnetic fields outside the head, and how the simulated brain looks to them."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.data.brain import CENTRE, Activity, Brain, activity, sphere_gain, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.positions import Given, coils
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError

HELMET = 0.115
"""Metres from the middle of the brain to the coils."""
SITES = 34
"""Sites of the whole helmet; a smaller one takes the first."""
TRIPLE = (("mag", 3022, "1"), ("grad", 3012, "2"), ("grad", 3012, "3"))
"""Of each site, as Neuromag's: a magnetometer and two planar gradiometers, by MNE's type, coil definition and the name's end."""
NOISE = {"mag": 3e-15, "grad": 3e-13}
"""Of a coil, in T/√Hz and T/(m·√Hz) (Hämäläinen et al. 1993, section V)."""


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 180.0,
    sfreq: float = 128.0,
    sensors: int = 102,
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person under a helmet of `sensors` coils, three at each site.

    Fields by MNE's sphere (`mne.make_sphere_model`; radial dipoles are silent), noise of the coils and slow fields of the
    room. The head sits a little differently in each session. The tracks are the truth (`brain.truth`).
    """
    if sensors % 3 or not 9 <= sensors <= 3 * SITES:
        raise DataError(f"{sensors} coils can't be simulated; take a multiple of 3 from 9 to {3 * SITES}")
    person = brain or Brain.draw(rng)
    session = (session or activity(person, rng, seconds, sfreq, classes)).at(sfreq)
    gain = np.einsum("spx,px->sp", leadfield()[:sensors, person.place], person.orientation)
    gain = gain * rng.normal(1.0, 0.03, (sensors, 1))
    kinds = [kind for _ in range(sensors // 3) for kind, _, _ in TRIPLE]
    names = [f"MEG{site + 1:03d}{ending}" for site in range(sensors // 3) for _, _, ending in TRIPLE]
    units = [MEG.kinds[kind].unit for kind in kinds]
    data = gain @ session.moment + noise(rng, kinds, session)
    position, first, normal = helmet()
    orientation = np.where(np.array(kinds)[:, None] == "mag", normal[:sensors], first[:sensors])
    table, _ = coils(names, kinds, units, Given(position[:sensors], orientation))
    return Recording(
        {"meg": Signal(data, sfreq, table)}, events=session.events, tracks=truth(session), source="simulated"
    )


def noise(rng: np.random.Generator, kinds: Sequence[str], session: Activity) -> NDArray[np.float64]:
    """(coil, time) in T and T/m: each coil's own, and a slow field of the room that magnetometers alone feel."""
    n_times = session.moment.shape[1]
    own = np.array([NOISE[kind] for kind in kinds]) * np.sqrt(session.sfreq / 2)
    room = np.cumsum(rng.normal(0, 2e-15, n_times))
    far = np.array([rng.normal(1.0, 0.1) if kind == "mag" else 0.0 for kind in kinds])
    return own[:, None] * rng.normal(size=(len(kinds), n_times)) + np.outer(far, room - room.mean())


@lru_cache(maxsize=1)
def helmet() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(coil, 3) each: places in metres in head coordinates, the direction of a gradiometer's difference, the normal."""
    index = np.arange(2 * SITES) + 0.5
    height, turn = 1 - 2 * index / len(index), np.pi * (1 + np.sqrt(5)) * index
    normal = np.stack(
        [np.sqrt(1 - height**2) * np.cos(turn), np.sqrt(1 - height**2) * np.sin(turn), height], 1
    )
    normal = normal[np.argsort(-normal[:, 2], kind="stable")][:SITES]
    # a smaller helmet covers the whole head too: sites far from those before come first
    order = [0]
    while len(order) < SITES:
        apart = np.linalg.norm(normal[:, None] - normal[order][None], axis=-1).min(axis=1)
        order.append(int(apart.argmax()))
    normal = np.repeat(normal[order], 3, axis=0)
    across = np.cross(normal, np.where(np.abs(normal[:, 2:]) > 0.9, [[1.0, 0, 0]], [[0, 0, 1.0]]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    first = across.copy()
    first[2::3] = np.cross(normal, across)[2::3]
    return CENTRE + HELMET * normal, first, normal


@lru_cache(maxsize=1)
def leadfield() -> NDArray[np.float64]:
    """(coil, place of `pool`, 3) T or T/m per A·m in head coordinates."""
    import mne

    position, first, normal = helmet()
    kinds = [kind for _ in range(SITES) for kind, _, _ in TRIPLE]
    info = mne.create_info([f"MEG{row}" for row in range(len(kinds))], 1000.0, kinds)
    for row, channel in enumerate(info["chs"]):
        channel["coil_type"] = TRIPLE[row % 3][1]
        channel["loc"] = np.concatenate(
            [position[row], first[row], np.cross(normal[row], first[row]), normal[row]]
        )
        channel["coord_frame"] = 1  # the device, which is the head's here
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    return sphere_gain(info, meg=True)


MEG = Modality(
    name="meg",
    title="MEG",
    words="MEG",
    kinds={
        "mag": Kind("T", plausible=(5e-15, 1e-9), typical=5e-13, flat=1e-17),
        "grad": Kind("T/m", plausible=(1e-13, 1e-8), typical=1e-11, flat=1e-16),
        # a source's waveform, where only that was published
        "source": Kind("A m", plausible=(1e-11, 1e-6), typical=1e-8, flat=1e-14),
    },
    montage="",
    sfreq=128.0,
    simulate=simulate,
)
