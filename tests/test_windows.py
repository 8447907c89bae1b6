"""Windows: where they lie, what they are labelled, what is counted as dropped, what `take` gives."""

from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.windows import Windows, bouts, layouts, place, require_classes, take
from brainfm.data.windows.sliding import Sliding
from brainfm.data.windows.trials import Trials
from brainfm.errors import DataError

SFREQ = 100.0


def recording(
    seconds: float = 10.0, events: list[tuple[float, float, str]] | None = None, breaks: tuple[int, ...] = ()
) -> Recording:
    """Two sensors that count samples: the value says where a window was cut."""
    n = round(seconds * SFREQ)
    data = np.stack([np.arange(n), -np.arange(n)]).astype(float)
    onset, duration, label = zip(*events, strict=True) if events else ((), (), ())
    signal = Signal(data, SFREQ, Sensors.of(["A", "B"], "eeg", "V"), breaks)
    happened = Events(np.array(onset, float), np.array(duration, float), tuple(label))
    return Recording({"eeg": signal}, happened, source="counting")


def test_trials_are_cut_at_the_event_plus_offset() -> None:
    recordings = [recording(events=[(1.0, 0, "go"), (3.0, 0, "stop"), (5.0, 0, "blink")])]
    windows = Trials(seconds=0.5, offset=0.25)(recordings, "eeg", ["stop", "go"])
    assert windows.labels == ("stop", "go")
    assert windows.label.tolist() == [1, 0]
    assert windows.dropped == {"labelled blink": 1}
    cut = take(recordings, windows, [0, 1], "eeg")
    assert cut.shape == (2, 2, 50) and cut.dtype == np.float32
    assert cut[:, 0, 0].tolist() == [125, 325]
    np.testing.assert_array_equal(cut[:, 0], -cut[:, 1])


def test_trials_that_do_not_fit_are_counted() -> None:
    recordings = [recording(events=[(t, 0, "x") for t in (0.0, 2.0, 4.9, 9.0, 9.6)], breaks=(500,))]
    windows = Trials(seconds=1.0, offset=-0.1)(recordings, "eeg", ["x"])
    np.testing.assert_allclose(windows.start, [1.9, 8.9])
    assert windows.dropped == {"crosses a break or an end of the signal": 3}


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_no_sliding_window_crosses_a_break(seconds: float) -> None:
    breaks = (130, 555, 600)
    recordings = [recording(breaks=breaks)]
    windows = Sliding(seconds=seconds, stride=0.07)(recordings, "eeg", [])
    assert len(windows) and (windows.label == -1).all()
    cut = take(recordings, windows, np.arange(len(windows)), "eeg")[:, 0]
    stretch = np.searchsorted(breaks, cut, side="right")
    assert (stretch == stretch[:, :1]).all()
    assert (np.diff(cut, axis=1) == 1).all()
    assert {130, 600} <= set(cut[:, 0].astype(int)), "each stretch that is long enough starts with a window"


def test_sliding_counts_stretches_that_are_too_short() -> None:
    windows = Sliding(seconds=2.0)([recording(breaks=(150, 700))], "eeg", [])
    assert windows.start.tolist() == [1.5, 3.5, 7.0]
    assert windows.dropped == {"a stretch shorter than a window": 1}


def test_sliding_labels_by_overlap() -> None:
    """An event from 2 to 6 s: windows of 2 s are inside it, half inside, a quarter inside, outside."""
    recordings = [recording(events=[(2.0, 4.0, "on")])]
    windows = Sliding(seconds=2.0, stride=0.5)(recordings, "eeg", ["on"])
    assert windows.start.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert windows.dropped == {"in no labelled event": 6, "only partly in a labelled event": 2}
    strict = Sliding(seconds=2.0, stride=0.5, overlap=1.0)(recordings, "eeg", ["on"])
    assert strict.start.tolist() == [2.0, 2.5, 3.0, 3.5, 4.0]


def test_a_window_wholly_inside_an_event_carries_its_label() -> None:
    """A seizure that begins and ends on the edges of windows: the ten windows inside it are ten positives."""
    recordings = [recording(30.0, events=[(10.0, 10.0, "seizure")])]
    windows = Sliding(seconds=1.0, overlap=1.0, background="calm")(recordings, "eeg", ["calm", "seizure"])
    assert windows.counts == {"calm": 20, "seizure": 10}
    assert windows.start[windows.label == 1].tolist() == list(range(10, 20))


def test_overlapping_events_of_one_label_count_once() -> None:
    recordings = [recording(events=[(0.0, 0.8, "on"), (0.0, 0.8, "on"), (0.5, 0.2, "on")])]
    windows = Sliding(seconds=2.0)(recordings, "eeg", ["on"])
    assert len(windows) == 0 and windows.dropped["only partly in a labelled event"] == 1


@pytest.mark.parametrize("cut", [Trials(seconds=1.0), Sliding(seconds=1.0)])
def test_no_events_is_one_sentence(cut: Trials | Sliding) -> None:
    with pytest.raises(DataError, match="counting has no events"):
        cut([recording()], "eeg", ["x", "y"])
    with pytest.raises(DataError, match="no event is labelled x or y; the labels are: z"):
        cut([recording(events=[(0, 1, "z")])], "eeg", ["x", "y"])


def test_events_without_duration_can_not_label_sliding_windows() -> None:
    with pytest.raises(DataError, match="cut with `trials`"):
        Sliding(seconds=1.0)([recording(events=[(0, 0, "z")])], "eeg", ["z"])


def test_one_class_is_one_sentence() -> None:
    cut = Trials(seconds=1.0)
    recordings = [recording(events=[(1, 1, "x"), (3, 1, "x")])]
    with pytest.raises(DataError, match="every window is labelled 'x'"):
        require_classes(cut(recordings, "eeg", ["x", "y"]))
    with pytest.raises(DataError, match="no window is labelled 'q'"):
        require_classes(cut([recording(events=[(1, 1, "x"), (3, 1, "y")])], "eeg", ["x", "y", "q"]))
    require_classes(cut([recording(events=[(1, 1, "x"), (3, 1, "y")])], "eeg", ["x", "y"]))


@pytest.mark.parametrize("sfreq", [64.0, 96.0, 99.9, 128.0])
def test_every_window_has_the_same_count_after_resampling(sfreq: float) -> None:
    """Epochs of 0.33 s: the new rate rounds their edges either way, and each still gives its window."""
    events = [(33 * epoch / SFREQ, 0.0, "x") for epoch in range(30)]
    before = recording(9.9, events=events, breaks=tuple(range(33, 990, 33)))
    after = Resample(sfreq=sfreq)(before, "eeg")
    windows = Trials(seconds=0.3)([after], "eeg", [])
    assert len(windows) == 30
    cut = take([after], windows, np.arange(30), "eeg")
    assert cut.shape == (30, 2, int(np.floor(0.3 * sfreq + 0.5)))
    begins = np.array([0, *after.signal("eeg").breaks])
    firsts = [place(after.signal("eeg"), start, 0.3) for start in windows.start.tolist()]
    assert np.abs(np.array(firsts) - begins).max() <= 1


def test_a_start_that_rounds_past_the_end_moves_by_one_sample_and_no_more() -> None:
    signal = recording(2.0, breaks=(100,)).signal("eeg")
    assert place(signal, 0.506, 0.5) == 50
    assert place(signal, 0.994, 0.5) == 100
    assert place(signal, 0.52, 0.5) is None
    assert place(signal, -0.01, 0.5) == 0
    assert place(signal, -0.02, 0.5) is None


def test_take_keeps_the_order_of_rows_and_works_window_by_window() -> None:
    recordings = [recording(events=[(1, 0, "x"), (3, 0, "x")]), recording(events=[(7, 0, "x")])]
    windows = Trials(seconds=1.0)(recordings, "eeg", ["x"])
    cut = take(recordings, windows, [2, 0, 2], "eeg")
    assert cut[:, 0, 0].tolist() == [700, 100, 700]
    scaled = take(recordings, windows, [2, 0], "eeg", [RobustScale(scope="window")])
    np.testing.assert_allclose(scaled[0], scaled[1], atol=1e-6)
    np.testing.assert_allclose(np.median(scaled, axis=2), 0, atol=1e-6)


def test_take_refuses_recordings_of_different_layout() -> None:
    one = recording(events=[(1, 0, "x")])
    signal = one.signal("eeg")
    other = replace(
        one.with_signal("eeg", replace(signal, sensors=Sensors.of(["A", "C"], "eeg", "V"))), source="odd"
    )
    faster = one.with_signal("eeg", replace(signal, sfreq=200.0))
    windows = Trials(seconds=1.0)([one, other], "eeg", ["x"])
    with pytest.raises(DataError, match="counting and odd differ in sensors B, C"):
        take([one, other], windows, [0, 1], "eeg")
    assert take([one, other], windows, [1], "eeg").shape == (1, 2, 100)
    with pytest.raises(DataError, match="100 and 200 Hz"):
        take([one, faster], Trials(seconds=1.0)([one, faster], "eeg", ["x"]), [0, 1], "eeg")
    assert layouts([one, other, one, faster], "eeg") == [[0, 2], [1], [3]]


def test_take_refuses_a_window_across_a_break() -> None:
    windows = Windows(np.array([0]), np.array([4.5]), 1.0, np.array([-1]))
    with pytest.raises(DataError, match=r"window at 4\.500 s crosses a break"):
        take([recording(breaks=(500,))], windows, [0], "eeg")


def test_bouts_end_where_the_label_changes_at_breaks_and_with_the_recording() -> None:
    events = [(float(t), 0.0, label) for t, label in enumerate("aabbbba")]
    recordings = [recording(events=events, breaks=(400,)), recording(events=events[:2])]
    windows = Trials(seconds=1.0)(recordings, "eeg", ["a", "b"])
    assert [rows.tolist() for rows in bouts(windows, recordings)] == [[0, 1], [2, 3], [4, 5], [6], [7, 8]]
    shuffled = np.random.default_rng(0).permutation(len(windows))
    back = [sorted(shuffled[rows].tolist()) for rows in bouts(windows.rows(shuffled), recordings)]
    assert back == [[0, 1], [2, 3], [4, 5], [6], [7, 8]]
