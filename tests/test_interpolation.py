"""Electrodes that were not shown: the comparison with splines is between the right things, measured as it says."""

import numpy as np
import pytest
import torch

from brainfm.batch import Batch
from brainfm.data.modalities import modality
from brainfm.errors import DataError
from brainfm.jobs.interpolation import Interpolation, interpolation, likeness, splines
from brainfm.recipe import PretrainRecipe


def smooth(windows: int = 2) -> Batch:
    """A field over the head that a spline can follow: one slope along each axis, with a course of its own."""
    signal = modality("eeg").simulate(np.random.default_rng(0), seconds=2.0).signal("eeg")
    place = np.nan_to_num(signal.sensors.position)
    course = np.random.default_rng(1).normal(size=(windows, 3, 128))
    data = np.einsum("sp,wpt->wst", place / 0.1, course).astype(np.float32)
    return Batch.of("eeg", data, 128.0, [signal.sensors] * windows)


def test_splines_follow_a_smooth_field_in_every_window() -> None:
    batch = smooth()
    asked = np.array([2, 7, 11])
    told = splines(batch, asked)
    true = batch.signal[:, asked].numpy()
    assert told.shape == true.shape
    for window in range(2):
        assert likeness(told[window : window + 1], true[window : window + 1])[0] > 0.9
    crossed = likeness(told, true[::-1].copy())
    assert abs(crossed[0]) < 0.5  # windows are not mixed up


def test_splines_see_nothing_of_what_they_are_asked_for() -> None:
    batch = smooth()
    asked = np.array([2, 7])
    before = splines(batch, asked)
    batch.signal[:, torch.from_numpy(asked)] = 1e3
    np.testing.assert_allclose(splines(batch, asked), before, rtol=1e-6)


def test_likeness_is_a_correlation_and_a_share_of_the_power() -> None:
    true = np.random.default_rng(0).normal(size=(3, 2, 500))
    assert likeness(true, true) == pytest.approx([1.0, 0.0], abs=1e-9)
    assert likeness(3 * true + 5, true)[0] == pytest.approx(1.0)
    assert likeness(np.zeros_like(true), true)[1] == pytest.approx(1.0)
    assert likeness(-true, true) == pytest.approx([-1.0, 4.0], rel=1e-6)


def test_the_figure_says_which_is_which() -> None:
    found = Interpolation(
        [4, 8], np.array([[0.7, 0.5], [0.8, 0.3]]), np.array([[0.4, 2.0], [0.6, 0.9]]), 3
    ).figure
    assert found.numbers["sources"] == [[0.7, 0.5], [0.8, 0.3]]
    assert found.table[0]["sources, correlation"] == "0.70" and found.table[0]["splines, error"] == "2.00"
    assert "of 3 people" in found.sentence


def test_another_tokenizer_can_not_be_asked() -> None:
    with pytest.raises(DataError, match="by the tokenizer sources, not by patch"):
        interpolation(PretrainRecipe.load("demo_eeg"), steps=1, quiet=True)


def test_few_electrodes_are_told_better_than_by_splines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of the report, small: four people trained on, 120 steps, four electrodes."""
    monkeypatch.setattr("brainfm.jobs.interpolation.SHOWN", (4,))
    held = ", ".join(f"'{number:02d}'" for number in range(5, 25))
    recipe = PretrainRecipe.load(
        "sources_eeg", [f"data={{cards: [simulated_eeg], hold_out: {{simulated_eeg: [{held}]}}}}"]
    )
    found = interpolation(recipe, steps=120, quiet=True)
    assert (found.sources[:, 0] > found.splines[:, 0]).all()
    assert (found.sources[:, 1] < found.splines[:, 1]).all()
