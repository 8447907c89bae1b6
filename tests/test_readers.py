"""Readers: volts, positions, events and laziness for every format that a library here can write, and real files."""

import gzip
import os
import warnings
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from brainfm.data.events import EventSource, attach_events
from brainfm.data.lazy import LazyRaw
from brainfm.data.positions import to_mni
from brainfm.data.readers import Entry
from brainfm.data.readers.matlab_epochs import MatlabEpochs
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.readers.table import Table
from brainfm.data.readers.zip_segments import ZipSegments
from brainfm.data.reading import from_array, read, read_entry
from brainfm.data.recording import Events
from brainfm.errors import DataError

NAMES = ["Fp1", "Cz", "O2"]
SFREQ = 100.0
REAL = Path(os.environ.get("BRAINFM_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def volts() -> np.ndarray:
    """Three sensors of 20 µV for 10 s."""
    return np.random.default_rng(0).normal(0, 20e-6, (3, 1000))


def raw_of(data: np.ndarray, names: list[str] = NAMES, kinds: str | list[str] = "eeg") -> mne.io.RawArray:
    """An annotated `Raw` without positions."""
    raw = mne.io.RawArray(data, mne.create_info(names, SFREQ, kinds), verbose="error")
    return raw.set_annotations(mne.Annotations([1.0, 4.5], [0.5, 0.5], ["go", "stop"]))


def write(raw: mne.io.RawArray, path: Path) -> Path:
    """The raw in the format of the suffix."""
    if path.name.endswith((".fif", ".fif.gz")):
        raw.save(path, overwrite=True, verbose="error")
    else:
        mne.export.export_raw(path, raw, verbose="error")
    return path


@pytest.mark.parametrize("name", ["a.edf", "a.bdf", "a.vhdr", "a.set", "a_raw.fif", "a_raw.fif.gz"])
def test_every_format_gives_volts_positions_and_events(tmp_path: Path, volts: np.ndarray, name: str) -> None:
    path = write(raw_of(volts), tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read(path)
    signal = recording.signal("eeg")
    assert signal.sensors.name == tuple(NAMES)
    assert signal.sensors.unit == ("V",) * 3
    assert signal.sfreq == SFREQ
    np.testing.assert_allclose(signal.load()[:, :1000], volts, atol=2e-8)
    assert signal.sensors.frame == "approximate"
    assert 0.05 < signal.sensors.position[1, 2] < 0.15  # the vertex lies above the brain's middle, in metres
    found = {
        label.rpartition("/")[2]: onset  # BrainVision says what kind of marker it is: "Comment/go"
        for onset, label in zip(recording.events.onset, recording.events.label, strict=True)
    }
    assert found["go"] == pytest.approx(1.0, abs=0.011)
    assert found["stop"] == pytest.approx(4.5, abs=0.011)
    assert len(recording.content_hash) == 64


@pytest.mark.parametrize("name", ["a.edf", "a.vhdr", "a_raw.fif"])
def test_samples_stay_on_disk_until_sliced(tmp_path: Path, volts: np.ndarray, name: str) -> None:
    data = read(write(raw_of(volts), tmp_path / name)).signal("eeg").data
    assert isinstance(data, LazyRaw)
    assert not data.raw.preload
    whole = data[:, :]
    np.testing.assert_array_equal(data[[2, 0], 10:20], whole[[2, 0], 10:20])
    np.testing.assert_array_equal(data[1, 5], whole[1, 5])
    np.testing.assert_array_equal(data[:, [7, 3]], whole[:, [7, 3]])
    np.testing.assert_array_equal(data[:, -5:], whole[:, -5:])
    np.testing.assert_array_equal(data.take([2])[0], whole[2])


def test_unit_overrides_the_label_whatever_the_label_was(tmp_path: Path, volts: np.ndarray) -> None:
    in_volts = write(raw_of(volts * 1e3), tmp_path / "a_raw.fif")  # millivolts in a file that says volts
    in_microvolts = write(
        raw_of(volts * 1e-3), tmp_path / "a.edf"
    )  # millivolts in a file that says microvolts
    np.testing.assert_allclose(read(in_volts, unit="mV").signal("eeg").load(), volts, rtol=1e-5)
    np.testing.assert_allclose(read(in_microvolts, unit="mV").signal("eeg").load(), volts, atol=2e-7)


def test_an_edf_that_is_cut_short_is_refused(tmp_path: Path, volts: np.ndarray) -> None:
    path = write(raw_of(volts), tmp_path / "a.edf")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.edf is cut short: its header promises \d+ bytes"):
        read(path)


def test_brainvision_data_that_are_cut_short_are_refused(tmp_path: Path, volts: np.ndarray) -> None:
    path = write(raw_of(volts), tmp_path / "a.vhdr")
    path.write_text(path.read_text().replace("[Common Infos]", "[Common Infos]\nDataPoints=1000"))
    assert read(path).signal("eeg").n_times == 1000
    data = tmp_path / "a.eeg"
    data.write_bytes(data.read_bytes()[:-1200])
    with pytest.raises(DataError, match=r"a\.vhdr is cut short: its header promises 1000 samples"):
        read(path)


@pytest.mark.parametrize("share", [0.02, 0.5])
@pytest.mark.parametrize("name", ["a_raw.fif", "a_raw.fif.gz", "a.set"])
def test_other_broken_files_are_refused(tmp_path: Path, volts: np.ndarray, name: str, share: float) -> None:
    path = write(raw_of(volts), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"a[_a-z]*\."):
        read(path)


def test_what_is_no_eeg_is_left_out_with_a_note(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(0, 20e-6, (5, 1000))
    names = ["EEG FP1-REF", "EEG T3", "ECG ECG", "Status", "C3.."]
    recording = read(raw_of(data, names))
    assert recording.signal("eeg").sensors.name == ("Fp1", "T7", "C3")
    np.testing.assert_array_equal(recording.signal("eeg").load(), data[[0, 1, 4]])
    assert "left out, no brain signal: ECG ECG (ecg), Status (status)" in recording.notes
    assert any("T3 to T7" in note for note in recording.notes)


def test_channels_are_dropped_kept_renamed_and_retyped(volts: np.ndarray) -> None:
    raw = raw_of(volts, ["POL X1", "POL X2", "POL Cz"])
    part = MneFile(strip="POL ", rename={"X1": "Pz"}, drop=["X2"])
    recording = read(raw, reader=part)
    assert recording.signal("eeg").sensors.name == ("Pz", "Cz")
    assert "left out, as asked: POL X2" in recording.notes
    assert read(raw, reader=MneFile(strip="POL ", keep=["Cz"])).signal("eeg").sensors.name == ("Cz",)
    kinds = MneFile(strip="POL ", kinds={"X*": "misc"})
    assert read(raw, reader=kinds).signal("eeg").sensors.name == ("Cz",)
    with pytest.raises(DataError, match="no channel 'Oz' to keep"):
        read(raw, reader=MneFile(keep=["Oz"]))


def test_stimulus_channels_give_events_from_the_first_sample(tmp_path: Path, volts: np.ndarray) -> None:
    stim = np.zeros((1, 1000))
    stim[0, 300:310], stim[0, 600:610] = 1, 2
    raw = raw_of(np.vstack([volts, stim]), [*NAMES, "STI 014"], ["eeg"] * 3 + ["stim"])
    raw.set_annotations(None)
    path = write(raw.crop(tmin=1.0), tmp_path / "a_raw.fif")
    recording = read(path)
    assert recording.events.label == ("1", "2")
    np.testing.assert_allclose(recording.events.onset, [2.0, 5.0])
    asked = read(path, events=EventSource(source="stim", codes={"2": "right"}, duration=1.5))
    assert (asked.events.label, list(asked.events.duration)) == (("right",), [1.5])
    assert "1 events '1' have no label and were left out" in asked.notes
    with pytest.raises(DataError, match="no events as annotations"):
        read(path, events=EventSource(source="annotations"))


@pytest.mark.parametrize("date", [None, datetime(2020, 1, 1, tzinfo=UTC)])
def test_annotations_of_a_cropped_raw_count_from_its_first_sample(
    volts: np.ndarray, date: datetime | None
) -> None:
    raw = raw_of(volts).set_meas_date(date)
    marks = mne.Annotations([1.0, 4.5, 6.0], [0.5, 0.5, 0.0], ["go", "stop", "boundary"])
    recording = read(raw.set_annotations(marks).crop(tmin=2.0))
    assert recording.events.label == ("stop", "boundary")
    np.testing.assert_allclose(recording.events.onset, [2.5, 4.0])
    assert recording.signal("eeg").breaks == (400,)


def test_events_from_a_bids_table_beside_the_file(tmp_path: Path, volts: np.ndarray) -> None:
    raw = raw_of(volts)
    raw.set_annotations(None)
    path = write(raw, tmp_path / "sub-1_task-x_eeg.edf")
    rows = "onset\tduration\ttrial_type\n3.0\t0.5\tright\n1.0\tn/a\tleft\n99.0\t1\tleft\n"
    (tmp_path / "sub-1_task-x_events.tsv").write_text(rows)
    recording = read(path)
    assert recording.events.label == ("left", "right")
    np.testing.assert_allclose(recording.events.onset, [1.0, 3.0])
    assert "1 events lie outside the recording and were left out" in recording.notes


@pytest.mark.parametrize(
    ("onset", "note"),
    [
        ([1.0, 99.0], "1 events lie outside the recording and were left out"),
        ([np.nan, 1.0, -1.0], "2 events lie outside the recording, or have no time, and were left out"),
    ],
)
def test_events_without_a_time_in_the_recording_are_left_out(
    volts: np.ndarray, onset: list[float], note: str
) -> None:
    """Whatever reader they come from: a comparison with NaN is never true."""
    given = Events(np.array(onset), np.zeros(len(onset)), ("go",) * len(onset))
    recording = attach_events(
        from_array(volts, SFREQ, NAMES, events=given), EventSource(), Entry(Path("a")), MneFile()
    )
    assert (recording.events.onset.tolist(), recording.notes[-1]) == ([1.0], note)


def test_events_from_a_file_respect_the_first_sample(tmp_path: Path, volts: np.ndarray) -> None:
    path = write(raw_of(volts).crop(tmin=2.0), tmp_path / "rec_raw.fif.gz")
    mne.write_events(tmp_path / "rec-eve.fif", np.array([[350, 0, 7]]), verbose="error")
    recording = read(path, events=EventSource(source="file", file="{stem}-eve.fif", codes={"7": "go"}))
    np.testing.assert_allclose(recording.events.onset, [1.5])
    with pytest.raises(DataError, match=r"rec-events\.tsv, which is not there"):
        read(path, events=EventSource(source="file", file="{stem}-events.tsv"))


def test_the_name_of_a_file_can_be_its_label(tmp_path: Path, volts: np.ndarray) -> None:
    path = write(raw_of(volts), tmp_path / "a.edf")
    recording = read_entry(
        MneFile(), Entry(path, "7", "", "2"), EventSource(source="name", codes={"2": "task"}), "set"
    )
    assert (recording.events.label, recording.events.onset[0]) == (("task",), 0.0)
    assert recording.events.duration[0] == pytest.approx(10.0)
    assert (recording.dataset, recording.subject, recording.run) == ("set", "7", "2")


def test_objects_and_arrays_are_read_as_they_are(volts: np.ndarray) -> None:
    raw = raw_of(volts)
    recording = read(raw, subject="s")
    assert recording.subject == "s"
    np.testing.assert_array_equal(recording.signal("eeg").load(), volts)
    array = from_array(volts * 1e6, SFREQ, NAMES, unit="µV")
    np.testing.assert_allclose(array.signal("eeg").load(), volts)
    assert array.signal("eeg").sensors.name == recording.signal("eeg").sensors.name
    with pytest.raises(DataError, match="use from_array"):
        read(volts)


def test_epochs_become_one_signal_with_breaks(volts: np.ndarray) -> None:
    raw = raw_of(volts)
    events = np.array([[200, 0, 1], [500, 0, 2], [800, 0, 1]])
    epochs = mne.Epochs(
        raw, events, {"a": 1, "b": 2}, -0.5, 0.99, baseline=None, preload=True, verbose="error"
    )
    recording = read(epochs)
    signal = recording.signal("eeg")
    assert signal.breaks == (150, 300)
    assert recording.events.label == ("a", "b", "a")
    np.testing.assert_allclose(recording.events.onset, [0.5, 2.0, 3.5])
    np.testing.assert_allclose(recording.events.duration, 1.0)
    np.testing.assert_array_equal(signal.load()[:, 200], volts[:, 500])
    epochs.apply_function(lambda data: data * 1e3)
    np.testing.assert_allclose(read(epochs, unit="mV").signal("eeg").load(), signal.load())


def test_positions_of_a_file_win_over_the_montage(volts: np.ndarray) -> None:
    raw = raw_of(volts, ["E1", "E2", "E3"])
    places = {"E1": [0.0, 0.09, 0.04], "E2": [0.0, 0.0, 0.12], "E3": [0.0, -0.08, 0.03]}
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    recording = read(raw)
    expected = to_mni(np.array(list(places.values())))
    np.testing.assert_allclose(recording.signal("eeg").sensors.position, expected, atol=1e-9)


def test_find_reads_placeholders_and_names_what_is_there(tmp_path: Path) -> None:
    for name in (
        "sub-02/sub-02_run-1.edf",
        "sub-01/sub-01_run-2.edf",
        "sub-01/sub-09_run-3.edf",
        "r-[x.y]_raw.fif.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = MneFile().find(tmp_path, "sub-{subject}/sub-{subject}_run-{run}.edf")
    assert [(entry.subject, entry.run, entry.session) for entry in found] == [
        ("01", "2", ""),
        ("02", "1", ""),
    ]
    assert MneFile().find(tmp_path, "r-*{session}_raw.fif.gz")[0].session == "[x.y]"
    assert len(MneFile().find(tmp_path, "**/*.edf")) == 3
    with pytest.raises(
        DataError, match=r"pattern '\*\.bdf'; there is r-\[x\.y\]_raw\.fif\.gz, sub-01/sub-01"
    ):
        MneFile().find(tmp_path, "*.bdf")
    with pytest.raises(DataError, match=r"\{person\} is not known; use \{subject\}"):
        MneFile().find(tmp_path, "{person}.edf")


def test_matlab_windows(tmp_path: Path) -> None:
    windows = np.random.default_rng(0).normal(0, 10, (50, 2, 4))  # time, sensor, window
    windows[..., 3] = windows[..., 0]
    names = np.array(["C3", "C4"], dtype=object)
    savemat(tmp_path / "a.mat", {"x": windows, "y": np.array([0, 1, 1, 0]), "names": names})
    part = MatlabEpochs(
        windows="x", axes=["time", "sensor", "window"], labels="y", names="names", sfreq=100.0, unit="µV"
    )
    recording = part.read(tmp_path / "a.mat")
    signal = recording.signal("eeg")
    assert signal.breaks == (50, 100)
    assert recording.events.label == ("0", "1", "1")
    np.testing.assert_allclose(recording.events.onset, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(signal.load()[:, 50:100], windows[:, :, 1].T * 1e-6)
    assert "1 windows that copy another were left out" in recording.notes
    with pytest.raises(DataError, match="no variable 'z'; it has x, y, names"):
        part.model_copy(update={"windows": "z"}).read(tmp_path / "a.mat")


def test_segments_in_a_zip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {f"set/{label}/{n}.TXT": rng.normal(0, 30, 200 + n) for label in "ab" for n in (1, 2)}
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for name, values in rows.items():
            archive.writestr(name, "\n".join(map(str, values)))
    part = ZipSegments(
        members="*/{label}/*.txt", sensors=["EEG"], sfreq=200.0, unit="µV", positions="none", samples=200
    )
    recording = part.read(tmp_path / "s.zip")
    assert recording.events.label == ("a", "a", "b", "b")
    assert recording.signal("eeg").sensors.frame == "none"
    np.testing.assert_allclose(recording.signal("eeg").load()[0, 200:400], rows["set/a/2.TXT"][:200] * 1e-6)
    with pytest.raises(DataError, match="segments have the shapes"):
        part.model_copy(update={"samples": None}).read(tmp_path / "s.zip")


def table(path: Path, **columns: object) -> Path:
    """A gzipped CSV of two sensors at 128 Hz."""
    rng = np.random.default_rng(0)
    start = {"t": np.arange(640) / 128, "C3": rng.normal(0, 20, 640), "C4": rng.normal(0, 20, 640)}
    path.write_bytes(gzip.compress(pd.DataFrame({**start, **columns}).to_csv(index=False).encode()))
    return path


def test_tables_with_markers_and_gaps(tmp_path: Path) -> None:
    marker = np.zeros(640)
    marker[[100, 300, 301]] = 1, 2, 2
    times = np.arange(640) / 128 + np.where(np.arange(640) >= 200, 3.0, 0.0)
    path = table(tmp_path / "a.csv.gz", Marker0=marker, t=times)
    part = Table(timestamps="t", marker=["Marker", "Marker0"], unit="µV")
    recording = part.read(path)
    signal = recording.signal("eeg")
    assert signal.sensors.name == ("C3", "C4")
    assert signal.sfreq == pytest.approx(128.0)
    assert signal.breaks == (200,)
    assert signal.load().std() == pytest.approx(20e-6, rel=0.1)
    assert recording.events.label == ("1", "2")
    np.testing.assert_allclose(recording.events.onset, np.array([100, 300]) / 128)
    with pytest.raises(DataError, match=r"sfreq: 256` does not fit the timestamps, which give 128\.00 Hz"):
        part.model_copy(update={"sfreq": 256.0}).read(path)
    with pytest.raises(DataError, match="no column 'Oz'"):
        part.model_copy(update={"sensors": ["Oz"]}).read(path)


def real(name: str) -> Path:
    """A folder of the real recordings."""
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not in {REAL}")
    return REAL / name


def test_real_ssvep_is_refused_in_volts_and_read_in_millivolts() -> None:
    part = MneFile(unit="mV")
    entries = part.find(real("eeg_ssvep_exo"), "subject{subject}/record-[{session}]_raw.fif.gz")
    assert len(entries) == 8
    source = EventSource(
        source="file", file="{stem}-eve.fif", codes={"1": "rest", "2": "13", "3": "21", "4": "17"}
    )
    recording = read_entry(part, entries[0], source)
    assert (recording.signal("eeg").data.shape, recording.signal("eeg").sfreq) == ((8, 57024), 256.0)
    assert recording.signal("eeg").sensors.name == ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")
    listed = mne.read_events(
        entries[0].path.with_name("record-[2012.07.06-19.02.16]-eve.fif"), verbose="error"
    )
    np.testing.assert_allclose(recording.events.onset, np.sort(listed[:, 0]) / 256)
    assert {
        label: recording.events.label.count(label) for label in ("rest", "13", "21", "17")
    } == dict.fromkeys(("rest", "13", "21", "17"), 8)
    assert any("114 m" in note for note in recording.notes)  # the file's positions are in millimetres
    with pytest.raises(DataError, match="look like millivolts labelled volts: say `unit: mV`"):
        read(entries[0].path)


def test_real_arithmetic() -> None:
    part = MneFile(drop=["*A2-A1"], strip="EEG ")
    entries = part.find(real("eeg_arithmetic"), "Subject{subject}_{run}.edf")
    assert len(entries) == 12
    signal = read_entry(part, entries[0]).signal("eeg")
    assert (signal.data.shape, signal.sfreq, signal.sensors.frame) == ((19, 20000), 500.0, "approximate")
    with pytest.raises(DataError, match="positions of EEG A2-A1 are neither"):
        read(entries[0].path)


def test_real_muse() -> None:
    part = Table(
        sensors=["TP9", "AF7", "AF8", "TP10"],
        timestamps="timestamps",
        marker=["Marker", "Marker0"],
        sfreq=256.0,
        unit="µV",
    )
    entries = part.find(real("eeg_muse"), "visual/*/subject{subject}/session{session}/data_{run}.csv.gz")
    assert len(entries) == 17
    recording = read_entry(part, entries[0], EventSource(codes={"1": "non-target", "2": "target"}))
    assert recording.signal("eeg").data.shape == (4, 30732)
    assert (recording.events.label.count("non-target"), recording.events.label.count("target")) == (165, 32)


def test_real_selfpaced() -> None:
    part = MatlabEpochs(
        windows="x_train",
        axes=["time", "sensor", "window"],
        labels="y_train",
        names="clab",
        sfreq=100.0,
        unit="µV",
    )
    recording = part.read(real("eeg_bci2_selfpaced") / "sp1s_aa.mat")
    assert recording.signal("eeg").data.shape == (28, 316 * 50)
    assert len(recording.signal("eeg").stretches) == len(recording.events) == 316


def test_real_delhi() -> None:
    part = ZipSegments(members="*/{label}/*.mat", sensors=["EEG"], sfreq=200.0, unit="µV", positions="none")
    recording = part.read(real("eeg_delhi") / "delhi.zip")
    assert recording.signal("eeg").data.shape == (1, 146 * 1024)
    assert set(recording.events.label) == {"ictal", "interictal", "preictal"}
    assert "4 windows that copy another were left out" in recording.notes
