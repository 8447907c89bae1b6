"""Spikes kept as times: counts at any rate, nothing lost and nothing counted twice."""

import numpy as np
import pytest

from brainfm.data.gate import trustworthy
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError


@pytest.fixture
def spikes() -> SpikeTimes:
    """Five neurons over twenty seconds, one of them silent."""
    rng = np.random.default_rng(0)
    trains = [rng.uniform(0, 20.0, n) for n in (100, 30, 0, 250, 7)]
    return SpikeTimes.of(trains, 20.0)


@pytest.mark.parametrize("sfreq", [10.0, 256.0, 1000.0, 30000.0])
def test_every_spike_is_in_one_bin(spikes: SpikeTimes, sfreq: float) -> None:
    finer = SpikeTimes(spikes.time, spikes.neuron, 5, 20.0, sfreq)
    counts = finer[:, :]
    assert counts.shape == finer.shape == (5, round(20 * sfreq))
    np.testing.assert_array_equal(counts.sum(axis=1), [100, 30, 0, 250, 7])


def test_a_stretch_is_that_of_the_whole(spikes: SpikeTimes) -> None:
    whole = spikes[:, :]
    rng = np.random.default_rng(1)
    for first, stop in np.sort(rng.integers(0, 20_000, (20, 2)), axis=1):
        np.testing.assert_array_equal(spikes[:, first:stop], whole[:, first:stop])
    np.testing.assert_array_equal(spikes[[3, 0], 5:500], whole[[3, 0], 5:500])
    np.testing.assert_array_equal(spikes[1], whole[1])


def test_a_time_on_the_edge_of_a_bin_lies_in_it() -> None:
    """0.3 · 10 is 2.9999999999999996: such a spike must not slip into the bin before."""
    edges = np.arange(50) / 10
    counts = SpikeTimes.of([edges], 5.0, 10.0)
    np.testing.assert_array_equal(counts[0], np.ones(50))
    np.testing.assert_array_equal(counts[0, 3:7], np.ones(4))


def test_neurons_taken_are_those_neurons(spikes: SpikeTimes) -> None:
    few = spikes.take([4, 3])
    np.testing.assert_array_equal(few.train(0), spikes.train(4))
    np.testing.assert_array_equal(few[:, :], spikes[[4, 3], :])


def test_times_outside_or_out_of_order_are_refused() -> None:
    with pytest.raises(DataError, match=r"lie outside a recording of 2\.000 s"):
        SpikeTimes.of([np.array([0.5, 2.5])], 2.0)
    with pytest.raises(DataError, match="do not rise"):
        SpikeTimes(np.array([1.0, 0.5]), np.array([0, 0]), 1, 2.0)


def recording_of(spikes: SpikeTimes) -> Recording:
    sensors = Sensors.of([f"n{row}" for row in range(spikes.neurons)], "neuron", "count")
    return Recording({"spikes": Signal(spikes, spikes.sfreq, sensors)}, source="spikes")


def test_the_gate_finds_milliseconds_read_as_seconds(spikes: SpikeTimes) -> None:
    slow = SpikeTimes(spikes.time * 1e3, spikes.neuron, 5, 2e4).take([0, 1, 3, 4])
    with pytest.raises(DataError, match=r"fires at .* Hz, .* the values look like ms labelled s"):
        trustworthy(recording_of(slow), label=lambda: "s")


def test_the_gate_finds_a_silent_neuron(spikes: SpikeTimes) -> None:
    with pytest.raises(DataError, match="sensor n2 never fires"):
        trustworthy(recording_of(spikes))
    kept = trustworthy(recording_of(spikes), "drop").signal("spikes")
    assert kept.sensors.name == ("n0", "n1", "n3", "n4") and isinstance(kept.data, SpikeTimes)


def test_the_content_is_the_times_at_whatever_rate(spikes: SpikeTimes) -> None:
    one = trustworthy(recording_of(spikes), "drop").content_hash
    coarse = SpikeTimes(spikes.time, spikes.neuron, 5, 20.0, 50.0)
    assert trustworthy(recording_of(coarse), "drop").content_hash == one
    moved = SpikeTimes(spikes.time + 1e-5, spikes.neuron, 5, 20.001)
    assert trustworthy(recording_of(moved), "drop").content_hash != one


def test_simulated_neurons_are_neurons() -> None:
    """Refractory, tuned to the cursor, and a synapse's target fires 4 ms after its source more often than by chance."""
    recording = modality("spikes").simulate(np.random.default_rng(3), seconds=120.0)
    spikes = recording.signal("spikes").data
    assert isinstance(spikes, SpikeTimes)
    assert min(np.diff(spikes.train(row)).min() for row in range(spikes.neurons)) >= 2e-3
    synapses = recording.tracks["synapses"].data
    source, target = np.unravel_index(synapses.argmax(), synapses.shape)
    lag = [later(spikes.train(source), spikes.train(target), delay) for delay in (0.004, 0.020)]
    assert lag[0] > 2 * lag[1]
    assert lag[0] - lag[1] == pytest.approx(synapses.max(), abs=0.08)


def later(source: np.ndarray, target: np.ndarray, delay: float, window: float = 1.5e-3) -> float:
    """Share of a neuron's spikes that the other follows after `delay` seconds, give or take `window`."""
    near = np.searchsorted(target, [source + delay - window, source + delay + window])
    return float((near[1] > near[0]).mean())
