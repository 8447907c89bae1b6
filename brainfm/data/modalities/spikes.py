"""Spikes: when single neurons fire, and how the simulated brain looks to them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.data.amplitude import firing_rate
from brainfm.data.brain import NAMES, Activity, Brain, activity, pool, truth
from brainfm.data.modalities import Kind, Modality
from brainfm.data.positions import to_mni
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.data.spike_times import RESOLUTION, SpikeTimes
from brainfm.errors import DataError

FINE = 250.0
"""Hertz at which rates are made; spikes fall anywhere within such a bin."""
REFRACTORY = 2e-3
"""Seconds after a spike in which a neuron can't fire."""
SYNAPSE = 4e-3
"""Seconds from a spike to the one that it brings about in another neuron."""
ARRAYS = ("mu_left", "mu_right")
"""The patches of cortex in which the arrays sit, by their rhythm."""
VELOCITY = {"left_hand": (-1.0, 0.0), "right_hand": (1.0, 0.0), "feet": (0.0, -1.0), "rest": (0.0, 0.0)}
"""Where the cursor goes in each class, x and y."""
VELOCITY_RATE = 50.0


def simulate(
    rng: np.random.Generator,
    *,
    seconds: float = 180.0,
    sfreq: float = RESOLUTION,
    sensors: int = 40,
    classes: Sequence[str] = ("left_hand", "right_hand"),
    brain: Brain | None = None,
    session: Activity | None = None,
) -> Recording:
    """A session of a simulated person with `sensors` neurons under two arrays, Poisson with generalised linear rates.

    The logarithm of a rate is a baseline, less of the rhythms of its patch (Ray & Maunsell 2011 have rates rise as low rhythms
    fall), a preferred direction of the cursor (Georgopoulos et al. 1982, cosine tuning), and the phase of beta (Pillow et
    al. 2008 write such models down); neurons are refractory, and some make another fire 4 ms later. The tracks are the truth,
    `velocity` (time, 2) of the cursor at 50 Hz, and `synapses` (neuron, neuron), the share of a row's spikes after which the
    column's neuron fires.
    """
    if sensors < 2:
        raise DataError(f"{sensors} neurons can't be simulated; take at least 2")
    person = brain or Brain.draw(rng)
    own = np.random.default_rng(person.place)  # neurons and their wiring are the person's own
    population = neurons(own, sensors)
    session = (session or activity(person, rng, seconds, FINE, classes)).at(FINE)
    velocity = cursor(rng, session, classes)
    trains = fire(rng, rates(population, session, person, velocity), population["synapses"], seconds)
    step = round(FINE / VELOCITY_RATE)
    tracks = {
        **truth(session),
        "velocity": Track(velocity[:, ::step].T, VELOCITY_RATE, names=("x", "y")),
        "synapses": Track(population["synapses"], 1.0),
    }
    name = [f"n{row:03d}" for row in range(sensors)]
    where = to_mni(pool()[person.place[population["rhythm"]]] + population["offset"])
    table = Sensors.of(name, "neuron", "count", where, "approximate").with_regions(
        [ARRAYS[array] for array in population["array"]]
    )
    data = SpikeTimes.of(trains, seconds, sfreq)
    return Recording(
        {"spikes": Signal(data, sfreq, table)}, events=session.events, tracks=tracks, source="simulated"
    )


def neurons(rng: np.random.Generator, n: int) -> dict[str, NDArray[np.float64]]:
    """What is a person's own about the neurons: array, place in it, baseline, tuning and wiring, a row each."""
    array = np.arange(n) % 2
    direction = rng.uniform(0, 2 * np.pi, n)
    synapses = (rng.uniform(size=(n, n)) < 2 / n) * rng.uniform(0.1, 0.3, (n, n))
    np.fill_diagonal(synapses, 0.0)
    return {
        "array": array,
        "rhythm": np.array([NAMES.index(ARRAYS[row]) for row in array]),
        "offset": rng.uniform(-2e-3, 2e-3, (n, 3)),
        "baseline": rng.lognormal(np.log(6.0), 0.6, n).clip(0.5, 40.0),
        "suppressed": rng.uniform(0.0, 0.3, n),
        "tuning": rng.uniform(0.0, 0.15, (n, 1)) * np.stack([np.cos(direction), np.sin(direction)], axis=1),
        "locking": rng.uniform(0.0, 0.5, n),
        "phase": rng.uniform(0, 2 * np.pi, n),
        "synapses": synapses,
    }


def cursor(rng: np.random.Generator, session: Activity, classes: Sequence[str]) -> NDArray[np.float64]:
    """(2, time) velocity at `FINE` hertz: towards the class in a trial, wandering always."""
    aim = np.array([*(VELOCITY[name] for name in classes), (0.0, 0.0)])[session.label].T
    kernel = np.hanning(round(0.4 * FINE))
    smooth = np.stack([np.convolve(row, kernel / kernel.sum(), mode="same") for row in aim])
    wander = rng.normal(size=smooth.shape)
    wander = np.stack([np.convolve(row, kernel, mode="same") for row in wander])
    return smooth + 0.5 * wander / wander.std()


def rates(
    population: dict[str, NDArray[np.float64]],
    session: Activity,
    person: Brain,
    velocity: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(neuron, time) hertz at `FINE`."""
    rhythm = population["rhythm"].astype(int)
    fallen = 1 - session.envelope[rhythm] / person.moment[rhythm, None]
    beta = np.array([NAMES.index("beta_left"), NAMES.index("beta_right")])[population["array"].astype(int)]
    turning = 2 * np.pi * person.hertz[beta, None] * np.arange(session.moment.shape[1]) / FINE
    drive = population["suppressed"][:, None] * fallen + population["tuning"] @ velocity
    drive = drive + population["locking"][:, None] * np.cos(turning + population["phase"][:, None])
    return np.asarray(population["baseline"][:, None] * np.exp(np.clip(drive, -3, 2)))


def fire(
    rng: np.random.Generator,
    rate: NDArray[np.float64],
    synapses: NDArray[np.float64],
    seconds: float,
) -> list[NDArray[np.float64]]:
    """Spike times of each neuron in seconds: of its own, and those that other neurons bring about."""
    own = []
    for row in rate:
        count = rng.poisson(row / FINE)
        at = np.repeat(np.arange(len(row)), count)
        own.append(refractory((at + rng.uniform(size=len(at))) / FINE))
    trains = []
    for target, train in enumerate(own):
        caused = [
            other[rng.uniform(size=len(other)) < synapses[source, target]] + rng.normal(SYNAPSE, 5e-4)
            for source, other in enumerate(own)
            if synapses[source, target]
        ]
        times = refractory(np.concatenate([train, *caused]))
        trains.append(times[times < seconds])
    return trains


def refractory(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times in order, less those that follow another too soon."""
    times = np.sort(times)
    return times[np.diff(times, prepend=-np.inf) > REFRACTORY]


SPIKES = Modality(
    name="spikes",
    title="Spikes",
    words="a neuron's rate",
    kinds={
        # a sorted neuron; a threshold's crossings, or several neurons that could not be told apart
        "neuron": Kind("Hz", plausible=(0.01, 300.0), typical=5.0, flat=0.0, whose="session"),
        "multiunit": Kind("Hz", plausible=(0.01, 2000.0), typical=40.0, flat=0.0, whose="session"),
    },
    montage="",
    sfreq=RESOLUTION,
    simulate=simulate,
    amplitude=firing_rate,
    verb="fires at",
    dead="never fires",
)
