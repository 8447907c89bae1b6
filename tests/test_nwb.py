"""NWB gives neurons, events, tracks and field potentials on one clock, and refuses what does not fit."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny
from little_files import SECONDS, same, write_nwb

from brainfm.data.cards import DataCard
from brainfm.data.readers.nwb import Nwb
from brainfm.data.reading import read
from brainfm.data.windows.trials import Trials
from brainfm.errors import DataError


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nwb_gives_neurons_events_and_tracks(tmp_path: Path, trains: list[np.ndarray]) -> None:
    recording = Nwb(codes="direction", marks=["go_cue_time"]).read(write_nwb(tmp_path / "a.nwb", trains))
    assert same(recording, [trains[0], trains[1], trains[3]])
    signal = recording.signal("spikes")
    assert signal.seconds == pytest.approx(SECONDS)
    assert signal.sensors.kind == ("neuron", "multiunit", "neuron")
    assert signal.sensors.name == ("unit0", "unit1", "unit3")
    assert signal.sensors.region == ("VISp3", "VISp2", "VISp0") and signal.sensors.frame == "own"
    np.testing.assert_allclose(signal.sensors.position[0], [300e-6, 20e-6, 3000e-6])
    assert any("left out by their quality: unit2" in note for note in recording.notes)
    label = np.array(recording.events.label)
    assert (label == "left").sum() == 3 and (label == "right").sum() == 2 and (label == "lick").sum() == 3
    np.testing.assert_allclose(recording.events.onset[label == "left"], [2, 22, 42])
    np.testing.assert_allclose(recording.events.onset[label == "go_cue_time"], [2.5, 12.5, 22.5, 32.5, 42.5])
    np.testing.assert_allclose(recording.events.onset[label == "unobserved"], [30.0])
    np.testing.assert_allclose(recording.events.duration[label == "unobserved"], [2.0])
    cursor, wheel = recording.tracks["cursor"], recording.tracks["wheel"]
    assert (cursor.rate, cursor.unit, cursor.start) == (5.0, "m", 1.0)
    np.testing.assert_allclose(cursor.data, np.arange(600.0).reshape(300, 2) * 0.01)
    assert wheel.rate == pytest.approx(10.0, rel=0.05) and wheel.unit == "rad"
    assert (recording.subject, recording.session) == ("m7", "day2")
    assert set(recording.signals) == {"spikes"}, "field potentials are read when they are asked for"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nwb_counts_times_from_the_observation(tmp_path: Path, trains: list[np.ndarray]) -> None:
    early = Nwb().read(write_nwb(tmp_path / "a.nwb", trains))
    late = Nwb().read(write_nwb(tmp_path / "b.nwb", trains, start=-7.0))
    assert late.content_hash == early.content_hash
    np.testing.assert_allclose(late.events.onset, early.events.onset, atol=1e-9)
    assert late.tracks["cursor"].start == early.tracks["cursor"].start
    assert any("times count from -7 s" in note for note in late.notes)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nwb_reads_field_potentials_when_asked(tmp_path: Path, trains: list[np.ndarray]) -> None:
    path = write_nwb(tmp_path / "a.nwb", trains)
    recording = Nwb(modalities=["spikes", "seeg"]).read(path)
    field, spikes = recording.signal("seeg"), recording.signal("spikes")
    assert field.sfreq == 500.0 and field.sensors.region == ("VISp1", "VISp3")
    volts = np.random.default_rng(1).normal(0, 40, (25_000, 2)) * 1e-6
    np.testing.assert_allclose(field.data[:, 700:703], volts[700:703].T)
    np.testing.assert_allclose(field.data.take([1])[0, 5:9], volts[5:9, 1])
    assert spikes.seconds == field.seconds == 50.0
    inside = trains[0][(trains[0] >= 5) & (trains[0] < 55)]
    np.testing.assert_allclose(spikes.data.train(0), inside - 5, atol=1e-9)
    assert any("lie outside the electrical series" in note for note in recording.notes)
    assert recording.events.onset[0] == pytest.approx(2.0 - 5.0)
    assert set(Nwb(modalities=["seeg"]).read(path).signals) == {"seeg"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_has_no_time_is_left_out_with_a_note(tmp_path: Path, trains: list[np.ndarray]) -> None:
    """Windows can't be cut around a time that is not known; trials that never began are kept in many published files."""
    path = write_nwb(tmp_path / "a.nwb", trains)
    with h5py.File(path, "r+") as file:
        file["intervals/trials/start_time"][[1, 4]] = np.nan
        file["processing/behavior/BehavioralEvents/lick/timestamps"][0] = np.nan
    reader = Nwb(codes="direction", marks=["go_cue_time"])
    recording = reader.read(path)
    label = np.array(recording.events.label)
    np.testing.assert_allclose(recording.events.onset[label == "left"], [2, 22])
    np.testing.assert_allclose(recording.events.onset[label == "right"], [32])
    np.testing.assert_allclose(recording.events.onset[label == "lick"], [9, 21])
    assert (label == "go_cue_time").sum() == 5, "what a trial marks has a time of its own"
    assert {"2 of 5 trials have no start time, left out", "1 of 3 events lick have no time, left out"} < {
        *recording.notes
    }
    assert len(Trials(seconds=1.0)([recording], "spikes", ["left", "right"])) == 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_whose_a_file_is_it_may_say_itself(tmp_path: Path, trains: list[np.ndarray]) -> None:
    path = write_nwb(tmp_path / "a.nwb", trains)
    own, told = read(path), read(path, subject="x", run="1")
    assert (own.subject, own.session, own.run) == ("m7", "day2", "")
    assert (told.subject, told.session, told.run) == ("x", "day2", "1")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nwb_that_does_not_fit_is_refused(tmp_path: Path, trains: list[np.ndarray]) -> None:
    path = write_nwb(tmp_path / "a.nwb", trains)
    for settings, words in [
        ({"codes": "colour"}, "trials has no column 'colour'; it has start_time"),
        ({"intervals": ["sleep"]}, "no table of intervals 'sleep'"),
        ({"quality": "snr"}, "no column 'snr'"),
        ({"modalities": ["seeg"], "series": "csd"}, "name one of its electrical series with `series:`: lfp"),
    ]:
        with pytest.raises(DataError, match=words):
            Nwb(**settings).read(path)
    (tmp_path / "b.nwb").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="can't be read as NWB"):
        Nwb().read(tmp_path / "b.nwb")
    with pytest.raises(DataError, match="does not exist"):
        Nwb().read(tmp_path / "c.nwb")
    wrong = write_nwb(tmp_path / "d.nwb", trains, scale=1e3)
    with pytest.raises(DataError, match="look like ms labelled s"):
        Nwb().read(wrong)
    right = Nwb(unit="ms").read(wrong)
    assert right.content_hash == Nwb().read(path).content_hash


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_card_without_events_keeps_none_outside_either(tmp_path: Path, trains: list[np.ndarray]) -> None:
    """The field potential begins 5 s late, at 5 s of the file's clock, after the first trial."""
    (tmp_path / "nwb").mkdir()
    write_nwb(tmp_path / "nwb" / "a.nwb", trains)
    reader = "{kind: nwb, modalities: [spikes, seeg]}"
    card = tiny.card(tmp_path, "seen", reader, "nwb", "{subject}.nwb", more="", modality="seeg")
    (recording,) = DataCard.load(card).recordings()
    assert len(recording.events) and recording.events.onset.min() >= 0
    assert any("events lie outside the recording and were left out" in note for note in recording.notes)
