"""Whose the names of sensors are."""

from dataclasses import replace

import numpy as np

from brainfm.data.modalities import owner
from brainfm.data.recording import Recording, Sensors, Signal


def of(kind: str, unit: str, **place: str) -> Recording:
    """A recording of one sensor."""
    modality = {"neuron": "spikes", "seeg": "seeg", "eeg": "eeg"}[kind]
    return Recording({modality: Signal(np.zeros((1, 10)), 100.0, Sensors.of(["a"], kind, unit))}, **place)  # type: ignore[arg-type]


def test_names_are_a_sessions_a_persons_or_everyones() -> None:
    place = {"dataset": "d", "subject": "m", "session": "1", "source": "m1.nwb"}
    assert owner(of("neuron", "count", **place), "spikes") == "d/m/1"
    assert owner(of("seeg", "V", **place), "seeg") == "d/m"
    assert owner(of("eeg", "V", **place), "eeg") == ""


def test_neurons_of_two_files_that_name_no_session_are_not_the_same() -> None:
    """Whether the files say whose they are or not."""
    one = of("neuron", "count", subject="m", source="m1.nwb")
    for first in (one, replace(one, subject="")):
        assert owner(first, "spikes") != owner(replace(first, source="m2.nwb"), "spikes")
    dataset = replace(one, dataset="d")
    assert owner(dataset, "spikes") == owner(replace(dataset, source="m2.nwb"), "spikes"), (
        "runs of one session"
    )
