"""Files that say that their acquisition stopped: where stretches end, and what was never recorded."""

from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.io import savemat

from brainfm.data.events import EventSource
from brainfm.data.pauses import Pauses
from brainfm.data.readers import Entry
from brainfm.data.readers.bids import Bids
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.reading import read, read_entry
from brainfm.data.recording import Events, Recording
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding

SFREQ = 100.0
NAMES = ["Cz", "Pz", "Oz"]


def paused(path: Path, stim: bool = False) -> Path:
    """A minute of which the seconds 20 to 40 were not recorded, and events at 10, 30 and 50 s."""
    rng = np.random.default_rng(0)
    data = rng.normal(0, 1e-5, (3, 6000))
    kinds = ["eeg"] * 3
    if stim:
        marks = np.zeros((1, 6000))
        marks[0, [1000, 3000, 5000]] = 1, 2, 3
        data, kinds = np.concatenate([data, marks]), [*kinds, "stim"]
    raw = mne.io.RawArray(data, mne.create_info([*NAMES, "STI"][: len(data)], SFREQ, kinds), verbose="error")
    onset, word = [20.0, 10.0, 30.0, 50.0], ["BAD_ACQ_SKIP", "a", "b", "c"]
    several = 1 if stim else 4
    raw.set_annotations(mne.Annotations(onset[:several], [20.0, 1.0, 1.0, 1.0][:several], word[:several]))
    raw.save(path, verbose="error", buffer_size_sec=1.0)
    return path


def test_a_pause_of_the_acquisition_is_left_out(tmp_path: Path) -> None:
    """MNE fills it with zeros; a recording goes on after it in a new stretch, and its events with it."""
    recording = read(paused(tmp_path / "a_raw.fif"))
    signal = recording.signal("eeg")
    assert (signal.n_times, signal.breaks, recording.pauses) == (4000, (2000,), ((20.0, 40.0),))
    assert "left out, a pause of the acquisition: 20.000 s" in recording.notes
    raw = mne.io.read_raw_fif(tmp_path / "a_raw.fif", verbose="error").get_data()
    np.testing.assert_array_equal(signal.load(), np.delete(raw, slice(2000, 4000), axis=1))
    np.testing.assert_array_equal(signal.data[:, 1990:2010], signal.load()[:, 1990:2010])
    fewer = signal.data.take([2, 0])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(fewer[:, :], signal.load()[[2, 0]])
    assert recording.events.label == ("a", "c")
    np.testing.assert_allclose(recording.events.onset, [10.0, 30.0], atol=1e-9)
    windows = Sliding(seconds=2.0)([recording], "eeg", [])
    assert len(windows) == 20
    assert np.abs(take([recording], windows, range(20), "eeg")).max(axis=(1, 2)).min() > 0


def test_events_of_a_stimulus_channel_follow(tmp_path: Path) -> None:
    recording = read(paused(tmp_path / "a_raw.fif", stim=True))
    by_word = dict(zip(recording.events.label, recording.events.onset.tolist(), strict=True))
    assert by_word["1"] == pytest.approx(10.0) and by_word["3"] == pytest.approx(30.0)


def test_events_beside_the_file_are_on_its_clock(tmp_path: Path) -> None:
    paused(tmp_path / "s1_raw.fif")
    rows = "onset\tduration\ttrial_type\n10\t15\tx\n30\t1\ty\n50\t1\tz\n"
    (tmp_path / "s1_events.tsv").write_text(rows)
    place = Entry(tmp_path / "s1_raw.fif")
    recording = read_entry(MneFile(), place, EventSource(source="bids"))
    named = read_entry(MneFile(), place, EventSource(source="file", file="{stem}_events.tsv"))
    assert named.events.label == recording.events.label
    np.testing.assert_array_equal(named.events.onset, recording.events.onset)
    assert recording.events.label == ("x", "z")
    np.testing.assert_allclose(recording.events.onset, [10.0, 30.0])
    np.testing.assert_allclose(recording.events.duration, [10.0, 1.0])  # it lasted into the pause


def test_events_of_a_bids_table_follow(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "meg"
    folder.mkdir(parents=True)
    data = np.random.default_rng(0).normal(0, 2e-13, (3, 6000))
    raw = mne.io.RawArray(data, mne.create_info(["M1", "M2", "M3"], SFREQ, "mag"), verbose="error")
    raw.set_annotations(mne.Annotations([20.0], [20.0], ["BAD_ACQ_SKIP"]))
    path = folder / "sub-01_task-x_meg.fif"
    raw.save(path, verbose="error", buffer_size_sec=1.0)
    rows = "onset\tduration\ttrial_type\n10\t1\tx\n30\t1\ty\n55\t1\tz\n"
    (folder / "sub-01_task-x_events.tsv").write_text(rows, encoding="utf-8")
    recording = Bids(datatype="meg", on_error="repair").read(path)
    assert recording.signal("meg").n_times == 4000 and recording.events.label == ("x", "z")
    np.testing.assert_allclose(recording.events.onset, [10.0, 35.0])


def test_a_clock_with_pauses() -> None:
    pauses = Pauses(((2.0, 3.0), (5.0, 9.0)))
    np.testing.assert_allclose(pauses.at(np.array([1.0, 2.5, 3.0, 5.0, 7.0, 10.0])), [1, 2, 2, 4, 4, 5])
    assert pauses.recorded(10.0, 120) == ((0, 20), (30, 50), (90, 120)) and pauses.seconds == 5.0
    onset, duration = np.array([1.5, 2.0, 3.0, 4.0]), np.array([1.0, 9.0, 0.5, 6.0])
    kept = pauses.leave_out(Events(onset, duration, ("a", "b", "as it goes on", "c")))
    assert kept.label == ("a", "as it goes on", "c")
    np.testing.assert_allclose(kept.onset, [1.5, 2.0, 3.0])
    np.testing.assert_allclose(kept.duration, [0.5, 0.5, 2.0])


@pytest.mark.parametrize("cut", [500, 501, 1, 2])
def test_a_stretch_of_eeglab_begins_at_the_sample_after_the_cut(tmp_path: Path, cut: int) -> None:
    """Its boundaries lie half-way between two samples."""
    signal = eeglab(tmp_path / "x.set", cut).signal("eeg")
    assert signal.breaks == (cut,)
    assert int(np.argmax(np.abs(np.diff(signal.load()[0])))) + 1 == cut


def eeglab(path: Path, cut: int) -> Recording:
    """A recording that steps by half a millivolt at the sample `cut`, before which something was cut out."""
    n = 2000
    data = np.random.default_rng(0).normal(0, 10, (3, n))
    data[:, cut:] += 500.0
    events = np.zeros(1, dtype=[("type", object), ("latency", object), ("duration", object)])
    events[0] = ("boundary", cut + 0.5, 0.0)
    places = np.zeros(3, dtype=[("labels", object)])
    for row, name in enumerate(NAMES):
        places[row] = (name,)
    none = dict.fromkeys(("icawinv", "icasphere", "icaweights", "icaact", "epoch"), np.zeros((0, 0)))
    size = {
        "nbchan": 3.0,
        "pnts": float(n),
        "trials": 1.0,
        "srate": SFREQ,
        "xmin": 0.0,
        "xmax": (n - 1) / SFREQ,
    }
    said = {
        "setname": "x",
        "filename": path.name,
        "filepath": "",
        "ref": "common",
        "chaninfo": {"plotrad": 0.5},
    }
    held = {"data": data, "chanlocs": places, "event": events, "times": np.arange(n) / SFREQ * 1000}
    savemat(path, {"EEG": {**none, **size, **said, **held}}, appendmat=False)
    return read(path)
