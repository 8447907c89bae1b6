"""Little recordings and a store of them: what the tests of the store share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny

from brainfm.data.modalities import modality
from brainfm.data.preprocess import Step
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Recording, Track
from brainfm.data.store import Store, open_store, table
from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording

STEPS: list[Step] = [
    BandPass(low=0.5, high=45.0),
    Resample(sfreq=100.0),
    RobustScale(scope="recording", clip=15.0),
]


def stored(root: Path, recordings: list[Recording], order: Order) -> Store:
    """A store of these recordings, made without the command line."""
    for folder in (PASSING, RECEIPTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = [
        write_recording(root, order, recording, f"{number}.edf", f"{number:032x}")
        for number, recording in enumerate(recordings)
    ]
    steps = {name: [step.model_dump(mode="json") for step in these] for name, these in order.steps.items()}
    table.write(rows, steps, root / table.NAME)
    return open_store(root)


def session(number: int = 1, seconds: float = 60.0) -> Recording:
    """A simulated session with a track of film and of words, a break, and a sensor of unknown place."""
    rng = np.random.default_rng(number)
    made = tiny.person(number, seconds)
    eeg = made.signal("eeg")
    position = eeg.sensors.position.copy()
    position[2] = np.nan
    eeg = replace(eeg, breaks=(1000, 2600), sensors=replace(eeg.sensors, position=position))
    tracks = {
        "film": Track(rng.integers(0, 255, (30, 4, 5), dtype=np.uint8), 2.0, "", 1.5),
        "words": Track(np.array(["yes", "naïve"]), 0.5),
        "cursor": Track(rng.standard_normal((200, 2)), 50.0, "m", names=("x", "y")),
    }
    return replace(
        made.with_signal("eeg", eeg),
        tracks=tracks,
        dataset="people",
        subject=f"{number:02d}",
        session="a",
        run="1",
        content_hash=f"hash{number}",
    )


def neurons() -> Recording:
    made = modality("spikes").simulate(np.random.default_rng(5), seconds=20.5, sensors=6)
    return replace(made, dataset="neurons", subject="01", content_hash="n")
