"""Features are kept under a key: whatever decides them is in it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording, Sensors, Track
from brainfm.evaluation import Evaluation
from brainfm.panel import windows_key

Change = Callable[[Recording], Recording]


def sensors(**columns: object) -> Change:
    """A change of columns of the sensor table."""

    def change(recording: Recording) -> Recording:
        signal = recording.signal("eeg")
        table: Sensors = replace(signal.sensors, **columns)
        return recording.with_signal("eeg", replace(signal, sensors=table))

    return change


def confounds(number: float, rate: float = 10.0) -> Change:
    """A track that a step may regress out."""
    return lambda recording: replace(recording, tracks={"confounds": Track(np.full((50, 2), number), rate)})


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return Evaluation.of(DataCard.load("simulated_eeg"), limit=12)


@pytest.mark.parametrize(
    "change",
    [
        confounds(0.0),
        confounds(1.0),
        confounds(1.0, rate=20.0),
        sensors(kind=("seeg",) * 19),
        sensors(unit=("T",) * 19),
        sensors(orientation=np.ones((19, 3))),
        sensors(position=np.ones((19, 3))),
        lambda recording: replace(recording, content_hash="another"),
    ],
)
def test_another_recording_has_another_key(evaluation: Evaluation, change: Change) -> None:
    keys = {windows_key(evaluation, "mean"), windows_key(changed(evaluation, confounds(2.0)), "mean")}
    key = windows_key(changed(evaluation, change), "mean")
    assert key not in keys and key == windows_key(changed(evaluation, change), "mean")


def changed(evaluation: Evaluation, change: Change) -> Evaluation:
    """The evaluation with its recordings changed."""
    return replace(evaluation, recordings=[change(one) for one in evaluation.recordings])
