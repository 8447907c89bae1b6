"""Behaviour: what went with the brain in time (a cursor, a place on a track), and what the simulated brain's cursor does.

It is made of a recording's tracks (`preprocess.from_track`) so that it can enter a window beside what the brain's instruments
saw, as in Neuroformer (Antoniades et al. 2024, arXiv:2311.00136). Nothing about its size is implausible.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

from brainfm.data.brain import Activity, Brain, activity, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.modalities.spikes import FINE, VELOCITY_RATE, cursor
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.errors import DataError

RETURN = 1.0
"""Seconds in which the cursor comes back to the middle by a factor e."""
NAMES = ("velocity.x", "velocity.y", "place.x", "place.y")


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 180.0,
    sfreq: float = VELOCITY_RATE,
    sensors: int = len(NAMES),
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person's cursor: the first `sensors` of its velocity and its place, x and y.

    The velocity is that of `spikes.cursor`; the place its integral, drawn back to the middle. The tracks are the truth.
    """
    if not 1 <= sensors <= len(NAMES):
        raise DataError(f"{sensors} tracks can't be simulated; take 1 to {len(NAMES)}")
    if FINE % sfreq:
        raise DataError(f"a cursor can't be simulated at {sfreq:g} Hz; take a rate that divides {FINE:g}")
    session = (session or activity(brain or Brain.draw(rng), rng, seconds, FINE, classes)).at(FINE)
    velocity = cursor(rng, session, classes)
    place = lfilter([1 / FINE], [1, -np.exp(-1 / (FINE * RETURN))], velocity, axis=1)
    rows = np.concatenate([velocity, place])[:, :: round(FINE / sfreq)]
    table = Sensors.of(NAMES[:sensors], "track", "1")
    tracks = {**truth(session), "velocity": Track(rows[:2].T, sfreq, names=("x", "y"))}
    signals = {"behaviour": Signal(rows[:sensors], sfreq, table)}
    return Recording(signals, events=session.events, tracks=tracks, source="simulated")


BEHAVIOUR = Modality(
    name="behaviour",
    title="Behaviour",
    words="a track",
    kinds={"track": Kind("1", plausible=(0.0, np.inf), typical=1.0, flat=0.0)},
    montage="",
    sfreq=VELOCITY_RATE,
    simulate=simulate,
    of_brain=False,
)
