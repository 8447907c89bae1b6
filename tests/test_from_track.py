"""A track as a signal: its place in time, what was not measured, where stretches end; and the windows that are cut of it."""

from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.preprocess import has
from brainfm.data.preprocess.from_track import FromTrack
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.data.windows import measured, without
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError

SECONDS = 10.0


def recording(*tracks: Track, breaks: tuple[int, ...] = (), sfreq: float = 100.0) -> Recording:
    """Ten seconds of one contact beside the tracks a, b and so on."""
    data = np.random.default_rng(0).normal(0, 1e-5, (1, round(SECONDS * sfreq)))
    signal = Signal(data, sfreq, Sensors.of(["A1"], "seeg", "V"), breaks)
    return Recording({"seeg": signal}, tracks=dict(zip("abc", tracks, strict=False)), source="hand-made")


def made(track: Track, sfreq: float | None = None, **given: tuple[int, ...]) -> Signal:
    step = FromTrack(track="a", sfreq=sfreq)
    return step(recording(track, **given), "behaviour").signal("behaviour")


def ramp(rate: float, start: float = 0.0, seconds: float = SECONDS) -> Track:
    """What tells its own time: each value is the middle of the time for which it stands, in seconds."""
    return Track(start + (np.arange(round(seconds * rate)) + 0.5) / rate, rate, "s", start)


@pytest.mark.parametrize("sfreq", [50.0, 40.0, 23.7, 7.0])
@pytest.mark.parametrize("start", [0.0, -0.31])
def test_every_sample_is_the_mean_over_its_time(sfreq: float, start: float) -> None:
    """Of a track of time itself that is the middle of the sample, whatever the rates and wherever the track begins."""
    signal = made(ramp(50.0, start, SECONDS + 1), sfreq)
    assert (signal.sfreq, signal.sensors.name) == (sfreq, ("a",))
    assert (set(signal.sensors.kind), set(signal.sensors.unit)) == ({"track"}, {"s"})
    assert signal.n_times == int(SECONDS * sfreq + 1e-6)
    middle = (np.arange(signal.n_times) + 0.5) / sfreq
    # a value stands for 20 ms, so an edge within one is off by 5 ms at most
    np.testing.assert_allclose(signal.load()[0], middle, atol=0.0051 if sfreq < 50 or start else 1e-9)


def test_a_track_that_begins_late_and_ends_early_is_not_filled_in() -> None:
    signal = made(ramp(50.0, 2.0, 5.0))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(signal.load()[0])), np.arange(100, 350))
    assert signal.breaks == (100, 350)


def test_what_was_lost_stays_lost_in_all_columns_and_ends_a_stretch() -> None:
    place = np.random.default_rng(0).normal(size=(600, 2))
    place[200:230, 1] = np.nan
    signal = made(Track(place, 60.0, "px", names=("x", "y")), 30.0)
    assert signal.sensors.name == ("a.x", "a.y")
    lost = np.isnan(signal.load())
    np.testing.assert_array_equal(np.flatnonzero(lost[0]), np.arange(100, 115))
    np.testing.assert_array_equal(lost[0], lost[1])
    assert signal.breaks == (100, 115)
    np.testing.assert_allclose(signal.load()[0, 115], place[230:232, 0].mean())
    step = FromTrack(track="a", sfreq=30.0)
    assert "5.0% not measured" in step(recording(Track(place, 60.0)), "behaviour").notes[0]


def test_stretches_end_where_those_of_the_brain_do() -> None:
    """At 100 Hz the break at 3.5 s is an edge of a sample; at 5 Hz it lies within one, which belongs to neither side."""
    assert made(ramp(100.0), breaks=(350,)).breaks == (350,)
    coarse = made(ramp(100.0), 5.0, breaks=(350,))
    assert coarse.breaks == (17, 18)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(coarse.load()[0])), [17])


def test_scaling_leaves_out_what_was_not_measured() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 500)
    whole = recording(Track(values, 50.0), Track(np.where(np.arange(500) < 100, np.nan, values), 50.0))
    half = recording(Track(values[100:], 50.0, start=2.0))
    scale = RobustScale(scope="recording", clip=None)
    prepared = [
        scale(FromTrack(track=name)(one, "behaviour"), "behaviour").signal("behaviour").load()[0]
        for name, one in (("b", whole), ("a", half))
    ]
    np.testing.assert_allclose(prepared[0], prepared[1])
    assert np.isnan(prepared[0][:100]).all() and abs(np.median(prepared[0][100:])) < 1e-9


def test_windows_are_dropped_where_nothing_was_measured_and_counted() -> None:
    values = np.arange(500.0)
    values[260:310] = np.nan
    one = FromTrack(track="a")(recording(Track(values, 50.0)), "behaviour")
    windows = Sliding(seconds=1.0)([one], "behaviour", [])
    kept = without(windows, measured([one], windows, "behaviour"), "not measured throughout")
    np.testing.assert_allclose(kept.start, [0, 1, 2, 3, 4, 6.2, 7.2, 8.2])
    assert kept.dropped == {"not measured throughout": 1}
    brain = Sliding(seconds=1.0)([one], "seeg", [])
    assert measured([one], brain, "seeg").all() and without(brain, np.ones(10, bool), "x") is brain


def test_a_recording_has_what_a_first_step_makes() -> None:
    one = recording(ramp(50.0))
    first, other = FromTrack(track="a"), FromTrack(track="b")
    scale = RobustScale(scope="recording")
    assert has(one, [first, scale], "behaviour") and has(one, [], "seeg")
    assert not has(one, [other], "behaviour") and not has(one, [scale], "behaviour")
    assert not has(one, [scale, first], "behaviour"), "the scale would find nothing to scale"


@pytest.mark.parametrize(
    ("step", "track", "words"),
    [
        (FromTrack(track="aa"), ramp(50.0), "has no track 'aa'; did you mean 'a'.*; it has a"),
        (FromTrack(track="a", sfreq=60.0), ramp(50.0), "has 50 Hz and is not known at 60 Hz; ask for less"),
        (FromTrack(track="a"), Track(np.array(["left", "right"]), 1.0), "holds no numbers"),
        (FromTrack(track="a"), replace(ramp(50.0), start=20.0), "was never measured while the recording ran"),
        (FromTrack(track="a"), Track(np.full(500, np.nan), 50.0), "was never measured"),
    ],
)
def test_impossible_tracks_are_one_sentence(step: FromTrack, track: Track, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        step(recording(track), "behaviour")
    assert "\n" not in str(caught.value)


def test_a_track_is_behaviour_and_nothing_else() -> None:
    with pytest.raises(
        DataError, match=r"seeg can't be made of a track; from_track is a step of signals.behaviour"
    ):
        FromTrack(track="a")(recording(ramp(50.0)), "seeg")
