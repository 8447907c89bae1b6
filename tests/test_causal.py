"""Steps on a signal that is still coming in: the same as on the whole of it, however it is cut, and no look ahead."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from decoders import fast_person
from scipy.signal import butter, iirnotch, lfilter, lfilter_zi, resample_poly, sosfilt, sosfilt_zi

from brainfm.data.preprocess import Step, prepare_causally
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.ring import Cutter, Ring
from brainfm.errors import DataError
from brainfm.part import find, known

CALIBRATE = 5.0
STEPS: list[dict[str, Any]] = [
    {"kind": "notch", "line": 50.0},
    {"kind": "band_pass", "low": 0.5, "high": 45.0},
    {"kind": "reference", "to": "average"},
    {"kind": "resample", "sfreq": 128.0},
    {"kind": "robust_scale", "scope": "recording", "per": "sensor", "clip": 15.0},
]


def step(words: dict[str, Any]) -> Step:
    return Step.model_validate(words)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Twenty seconds at 500 Hz, with an offset that a filter must not ring from."""
    made = fast_person(20.0, 500.0)
    signal = made.signal("eeg")
    return made.with_signal("eeg", replace(signal, data=signal.load() + 2e-4))


def started(recording: Recording, steps: Sequence[dict[str, Any]]) -> tuple[Any, Recording]:
    return prepare_causally(recording, [step(words) for words in steps], "eeg", CALIBRATE)


def cut(data: np.ndarray, sizes: Iterator[int]) -> Iterator[np.ndarray]:
    """The samples in blocks of these sizes."""
    at = 0
    while at < data.shape[1]:
        size = next(sizes)
        yield data[:, at : at + size]
        at += size


def drawn(seed: int, most: int) -> Iterator[int]:
    """Sizes of blocks, some of none."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(0, most))


def streamed(recording: Recording, steps: Sequence[dict[str, Any]], sizes: Iterator[int]) -> np.ndarray:
    chain, _ = started(recording, steps)
    return np.concatenate([chain(block) for block in cut(recording.signal("eeg").load(), sizes)], axis=1)


def whole(data: np.ndarray, sfreq: float) -> np.ndarray:
    """The same preparation of a whole recording at once, by scipy alone."""
    for freq in (50.0, 100.0, 150.0, 200.0):
        b, a = iirnotch(freq, 30.0, fs=sfreq)
        data = np.stack([lfilter(b, a, row, zi=lfilter_zi(b, a) * row[0])[0] for row in data])
    for order, edge, kind in ((1, 0.5, "highpass"), (4, 45.0, "lowpass")):
        sos = butter(order, edge, kind, fs=sfreq, output="sos")
        data = np.stack([sosfilt(sos, row, zi=sosfilt_zi(sos) * row[0])[0] for row in data])
    data = data - data.mean(axis=0)
    data = resample_poly(data, 32, 125, axis=1, padtype="edge")
    first = data[:, : round(CALIBRATE * 128)]
    centre = np.median(first, axis=1, keepdims=True)
    scale = 1.4826 * np.median(np.abs(first - centre), axis=1, keepdims=True)
    return np.clip((data - centre) / scale, -15, 15)


@pytest.mark.parametrize("most", [4, 33, 700, 100_000])
def test_a_signal_in_blocks_is_prepared_as_the_whole_is(recording: Recording, most: int) -> None:
    found = streamed(recording, STEPS, drawn(most, most))
    wanted = whole(recording.signal("eeg").load(), 500.0)
    late = started(recording, STEPS)[0].delay
    assert late == pytest.approx(0.078125)  # half of resample_poly's FIR: ten new samples at 128 Hz
    assert found.shape[1] == wanted.shape[1] - 10
    np.testing.assert_allclose(found, wanted[:, : found.shape[1]], atol=1e-6)
    assert np.abs(found).max() < 15, "nothing is clipped that could hide a difference"


def test_slow_waves_stay_like_those_of_zero_phase(recording: Recording) -> None:
    """But for the low-pass's few milliseconds: a high-pass of order 4 turns them until half of the likeness is gone."""
    words = STEPS[1]
    found = streamed(recording, [words], drawn(0, 500))[:, 2500:-2000]
    wanted = step(words)(recording, "eeg").signal("eeg").load()[:, 2500:-2000]
    alike = [np.corrcoef(a[5:], b[:-5])[0, 1] for a, b in zip(found, wanted, strict=True)]
    assert np.median(alike) > 0.9


def test_the_future_does_not_change_the_past(recording: Recording) -> None:
    data = recording.signal("eeg").load()
    changed, at = data.copy(), 6000
    changed[:, at:] = np.random.default_rng(0).normal(0, 1e-3, changed[:, at:].shape)
    other = recording.with_signal("eeg", replace(recording.signal("eeg"), data=changed))
    one, two = (streamed(which, STEPS, iter([at, 10**6])) for which in (recording, other))
    late = started(recording, STEPS)[0].delay
    known_by_then = int((at / 500 - late) * 128)
    assert known_by_then > 1000
    np.testing.assert_array_equal(one[:, :known_by_then], two[:, :known_by_then])
    assert np.abs(one - two)[:, known_by_then + 2 :].max() > 0.1, "and what comes after is changed"


@pytest.mark.parametrize("old, new", [(500.0, 128.0), (100.0, 128.0), (256.0, 128.0), (1000.0, 160.0)])
def test_resampling_gives_the_samples_of_the_whole(old: float, new: float) -> None:
    data = np.random.default_rng(1).normal(size=(3, 2000)).cumsum(axis=1)
    recording = Recording({"eeg": Signal(data, old, Sensors.of(["C3", "C4", "Cz"], "eeg", "V"))})
    words = {"kind": "resample", "sfreq": new}
    found = streamed(recording, [words], drawn(3, 90))
    wanted = step(words)(recording, "eeg").signal("eeg").load()
    late = started(recording, [words])[0].delay
    assert wanted.shape[1] - found.shape[1] == pytest.approx(late * new, abs=1.01)
    np.testing.assert_allclose(found, wanted[:, : found.shape[1]], atol=1e-9)


AT_EACH_TIME: list[dict[str, Any]] = [
    {"kind": "pick", "names": ["Cz", "C4"]},
    {"kind": "reference", "to": "average"},
    {"kind": "reference", "to": ["Cz"]},
    {"kind": "without_positions"},
    {"kind": "shaft_reference", "to": "bipolar"},
    {"kind": "shaft_reference", "to": "laplacian"},
]


@pytest.mark.parametrize("words", AT_EACH_TIME, ids=str)
def test_steps_at_each_time_are_what_they_are_on_the_whole(words: dict[str, Any]) -> None:
    names = ["Cz", "C3", "C4", "Fz", "C5"]
    data = np.random.default_rng(2).normal(size=(5, 300))
    recording = Recording({"eeg": Signal(data, 100.0, Sensors.of(names, "eeg", "V"))})
    if words["kind"] == "shaft_reference":
        table = Sensors.of(["A1", "A2", "A3", "A4", "B1"], "seeg", "V")
        recording = recording.with_signal("eeg", Signal(data, 100.0, table))
    wanted = step(words)(recording, "eeg").signal("eeg")
    _, made = started(recording, [words])
    assert made.signal("eeg").sensors.name == wanted.sensors.name
    assert made.signal("eeg").sensors.frame == wanted.sensors.frame
    np.testing.assert_allclose(streamed(recording, [words], drawn(0, 50)), wanted.load(), atol=1e-12)


def test_parcels_are_means_at_each_time() -> None:
    table = Sensors.of(["a", "b", "c"], "voxel", "%").with_regions(["x", "y", "x"])
    data = np.random.default_rng(2).normal(size=(3, 40))
    recording = Recording({"eeg": Signal(data, 1.0, table)})
    found = streamed(recording, [{"kind": "parcellate"}], drawn(0, 7))
    np.testing.assert_allclose(found, [data[[0, 2]].mean(axis=0), data[1]], atol=1e-12)


def test_counts_are_added_when_a_bin_is_over() -> None:
    data = np.random.default_rng(2).poisson(0.3, (4, 1003)).astype(float)
    recording = Recording({"eeg": Signal(data, 1000.0, Sensors.of(list("abcd"), "neuron", "count"))})
    words = {"kind": "bin_counts", "seconds": 0.025}
    found = streamed(recording, [words], drawn(0, 40))
    np.testing.assert_array_equal(found, step(words)(recording, "eeg").signal("eeg").load())


SETTINGS: dict[str, dict[str, Any]] = {
    "resample": {"sfreq": 128.0},
    "robust_scale": {"scope": "recording"},
    "reference": {"to": "average"},
    "band_pass": {"low": 1.0},
    "notch": {"line": 50.0},
    "regress_out": {"drift": "linear"},
    "from_track": {"track": "velocity", "sfreq": 40.0},
}
REFUSED = {"regress_out", "from_track"}
ELSEWHERE = {"shaft_reference", "parcellate", "atlas_regions", "bin_counts"}
"""Tried above, or with an atlas that is not here."""


@pytest.mark.parametrize("kind", sorted(set(known(Step)) - ELSEWHERE))
def test_every_step_has_a_form_for_this_or_refuses_by_name(kind: str, recording: Recording) -> None:
    words = {"kind": kind, **SETTINGS.get(kind, {})}
    if kind not in REFUSED:
        assert streamed(recording, [words], iter([3000, 10**6])).shape[1] > 1000
        return
    with pytest.raises(DataError, match=f"^{kind} needs the whole recording"):
        started(recording, [words])


def test_scales_that_were_learnt_or_are_each_windows_own_need_no_calibration(recording: Recording) -> None:
    part = find(Step, "robust_scale")
    learnt = part(scope="training_set", per="sensor", clip=15.0).fit([recording], "eeg")
    chain, made = prepare_causally(recording, [learnt], "eeg", CALIBRATE)
    wanted = learnt(recording, "eeg").signal("eeg")
    assert chain.held == 0 and made.signal("eeg").sensors.unit == wanted.sensors.unit
    np.testing.assert_array_equal(chain(recording.signal("eeg").load()), wanted.load())
    chain, _ = prepare_causally(recording, [part(scope="window")], "eeg", CALIBRATE)
    np.testing.assert_array_equal(chain(recording.signal("eeg").load()), recording.signal("eeg").load())


def test_after_a_gap_filters_begin_anew_and_scales_stay(recording: Recording) -> None:
    data = recording.signal("eeg").load()
    chain, _ = started(recording, STEPS)
    chain(data[:, :4000])
    assert chain.held == 0
    chain.restart()
    found = chain(data[:, 6000:])
    fresh, _ = started(recording, STEPS)
    fresh.steps[-1] = chain.steps[-1]
    np.testing.assert_array_equal(found, fresh(data[:, 6000:]))


def test_a_gap_while_a_scale_is_measured(recording: Recording) -> None:
    """What came before is measured and never given, as what follows does not follow on it."""
    scale = [STEPS[-1]]
    data = recording.signal("eeg").load()
    chain, _ = started(recording, scale)
    assert chain.held == CALIBRATE
    assert chain(data[:, :1000]).shape[1] == 0
    chain.restart()
    assert chain.held == CALIBRATE - 2
    given = chain(data[:, 4000:6000])
    seen = np.concatenate([data[:, :1000], data[:, 4000:5500]], axis=1)
    centre = np.median(seen, axis=1, keepdims=True)
    mad = 1.4826 * np.median(np.abs(seen - centre), axis=1, keepdims=True)
    np.testing.assert_allclose(given, (data[:, 4000:6000] - centre) / mad, atol=1e-9)


def test_a_ring_holds_the_last_samples() -> None:
    data = np.random.default_rng(0).normal(size=(3, 200))
    ring, seen = Ring(3, 16), 0
    for block in cut(data, drawn(1, 40)):
        ring.push(block)
        seen += block.shape[1]
        assert ring.full == (seen >= 16)
        if ring.full:
            np.testing.assert_array_equal(ring.last(), data[:, seen - 16 : seen])


@pytest.mark.parametrize("every, after", [(7.0, 0.0), (2.5, 0.0), (7.0, 40.5), (50.0, 0.0), (0.3, 30.0)])
def test_windows_are_cut_where_they_are_due_whatever_the_blocks(every: float, after: float) -> None:
    data = np.random.default_rng(0).normal(size=(2, 300))
    due = [16 + int(np.floor(number * max(every, 1.0) + 0.5)) for number in range(400)]
    wanted = [end for end in due if after <= end <= 300]
    for seed in range(4):
        cutter = Cutter(16, 2, every)
        cutter.restart(after)
        ends = []
        for block in cut(data, drawn(seed, 60)):
            for end, window in cutter.take(block):
                np.testing.assert_array_equal(window, data[:, end - 16 : end])
                ends.append(end)
        assert ends == wanted
