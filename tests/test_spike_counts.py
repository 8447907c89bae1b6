"""Spikes as counts in bins: read in any order and unit, made from times, and decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_files import SECONDS, cell
from scipy.io import savemat

from brainfm.baselines import Baseline
from brainfm.baselines.binned_rates import BinnedRates, counts
from brainfm.baselines.max_correlation import MaxCorrelation
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.data.readers.binned_counts import BinnedCounts
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError

# Counts in bins


@pytest.fixture
def binned() -> np.ndarray:
    """(neuron, trial, bin) counts of three neurons in eight trials of ten bins."""
    return np.random.default_rng(4).poisson(1.5, (3, 8, 10)).astype(float)


LABELS = np.array([1, 2] * 4)


@pytest.mark.parametrize(
    "axes", [["neuron", "trial", "bin"], ["bin", "neuron", "trial"], ["trial", "bin", "neuron"]]
)
def test_counts_come_whatever_the_order_of_axes(tmp_path: Path, binned: np.ndarray, axes: list[Any]) -> None:
    order = [["neuron", "trial", "bin"].index(axis) for axis in axes]
    savemat(tmp_path / "a.mat", {"y": binned.transpose(order), "label": LABELS})
    reader = BinnedCounts(
        pieces=[{"counts": "y", "labels": "label"}], axes=axes, step=0.05, unit="count", onset=0.1
    )
    recording = reader.read(tmp_path / "a.mat")
    signal = recording.signal("spikes")
    np.testing.assert_array_equal(signal.load(), binned.reshape(3, 80))
    assert signal.sfreq == 20.0 and signal.breaks == tuple(range(10, 80, 10))
    assert recording.events.label == ("1", "2") * 4
    np.testing.assert_allclose(recording.events.onset, np.arange(8) * 0.5 + 0.1)
    np.testing.assert_allclose(recording.events.duration, 0.4)


@pytest.mark.parametrize(("unit", "factor"), [("count", 1.0), ("Hz", 20.0), ("1/ms", 0.02)])
def test_counts_and_rates_each_labelled_are_the_same(
    tmp_path: Path, binned: np.ndarray, unit: Any, factor: float
) -> None:
    np.savez(tmp_path / "a.npz", y=binned[:, 0] * factor)
    reader = BinnedCounts(pieces=[{"counts": "y"}], axes=["neuron", "bin"], step=0.05, unit=unit)
    np.testing.assert_allclose(reader.read(tmp_path / "a.npz").signal("spikes").load(), binned[:, 0])


def test_a_wrong_bin_is_found(tmp_path: Path, binned: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", y=binned[:, 0] / 0.05)
    reader = BinnedCounts(pieces=[{"counts": "y"}], axes=["neuron", "bin"], step=0.03, unit="Hz")
    with pytest.raises(
        DataError, match=r"in bins of 0\.03 s its numbers, as Hz, are not whole spikes; correct `width`"
    ):
        reader.read(tmp_path / "a.npz")
    microseconds = reader.model_copy(update={"step": 5e-5, "unit": "count"})
    np.savez(tmp_path / "a.npz", y=binned[:, 0])
    with pytest.raises(DataError, match=r"fires at 3\.6e\+04 Hz, but a neuron's rate lies between"):
        microseconds.read(tmp_path / "a.npz")


def test_bins_that_overlap_keep_rates_and_count_no_spike_twice(tmp_path: Path) -> None:
    fine = np.random.default_rng(5).poisson(0.4, (4, 400)).astype(float)
    sums = np.stack([np.convolve(row, np.ones(8), "valid") for row in fine])
    np.savez(tmp_path / "a.npz", y=sums.T)
    reader = BinnedCounts(
        pieces=[{"counts": "y"}], axes=["bin", "neuron"], step=0.01, width=0.08, unit="count"
    )
    recording = reader.read(tmp_path / "a.npz")
    signal = recording.signal("spikes")
    assert signal.load().sum() == pytest.approx(fine[:, 7:].sum(), rel=0.05)
    assert any("overlap" in note for note in recording.notes)
    with pytest.raises(DataError, match="leave spikes out"):
        reader.model_copy(update={"width": 0.005}).read(tmp_path / "a.npz")


def test_trials_along_one_axis_with_tracks(tmp_path: Path, binned: np.ndarray) -> None:
    flat, velocity = binned.reshape(3, 80), np.arange(160.0).reshape(80, 2)
    label = np.repeat(LABELS, 10)
    savemat(
        tmp_path / "a.mat",
        {
            "a": flat[:, :34].T,
            "x": velocity[:34],
            "t": label[:34],
            "b": flat[:, 34:].T,
            "u": velocity[34:],
            "s": label[34:],
        },
    )
    pieces = [
        {"counts": "a", "labels": "t", "tracks": {"velocity": "x"}, "trial": 10},
        {"counts": "b", "labels": "s", "tracks": {"velocity": "u"}, "trial": 10, "first": 6},
    ]
    reader = BinnedCounts(
        pieces=pieces, axes=["bin", "neuron"], step=0.01, unit="count", units={"velocity": "cm/s"}
    )
    recording = reader.read(tmp_path / "a.mat")
    assert recording.signal("spikes").breaks == (10, 20, 30, 34, 40, 50, 60, 70)
    assert recording.events.label == ("1", "2", "1", "2", "2", "1", "2", "1", "2")
    np.testing.assert_array_equal(recording.tracks["velocity"].data, velocity)
    assert recording.tracks["velocity"].unit == "cm/s" and recording.tracks["velocity"].rate == 100.0
    with pytest.raises(DataError, match="the track 'velocity' is not in every piece"):
        reader.model_copy(
            update={"pieces": [reader.pieces[0].model_copy(update={"tracks": {}}), reader.pieces[1]]}
        ).read(tmp_path / "a.mat")


def test_neurons_recorded_apart_are_paired_by_condition(tmp_path: Path) -> None:
    """Neuron, condition and repeat are written into the counts; each neuron saw the conditions in an order of its own."""
    rng = np.random.default_rng(6)
    names = np.array(["cat", "dog", "owl"])
    values, words = [], []
    for neuron in range(4):
        shown = rng.permutation(np.repeat(np.arange(3), 5 if neuron else 4))
        repeat = np.array([(shown[:at] == one).sum() for at, one in enumerate(shown)])
        values.append(np.stack([100.0 * neuron + 10 * shown + repeat, np.full(len(shown), 1.0)], axis=1))
        words.append(np.array([names[one] for one in shown], dtype=object))
    savemat(tmp_path / "a.mat", {"y": cell(values), "w": cell(words)})
    reader = BinnedCounts(
        pieces=[{"counts": "y", "condition": "w"}], axes=["neuron", "trial", "bin"], step=0.5, unit="count", apart=True,
        multiunit=True,
    )  # fmt: skip
    recording = reader.read(tmp_path / "a.mat")
    found = recording.signal("spikes").load().reshape(4, 12, 2)[:, :, 0]
    label = [list(names).index(one) for one in recording.events.label]
    for trial in range(12):
        np.testing.assert_array_equal(found[:, trial], 100 * np.arange(4) + 10 * label[trial] + trial // 3)
    assert label == [0, 1, 2] * 4
    assert any("9 trials of single neurons have no partner" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": ["neuron", "bin"]}, r"y has shape \(3, 8, 10\), which does not fit axes"),
        ({"axes": ["neuron", "neuron", "bin"]}, "each once"),
        ({"pieces": [{"counts": "z"}]}, "has no variable 'z'; it has y, label"),
        ({"pieces": [{"counts": "y", "labels": "short"}]}, "3 labels fit neither 8 trials nor 80 bins"),
        ({"names": "short"}, None),
        ({"names": "label"}, "8 names do not fit 3 neurons"),
        ({"onset": 0.5}, "lies beyond the end of a trial"),
        ({"apart": True}, "need `condition:`"),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    tmp_path: Path, binned: np.ndarray, change: dict[str, Any], words: str | None
) -> None:
    np.savez(tmp_path / "a.npz", y=binned, label=LABELS, short=np.array(["a", "b", "c"]))
    usual: dict[str, Any] = {
        "pieces": [{"counts": "y", "labels": "label"}],
        "axes": ["neuron", "trial", "bin"],
        "step": 0.05,
        "unit": "count",
    }
    reader = BinnedCounts(**{**usual, **change})
    if words is None:
        assert reader.read(tmp_path / "a.npz").signal("spikes").sensors.name == ("a", "b", "c")
        return
    with pytest.raises(DataError, match=words) as caught:
        reader.read(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


# Counting, decoding


def recording_of(data: Any, sfreq: float, breaks: tuple[int, ...] = ()) -> Recording:
    sensors = Sensors.of([f"n{row}" for row in range(data.shape[0])], "neuron", "count")
    return Recording({"spikes": Signal(data, sfreq, sensors, breaks)}, source="test")


def test_spikes_are_counted_in_bins_of_a_stated_length(trains: list[np.ndarray]) -> None:
    times = recording_of(SpikeTimes.of(trains, SECONDS), 1000.0)
    binned = BinCounts(seconds=0.05)(times, "spikes").signal("spikes")
    assert binned.sfreq == 20.0 and isinstance(binned.data, SpikeTimes), "times stay times"
    expected = np.stack([np.histogram(train, np.arange(1201) / 20)[0] for train in trains])
    np.testing.assert_array_equal(binned.load(), expected)
    dense = recording_of(times.signal("spikes").load(), 1000.0)
    np.testing.assert_array_equal(BinCounts(seconds=0.05)(dense, "spikes").signal("spikes").load(), expected)


def test_bins_do_not_cross_breaks() -> None:
    data = np.ones((2, 25))
    recording = BinCounts(seconds=0.3)(recording_of(data, 10.0, (10, 17)), "spikes")
    signal = recording.signal("spikes")
    assert signal.data.shape == (2, 7) and signal.breaks == (3, 5)
    np.testing.assert_array_equal(signal.data, 3.0)
    assert "4 bins at the ends of stretches" in recording.notes[-1]
    with pytest.raises(DataError, match=r"bins of 0\.25 s can't be made of bins of 0\.1 s"):
        BinCounts(seconds=0.25)(recording_of(data, 10.0), "spikes")
    with pytest.raises(DataError, match=r"bins of 0\.01 s can't be made"):
        BinCounts(seconds=0.01)(recording_of(data, 10.0), "spikes")
    kept = BinCounts(seconds=0.01, wider="keep")(recording_of(data, 10.0), "spikes")
    assert kept.signal("spikes").sfreq == 10.0 and "stay as they are" in kept.notes[-1]


def test_windows_are_counted_in_parts() -> None:
    signal = np.arange(24.0).reshape(2, 1, 12)
    np.testing.assert_array_equal(counts(signal, 3)[0, 0], [6, 22, 38])
    assert counts(signal, 100).shape == (2, 1, 12)


@pytest.mark.parametrize(
    "baseline", [BinnedRates(), BinnedRates(bins=2), MaxCorrelation(), MaxCorrelation(bins=2)]
)
def test_baselines_decode_tuned_neurons(baseline: Baseline) -> None:
    """Thirty neurons with a rate of their own in each of three classes, one of them silent in training."""
    rng = np.random.default_rng(7)
    rate = rng.uniform(0.1, 0.5, (3, 30))
    label = np.arange(240) % 3
    signal = rng.poisson(rate[label][:, :, None], (240, 30, 10)).astype(float)
    signal[:120, 4] = 0
    train, test = np.arange(120), np.arange(120, 240)
    decoder = baseline.build(10.0, 30, 3).fit(signal[train], label[train], np.zeros(120, int))
    found = decoder.predict_proba(signal[test], np.zeros(120, int))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found.argmax(axis=1) == label[test]).mean() > 0.9
    shuffled = rng.permutation(label[train])
    blind = baseline.build(10.0, 30, 3).fit(signal[train], shuffled, np.zeros(120, int))
    assert (blind.predict_proba(signal[test], np.zeros(120, int)).argmax(axis=1) == label[test]).mean() < 0.6
    signal[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="holds NaN"):
        baseline.build(10.0, 30, 3).fit(signal[train], label[train], np.zeros(120, int))
