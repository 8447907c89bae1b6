"""Steps: what they keep, what they remove, that they cross no break and change nothing in place."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from brainfm.data.preprocess import Step, fit, on_windows, prepare
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.notch import Notch
from brainfm.data.preprocess.pick import Pick
from brainfm.data.preprocess.reference import Reference
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

SFREQ = 250.0


def recording(
    data: np.ndarray, sfreq: float = SFREQ, breaks: tuple[int, ...] = (), kind: str = "eeg"
) -> Recording:
    sensors = Sensors.of([f"S{row}" for row in range(len(data))], kind, "V")
    return Recording({"eeg": Signal(data, sfreq, sensors, breaks)}, source="hand-made")


def sine(freq: float, seconds: float = 20.0, sfreq: float = SFREQ) -> np.ndarray:
    return np.sin(2 * np.pi * freq * np.arange(round(seconds * sfreq)) / sfreq)[None]


def noise(sensors: int = 4, seconds: float = 20.0, seed: int = 0) -> np.ndarray:
    return 1e-5 * np.random.default_rng(seed).standard_normal((sensors, round(seconds * SFREQ)))


def gain(step: Step, freq: float, breaks: tuple[int, ...] = ()) -> float:
    """Decibels by which a step changes a sine, away from the ends of each stretch."""
    before = recording(sine(freq), breaks=breaks)
    after = step(before, "eeg").signal("eeg")
    inside = np.concatenate([np.arange(a + (b - a) // 4, b - (b - a) // 4) for a, b in after.stretches])
    return float(20 * np.log10(after.load()[:, inside].std() / sine(freq)[:, inside].std()))


# 5000 samples: one stretch, longer than any FIR here; or stretches of two seconds, shorter than each
STRETCHES = [(), tuple(range(500, 5000, 500))]


@pytest.mark.parametrize("breaks", STRETCHES)
def test_band_pass_keeps_ten_hertz_and_removes_the_rest(breaks: tuple[int, ...]) -> None:
    step = BandPass(low=1.0, high=35.0)
    assert abs(gain(step, 10, breaks)) < 0.3
    assert gain(step, 50, breaks) < -20
    assert gain(step, 100, breaks) < (-20 if breaks else -60)


def test_high_and_low_pass() -> None:
    assert gain(BandPass(low=5.0), 1) < -20
    assert abs(gain(BandPass(low=5.0), 20)) < 0.1
    assert gain(BandPass(high=20.0), 50) < -40
    assert abs(gain(BandPass(high=20.0), 5)) < 0.1


@pytest.mark.parametrize("breaks", STRETCHES)
def test_notch_removes_the_line_and_its_harmonics_alone(breaks: tuple[int, ...]) -> None:
    step = Notch(line=50.0)
    assert gain(step, 50, breaks) < -20
    assert gain(step, 100, breaks) < -20
    assert abs(gain(step, 10, breaks)) < 0.1
    assert abs(gain(step, 60, breaks)) < 0.5


def test_notch_at_named_frequencies() -> None:
    assert gain(Notch(freqs=[60.0]), 60) < -20
    assert abs(gain(Notch(freqs=[60.0]), 50)) < 0.1


@pytest.mark.parametrize("step", [BandPass(low=1.0, high=40.0), Notch(line=50.0), Resample(sfreq=100.0)])
@pytest.mark.parametrize("lengths", [(2000, 3000), (60, 90, 10), (4000, 10, 30)])
def test_stretches_are_filtered_on_their_own(step: Step, lengths: tuple[int, ...]) -> None:
    """Changing one stretch changes nothing in another; no filter warns that it is longer than its signal."""
    edges = np.cumsum(lengths)
    data = noise(2, seconds=edges[-1] / SFREQ)
    other = data.copy()
    other[:, : lengths[0]] += 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two = (
            step(recording(x, breaks=tuple(edges[:-1].tolist())), "eeg").signal("eeg") for x in (data, other)
        )
    assert np.isfinite(two.load()).all()
    assert len(one.stretches) == len(lengths)
    second = one.breaks[0]
    np.testing.assert_array_equal(one.load()[:, second:], two.load()[:, second:])


@pytest.mark.parametrize("step", [BandPass(low=1.0, high=40.0), Notch(line=50.0)])
def test_a_stretch_of_one_sample_is_filtered_too(step: Step) -> None:
    after = step(recording(noise(), breaks=(1,)), "eeg")
    assert np.isfinite(after.signal("eeg").load()).all()
    assert "1 of 2 stretches are shorter than the FIR" in after.notes[0]


@pytest.mark.parametrize(
    "step",
    [
        BandPass(low=1.0, high=40.0),
        Notch(line=50.0),
        Resample(sfreq=100.0),
        Reference(to="average"),
        Reference(to=["S1"]),
        RobustScale(scope="recording"),
        Pick(names=["S2", "S0"]),
    ],
)
def test_no_step_works_in_place_and_each_leaves_a_note(step: Step) -> None:
    before = recording(noise())
    after = step(before, "eeg")
    np.testing.assert_array_equal(before.signal("eeg").load(), noise())
    assert after.signal("eeg") is not before.signal("eeg")
    assert isinstance(step, BandPass | Notch) or len(after.notes) == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (BandPass(), "needs low, high or both"),
        (BandPass(low=1.0, high=125.0), "125 Hz"),
        (BandPass(low=40.0, high=4.0), "40.0 to 4.0"),
        (Notch(), "either freqs or line"),
        (Notch(freqs=[50.0], line=50.0), "either freqs or line"),
        (Notch(freqs=[130.0]), "not between 0 and 125 Hz"),
        (Notch(line=200.0), "not between 0 and 125 Hz"),
        (Resample(sfreq=0.0), "above 0 Hz"),
        (Pick(names=["S00"]), "no sensor 'S00'; did you mean 'S0'"),
        (Pick(kinds=["meg"]), "no sensor is left"),
        (Reference(to=["Cz"]), "no sensor 'Cz'"),
    ],
)
def test_impossible_settings_are_one_sentence(step: Step, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        step(recording(noise()), "eeg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 500.0, 173.61])
def test_resample_keeps_a_sine_and_its_time(sfreq: float) -> None:
    signal = Resample(sfreq=sfreq)(recording(sine(7)), "eeg").signal("eeg")
    assert signal.n_times == int(np.floor(20 * sfreq + 0.5))
    assert signal.sfreq == sfreq
    expected = np.sin(2 * np.pi * 7 * np.arange(signal.n_times) / sfreq)
    inside = slice(signal.n_times // 10, -signal.n_times // 10)
    assert np.abs(signal.load()[0, inside] - expected[inside]).max() < 0.01


def test_resample_does_not_alias() -> None:
    signal = Resample(sfreq=100.0)(recording(sine(80)), "eeg").signal("eeg")
    assert signal.load()[:, 200:-200].std() < 0.01


def test_resample_keeps_an_offset_up_to_the_ends() -> None:
    signal = Resample(sfreq=100.0)(recording(np.ones((1, 500))), "eeg").signal("eeg")
    assert np.abs(signal.load() - 1).max() < 0.01


def test_resample_maps_breaks_without_drift() -> None:
    """Fifty epochs of 33 samples, whose length at the new rate is no whole number."""
    breaks = tuple(range(33, 33 * 50, 33))
    signal = Resample(sfreq=128.0)(recording(np.zeros((1, 33 * 50)), breaks=breaks), "eeg").signal("eeg")
    wanted = np.array(breaks) / SFREQ
    assert np.abs(np.array(signal.breaks) / 128.0 - wanted).max() <= 0.5 / 128.0 + 1e-12
    assert signal.n_times == int(np.floor(33 * 50 * 128 / SFREQ + 0.5))


def test_resample_refuses_a_stretch_that_would_vanish() -> None:
    with pytest.raises(DataError, match="no sample left at 10 Hz"):
        Resample(sfreq=10.0)(recording(noise(), breaks=(1, 2)), "eeg")


def test_pick_orders_by_name_and_says_what_it_left_out() -> None:
    picked = Pick(names=["S2", "S0"])(recording(noise()), "eeg")
    assert picked.signal("eeg").sensors.name == ("S2", "S0")
    np.testing.assert_array_equal(picked.signal("eeg").load(), noise()[[2, 0]])
    assert "S1, S3" in picked.notes[0]
    assert Pick(exclude=["S1"])(recording(noise()), "eeg").signal("eeg").sensors.name == ("S0", "S2", "S3")


def test_average_reference_is_zero_over_sensors_and_ignores_the_old_reference() -> None:
    one = Reference(to="average")(recording(noise()), "eeg").signal("eeg").load()
    two = Reference(to="average")(recording(noise() + sine(3)), "eeg").signal("eeg").load()
    assert np.abs(one.mean(axis=0)).max() < 1e-18
    np.testing.assert_allclose(one, two, atol=1e-15)


def test_reference_leaves_other_kinds_alone() -> None:
    before = recording(noise())
    sensors = replace(before.signal("eeg").sensors, kind=("eeg", "eeg", "mag", "eeg"))
    before = before.with_signal("eeg", replace(before.signal("eeg"), sensors=sensors))
    after = Reference(to="average")(before, "eeg").signal("eeg").load()
    np.testing.assert_array_equal(after[2], noise()[2])
    np.testing.assert_allclose(after[[0, 1, 3]].sum(axis=0), 0, atol=1e-18)


def test_reference_to_one_sensor_leaves_it_out() -> None:
    after = Reference(to=["S1"])(recording(noise()), "eeg").signal("eeg")
    assert after.sensors.name == ("S0", "S2", "S3")
    np.testing.assert_allclose(after.load(), noise()[[0, 2, 3]] - noise()[1])


@pytest.mark.parametrize("per", ["all", "sensor"])
def test_scaling_does_not_depend_on_the_unit_or_an_offset(per: str) -> None:
    step = RobustScale(scope="recording", per=per)
    one = step(recording(noise()), "eeg").signal("eeg")
    two = step(recording(1e6 * noise() + 3.0), "eeg").signal("eeg")
    np.testing.assert_allclose(one.load(), two.load(), atol=1e-6)
    assert one.sensors.unit == ("1",) * 4


def test_one_scale_keeps_the_amplitude_between_sensors() -> None:
    data = noise() * np.array([[1.0], [2.0], [4.0], [8.0]])
    together = (
        RobustScale(scope="recording", clip=None)(recording(data), "eeg").signal("eeg").load().std(axis=1)
    )
    alone = (
        RobustScale(scope="recording", per="sensor")(recording(data), "eeg").signal("eeg").load().std(axis=1)
    )
    np.testing.assert_allclose(together / together[0], [1, 2, 4, 8], rtol=0.05)
    np.testing.assert_allclose(alone, 1.0, rtol=0.05)


def test_kinds_of_sensor_are_scaled_apart() -> None:
    before = recording(noise() * np.array([[1.0], [1.0], [1e-9], [1e-9]]))
    sensors = replace(before.signal("eeg").sensors, kind=("grad", "grad", "mag", "mag"))
    before = before.with_signal("eeg", replace(before.signal("eeg"), sensors=sensors))
    after = RobustScale(scope="recording")(before, "eeg").signal("eeg").load().std(axis=1)
    np.testing.assert_allclose(after, 1.0, rtol=0.05)


def test_clipping_is_counted() -> None:
    data = noise()
    data[0, 10] = 1.0
    after = RobustScale(scope="recording", clip=5.0)(recording(data), "eeg")
    assert after.signal("eeg").load().max() == 5.0
    assert "0.01% of the samples clipped" in after.notes[0]
    assert " V;" in after.notes[0]


def test_training_scope_uses_the_training_recordings_alone() -> None:
    train, test = [recording(noise(seed=1)), recording(3 * noise(seed=2))], recording(100 * noise(seed=3))
    step = RobustScale(scope="training_set", clip=None)
    with pytest.raises(DataError, match="must be fitted"):
        step(test, "eeg")
    (fitted,) = fit([step], train, "eeg")
    assert isinstance(fitted, RobustScale) and fitted.value is not None
    np.testing.assert_allclose(fitted.value["eeg"], 2e-5, rtol=0.05)
    np.testing.assert_allclose(fitted(test, "eeg").signal("eeg").load().std(), 50, rtol=0.05)
    assert RobustScale.model_validate(fitted.model_dump()) == fitted


def test_training_scope_refuses_a_sensor_it_has_not_seen() -> None:
    fitted = RobustScale(scope="training_set").fit(
        [Pick(names=["S0", "S1"])(recording(noise()), "eeg")], "eeg"
    )
    with pytest.raises(DataError, match="sensor S2"):
        fitted(recording(noise()), "eeg")


def test_each_step_is_fitted_on_what_the_earlier_ones_give() -> None:
    steps = [Pick(names=["S0"]), RobustScale(scope="training_set")]
    data = noise() * np.array([[1.0], [9.0], [9.0], [9.0]])
    fitted = fit(steps, [recording(data)], "eeg")
    assert isinstance(fitted[1], RobustScale) and fitted[1].value is not None
    np.testing.assert_allclose(fitted[1].value["eeg"], 1e-5, rtol=0.05)
    (prepared,) = prepare([recording(data)], fitted, "eeg")
    np.testing.assert_allclose(prepared.signal("eeg").load().std(), 1.0, rtol=0.05)


def test_window_scope_scales_each_window_when_it_is_cut() -> None:
    steps = [RobustScale(scope="window")]
    (prepared,) = prepare([recording(noise())], steps, "eeg")
    np.testing.assert_array_equal(prepared.signal("eeg").load(), noise())
    windows = np.stack([noise(), 1000 * noise()]).astype(np.float32)
    scaled = on_windows(steps, windows)
    np.testing.assert_allclose(scaled[0], scaled[1], rtol=1e-4, atol=1e-4)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(on_windows([RobustScale(scope="recording")], windows), windows)


def test_a_flat_sensor_is_named() -> None:
    data = noise()
    data[2] = 0
    with pytest.raises(DataError, match="hand-made: sensor S2 is flat"):
        RobustScale(scope="recording", per="sensor")(recording(data), "eeg")


def test_the_scope_has_no_default() -> None:
    with pytest.raises(ValidationError, match="scope"):
        RobustScale.model_validate({"clip": 5.0})
