"""BIDS: datasets written by hand, one call that reads them, and every planted fault under every `on_error`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import mne
import numpy as np
import pytest
from typer.testing import CliRunner

import brainfm
from brainfm.cli import app
from brainfm.data import formats
from brainfm.data.cards import DataCard, recount
from brainfm.data.new_card import new_card
from brainfm.data.readers import Reader
from brainfm.data.readers.bids import Bids
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.readers.table import Table
from brainfm.data.reading import read_one
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.recordings import Recordings
from brainfm.errors import DataError

SFREQ, SECONDS = 200.0, 10.0
NAMES = ("Fp1", "Cz", "O2", "T8")
CONTACTS = ("LA1", "LA2", "LA3")
COILS = [
    ("name", "type", "units"),
    ("MEG1", "MEGMAG", "T"),
    ("MEG2", "MEGMAG", "T"),
    ("MEG3", "MEGGRADPLANAR", "T/m"),
    ("EEG1", "ECG", "V"),
]
EVENTS: list[tuple[Any, ...]] = [("onset", "duration", "trial_type"), (1.0, 0.5, "go"), (4.5, "n/a", "stop")]


def samples(n: int, size: float = 2e-5, seed: int = 0) -> np.ndarray:
    return size * np.random.default_rng(seed).normal(size=(n, int(SFREQ * SECONDS)))


def tsv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def as_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def raw_of(names: Sequence[str], kinds: Any = "eeg", size: float = 2e-5, seed: int = 0) -> Any:
    """A `Raw` whose file knows nothing but names and samples."""
    info = mne.create_info(list(names), SFREQ, kinds)
    return mne.io.RawArray(samples(len(names), size, seed), info, verbose="error")


def dataset(root: Path) -> Path:
    """What every dataset has."""
    as_json(root / "dataset_description.json", {"Name": "made by hand", "BIDSVersion": "1.10.0"})
    people = [("participant_id", "age", "sex"), ("sub-01", 31, "n/a"), ("sub-02", 45, "f")]
    tsv(root / "participants.tsv", people)
    return root


def eeg(root: Path, subject: str = "01", task: str = "odd", ending: str = ".edf", seed: int = 0) -> Path:
    """One EEG recording with an EOG that the file calls EEG, and its tables."""
    stem = root / f"sub-{subject}" / "eeg" / f"sub-{subject}_task-{task}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}_eeg{ending}")
    mne.export.export_raw(path, raw_of(NAMES, seed=seed), verbose="error")
    rows = [(name, "EOG" if name == "T8" else "EEG", "µV", "good") for name in NAMES]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units", "status"), *rows])
    tsv(beside(path, "events.tsv"), EVENTS)
    as_json(beside(path, "eeg.json"), {"SamplingFrequency": SFREQ, "PowerLineFrequency": 50})
    return path


def ieeg(root: Path, unit: str = "mm", system: str = "MNI152Lin", kind: str = "SEEG") -> Path:
    """One intracranial recording with places in millimetres."""
    path = root / "sub-01" / "ieeg" / "sub-01_task-rest_ieeg.vhdr"
    path.parent.mkdir(parents=True, exist_ok=True)
    mne.export.export_raw(path, raw_of(CONTACTS), verbose="error")
    rows = [(name, kind, "µV") for name in CONTACTS]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units"), *rows])
    places = [(name, 10 + row, -20, 30, "n/a") for row, name in enumerate(CONTACTS)]
    tsv(path.parent / "sub-01_electrodes.tsv", [("name", "x", "y", "z", "size"), *places])
    said = {"iEEGCoordinateSystem": system, "iEEGCoordinateUnits": unit}
    as_json(path.parent / "sub-01_coordsystem.json", said)
    return path


def meg(root: Path, name: str = "sub-01_ses-a_task-rest_run-01_meg.fif", size: float = 5e-13) -> Path:
    """Two magnetometers, a gradiometer, and an EEG electrode that channels.tsv calls ECG."""
    path = root / "sub-01" / "ses-a" / "meg" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = ["mag", "mag", "grad", "eeg"]
    raw = raw_of(("MEG1", "MEG2", "MEG3", "EEG1"), kinds)
    raw._data *= np.array([[size], [size], [20 * size], [2e-5]]) / 2e-5
    raw.save(path, verbose="error")
    tsv(beside(path, "channels.tsv"), COILS)
    return path


def beside(path: Path, name: str) -> Path:
    """The file beside a recording whose name differs in its last word."""
    return path.with_name(f"{path.name.rpartition('_')[0]}_{name}")


def changed(path: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """The table after a change of its rows, the names of the columns first."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    tsv(path, change(rows))


# --- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".edf", ".bdf", ".vhdr", ".set"])
def test_a_root_gives_every_recording_with_what_its_tables_say(tmp_path: Path, ending: str) -> None:
    root = dataset(tmp_path / "study")
    for subject in ("01", "02"):
        eeg(root, subject, ending=ending, seed=int(subject))
    found = brainfm.read(root)
    assert isinstance(found, Recordings) and len(found) == 2
    assert [entry.subject for entry in found.entries] == ["01", "02"]
    first, second = found
    signal = first.signal("eeg")
    assert signal.sensors.name == NAMES[:3]  # channels.tsv says that T8 is EOG, the file does not
    np.testing.assert_allclose(signal.load()[:, :2000], samples(4, seed=1)[:3], atol=3e-8)
    assert first.events.label == ("go", "stop")
    np.testing.assert_allclose(first.events.onset, [1.0, 4.5])
    np.testing.assert_allclose(first.events.duration, [0.5, 0.0])
    assert (first.dataset, first.subject, second.subject) == ("study", "01", "02")
    assert first.facts["sidecar"]["PowerLineFrequency"] == 50
    assert first.facts["participant"] == {"age": "31"} and second.facts["participant"]["sex"] == "f"
    assert first.facts["entities"] == {"sub": "01", "task": "odd"}
    assert first.repairs == () and found.log == []
    assert first.content_hash != second.content_hash


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    eeg(root, "01")
    eeg(root, "02").write_bytes(b"no EDF at all")
    found = brainfm.read(root)
    assert "2 recordings of 2 subjects" in repr(found)
    assert found[0].subject == "01"
    assert [one.subject for one in found[:1]] == ["01"]
    with pytest.raises(DataError, match=r"sub-02_task-odd_eeg\.edf"):
        _ = found[1]


def test_recordings_are_chosen_by_their_entities(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    for subject, task in (("01", "odd"), ("01", "rest"), ("02", "odd")):
        eeg(root, subject, task)
    meg(root)
    names = lambda **wanted: [entry.path.name for entry in brainfm.read(root, **wanted).entries]  # noqa: E731
    assert names(subject="01", task="rest", datatype="eeg") == ["sub-01_task-rest_eeg.edf"]
    assert names(subject="sub-02") == ["sub-02_task-odd_eeg.edf"]
    assert len(names(subject=["01", "02"], task="odd")) == 2
    assert names(run="1") == names(run="01") == names(datatype="meg") == names(modality="meg")
    assert names(modality="meg") == ["sub-01_ses-a_task-rest_run-01_meg.fif"]
    assert len(brainfm.read(root / "sub-01").entries) == 3
    with pytest.raises(DataError, match="no recording of subject 03; there is 01, 02"):
        brainfm.read(root, subject="03")
    with pytest.raises(DataError, match="no recording of task odd; there is rest"):
        brainfm.read(root, task="odd", datatype="meg")
    with pytest.raises(DataError, match="holds no func recording; it holds eeg, meg"):
        brainfm.read(root, datatype="func")
    with pytest.raises(DataError, match="'taks' is not known"):
        list(brainfm.read(root, taks="odd"))


def test_a_path_inside_a_dataset_is_read_with_its_tables(tmp_path: Path) -> None:
    path = eeg(dataset(tmp_path / "study"))
    recording = brainfm.read(path)
    assert isinstance(recording, Recording)
    assert recording.signal("eeg").sensors.name == NAMES[:3]
    assert recording.events.label == ("go", "stop") and recording.subject == "01"
    (tmp_path / "study" / "dataset_description.json").unlink()  # then it is a file like any other
    plain = brainfm.read(path, positions="none")
    assert plain.signal("eeg").sensors.name == NAMES and plain.subject == ""


def test_settings_reach_the_reader_of_the_format(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root)
    (recording,) = brainfm.read(root, drop=["Cz"], montage="standard_1020")
    assert recording.signal("eeg").sensors.name == ("Fp1", "O2")
    (as_part,) = brainfm.read(root, reader={"kind": "bids", "reader": {"positions": "none"}})
    assert not as_part.signal("eeg").sensors.located.any()
    assert brainfm.read(path, reader="mne_file", positions="none").signal("eeg").sensors.name == NAMES


def test_a_bidspath_is_known_by_its_attributes(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    for task in ("odd", "rest"):
        eeg(root, "01", task)
    said = {"subject": "01", "session": None, "task": "rest", "run": None, "split": None}
    path = SimpleNamespace(root=str(root), entities=said, datatype=None, suffix="eeg")
    assert brainfm.read(path).facts["entities"]["task"] == "rest"
    assert brainfm.read(path, drop=["Cz"]).signal("eeg").sensors.name == ("Fp1", "O2")
    path.entities = {"subject": "01"}
    with pytest.raises(DataError, match=r"fits 2 recordings \(sub-01_task-odd_eeg\.edf"):
        brainfm.read(path)
    path.root = None
    with pytest.raises(DataError, match="the BIDSPath has no root"):
        brainfm.read(path)


def test_what_mne_bids_writes_is_read(tmp_path: Path) -> None:
    """The field's own writer, where it is installed: what it writes needs no repair."""
    mne_bids = pytest.importorskip("mne_bids")
    path = mne_bids.BIDSPath(subject="07", session="x", task="rest", run="01", root=tmp_path, datatype="eeg")
    raw = raw_of(NAMES, ["eeg"] * 3 + ["eog"]).set_annotations(mne.Annotations([2.0], [1.0], ["go"]))
    raw.info["bads"] = ["O2"]
    mne_bids.write_raw_bids(raw, path, allow_preload=True, format="BrainVision", verbose="error")
    recording = brainfm.read(path)
    assert recording.signal("eeg").sensors.name == ("Fp1", "Cz")
    np.testing.assert_allclose(recording.signal("eeg").load(), samples(4)[:2], atol=2e-7)
    assert (recording.subject, recording.session, recording.run) == ("07", "x", "01")
    assert recording.events.label == ("go",) and recording.repairs == ()


def test_contacts_that_mne_bids_writes_are_in_mni(tmp_path: Path) -> None:
    mne_bids = pytest.importorskip("mne_bids")
    path = mne_bids.BIDSPath(subject="07", task="rest", root=tmp_path, datatype="ieeg")
    places = {name: np.array([0.01 * row, -0.02, 0.03]) for row, name in enumerate(CONTACTS)}
    montage = mne.channels.make_dig_montage(places, coord_frame="mni_tal")
    raw = raw_of(CONTACTS, "ecog").set_montage(montage, verbose="error")
    mne_bids.write_raw_bids(raw, path, allow_preload=True, format="BrainVision", verbose="error")
    sensors = brainfm.read(path).signal("seeg").sensors
    assert (sensors.kind, sensors.frame) == (("ecog",) * 3, "exact")
    np.testing.assert_allclose(sensors.position, list(places.values()), atol=1e-6)


def test_meg_keeps_its_coils_and_takes_other_types_from_the_table(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    meg(root)
    (recording,) = brainfm.read(root)
    assert recording.signals.keys() == {"meg"}
    assert recording.signal("meg").sensors.kind == ("mag", "mag", "grad")
    assert (recording.session, recording.run) == ("a", "01")


def test_what_is_no_recording_of_a_brain_is_not_taken_for_one(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = meg(root)
    for name in ("sub-01_ses-a_acq-crosstalk_meg.fif", "sub-01_ses-a_task-rest_split-02_meg.fif"):
        path.with_name(name).write_bytes(b"")
    for folder in ("derivatives/x", "sourcedata", "sub-emptyroom/ses-1"):
        copy = (
            root
            / folder
            / path.relative_to(root / "sub-01" / "ses-a").as_posix().replace("01_", "emptyroom_", 1)
        )
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    (root / "sub-01" / "anat").mkdir()
    (root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"")
    found = brainfm.read(root)
    assert [entry.path for entry in found.entries] == [path]
    assert [line.said for line in found.log] == ["left out: an empty room, there is no brain in it"]
    assert len(brainfm.read(root, subject="emptyroom").entries) == 1


def test_meg_of_4d_and_kit_is_a_folder_that_its_own_reader_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNE can't write these formats, so what it is asked for stands in for what it would read."""
    root = dataset(tmp_path)
    whole = meg(root)
    asked: list[Any] = []

    def reading(*given: Any, **more: Any) -> Any:
        asked.append((Path(given[0]).name, *more.values()))
        return mne.io.read_raw_fif(whole, verbose="error")

    monkeypatch.setattr(mne.io, "read_raw_bti", reading)
    monkeypatch.setattr(mne.io, "read_raw_kit", reading)
    for run, names in (
        ("02", ("config", "c,rfDC")),
        ("03", ("config", "c,rfDC", "hs_file")),
        ("04", ("a.con",)),
    ):
        folder = whole.with_name(f"sub-01_ses-a_task-rest_run-{run}_meg")
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"")
        tsv(beside(folder, "channels.tsv"), COILS)
        assert brainfm.read(root, run=run)[0].signals.keys() == {"meg"}
    assert asked == [("c,rfDC", None), ("c,rfDC", "hs_file"), ("a.con",)]
    assert brainfm.read(folder).run == "04"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.con").write_bytes(b"")
    assert formats.reader_for(tmp_path / "elsewhere") is MneFile


def test_meg_under_active_shielding_is_read_only_if_asked(tmp_path: Path) -> None:
    path = meg(dataset(tmp_path))
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    with raw.info._unlock():
        raw.info["maxshield"] = True
    raw.save(path, overwrite=True, verbose="error")
    with pytest.raises(DataError, match=r"recorded under active shielding.* say `maxshield: true`"):
        brainfm.read(path)
    assert brainfm.read(path, maxshield=True).signal("meg").sensors.kind == ("mag", "mag", "grad")


def test_contacts_get_places_kinds_and_frame(tmp_path: Path) -> None:
    for unit, size in (("mm", 1e-3), ("cm", 1e-2), ("m", 1.0)):
        root = dataset(tmp_path / unit)
        ieeg(root, unit, kind="ECOG")
        (recording,) = brainfm.read(root)
        sensors = recording.signal("seeg").sensors
        np.testing.assert_allclose(sensors.position[1], np.array([11, -20, 30]) * size)
        assert sensors.kind == ("ecog",) * 3 and sensors.frame == "exact"


@pytest.mark.parametrize(
    ("system", "frame"), [("ACPC", "own"), ("MNI305", "exact"), ("fsaverage", "exact"), ("Other", "own")]
)
def test_the_coordinate_system_says_the_frame(tmp_path: Path, system: str, frame: str) -> None:
    root = dataset(tmp_path)
    ieeg(root, system=system)
    assert brainfm.read(root)[0].signal("seeg").sensors.frame == frame


def test_of_several_spaces_mni_or_the_one_asked_for_is_taken(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    folder = ieeg(root).parent
    for space, x in (("ACPC", 1), ("MNI152Lin", 2)):
        rows = [("name", "x", "y", "z"), *((name, x, 0, 0) for name in CONTACTS)]
        tsv(folder / f"sub-01_space-{space}_electrodes.tsv", rows)
        said = {"iEEGCoordinateSystem": space, "iEEGCoordinateUnits": "mm"}
        as_json(folder / f"sub-01_space-{space}_coordsystem.json", said)
    for asked, x, frame in ((None, 2e-3, "exact"), ("ACPC", 1e-3, "own")):
        (recording,) = brainfm.read(root, **({"space": asked} if asked else {}))
        assert recording.signal("seeg").sensors.position[0, 0] == pytest.approx(x)
        assert recording.signal("seeg").sensors.frame == frame
    with pytest.raises(DataError, match="is in space Talairach; there is ACPC, MNI152Lin"):
        _ = brainfm.read(root, space="Talairach")[0]


def test_a_position_that_is_not_known_is_no_fault(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = ieeg(root).parent / "sub-01_electrodes.tsv"
    changed(path, lambda rows: [*rows[:2], [rows[2][0], "n/a", "n/a", "n/a", "n/a"], rows[3]])
    (recording,) = brainfm.read(root)
    assert recording.signal("seeg").sensors.located.tolist() == [True, False, True]
    assert any("no position for LA2" in note for note in recording.notes) and not recording.repairs


def test_electrodes_on_the_scalp_are_where_the_table_says(tmp_path: Path) -> None:
    """CapTrak's axes are those of MNE's head; names that no montage knows need no montage then."""
    root = dataset(tmp_path)
    path = eeg(root)
    places = {"Fp1": (-25, 85, 20), "Cz": (0, 10, 120), "O2": (25, -85, 20)}
    table = [("name", "x", "y", "z"), *((name, *place) for name, place in places.items())]
    tsv(path.with_name("sub-01_space-CapTrak_electrodes.tsv"), table)
    coordinates = path.with_name("sub-01_space-CapTrak_coordsystem.json")
    as_json(coordinates, {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "mm"})
    from brainfm.data.positions import to_mni

    (recording,) = brainfm.read(root)
    sensors = recording.signal("eeg").sensors
    np.testing.assert_allclose(sensors.position, to_mni(np.array(list(places.values())) * 1e-3), atol=1e-9)
    assert sensors.frame == "approximate"
    as_json(coordinates, {"EEGCoordinateSystem": "EEGLAB", "EEGCoordinateUnits": "mm"})
    (other,) = brainfm.read(root)
    assert any("no known way to the head" in note for note in other.notes)
    assert np.abs(other.signal("eeg").sensors.position - sensors.position).max() > 1e-3  # the montage's


def test_files_above_apply_and_the_nearest_wins(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root)
    beside(path, "channels.tsv").rename(root / "task-odd_channels.tsv")
    beside(path, "events.tsv").rename(root / "sub-01" / "sub-01_task-odd_events.tsv")
    as_json(root / "eeg.json", {"PowerLineFrequency": 60, "Manufacturer": "none", "EEGReference": "Cz"})
    as_json(root / "task-odd_eeg.json", {"Manufacturer": "hand"})
    as_json(root / "task-rest_eeg.json", {"EEGReference": "of another task"})
    (recording,) = brainfm.read(root)
    assert recording.facts["sidecar"] == {
        "SamplingFrequency": SFREQ,
        "PowerLineFrequency": 50,
        "Manufacturer": "hand",
        "EEGReference": "Cz",
    }
    assert recording.signal("eeg").sensors.name == NAMES[:3] and recording.events.label == ("go", "stop")


def test_events_take_their_names_from_trial_type_then_value_or_the_column_asked_for(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    rows = [
        ("onset", "duration", "trial_type", "value", "side"),
        (5.0, 0, "n/a", 7, "left"),
        (2.0, 0, "go", 8, "right"),
        (3.0, 0, "n/a", "n/a", "n/a"),
    ]
    tsv(beside(eeg(root), "events.tsv"), rows)
    (recording,) = brainfm.read(root)
    assert recording.events.label == ("go", "7")
    assert any(
        note.startswith("1 events of sub-01_task-odd_events.tsv have no name") for note in recording.notes
    )
    assert brainfm.read(root, event_column="side")[0].events.label == ("right", "left")
    with pytest.raises(DataError, match="has no column 'sied'; it has onset, duration"):
        _ = brainfm.read(root, event_column="sied")[0]


def test_marked_bad_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    changed(beside(eeg(root), "channels.tsv"), lambda rows: [*rows[:2], [*rows[2][:3], "bad"], *rows[3:]])
    (recording,) = brainfm.read(root)
    assert recording.signal("eeg").sensors.name == ("Fp1", "O2")
    assert "marked bad in channels.tsv: Cz" in recording.notes


def test_names_that_look_like_patterns_are_names(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root)
    names = ["Fp1", "Fp*", "O[12]"]
    mne.export.export_raw(path, raw_of(names), overwrite=True, verbose="error")
    rows = [(names[0], "EEG", "µV", "good"), (names[1], "MISC", "µV", "good"), (names[2], "EEG", "µV", "bad")]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units", "status"), *rows])
    (recording,) = brainfm.read(root)
    assert recording.signal("eeg").sensors.name == ("Fp1",)
    assert "left out, no brain signal: Fp* (misc)" in recording.notes


# --- units -------------------------------------------------------------------------------------------------------


def test_a_format_without_labels_takes_the_unit_of_the_table(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root, ending=".set")
    # the exporter writes microvolts: a file in millivolts is the same recording made smaller by a thousand
    mne.export.export_raw(path, raw_of(NAMES, size=2e-8), overwrite=True, verbose="error")
    as_mv = lambda rows: [rows[0], *([row[0], row[1], "mV", row[3]] for row in rows[1:])]  # noqa: E731
    changed(beside(path, "channels.tsv"), as_mv)
    (recording,) = brainfm.read(root)
    np.testing.assert_allclose(recording.signal("eeg").load(), samples(4)[:3], rtol=1e-4, atol=1e-12)


def test_of_two_units_only_a_plausible_one_is_taken_and_only_if_asked(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root, ending=".set")  # in µV
    as_volts = lambda rows: [rows[0], *([row[0], row[1], "V", row[3]] for row in rows[1:])]  # noqa: E731
    changed(beside(path, "channels.tsv"), as_volts)
    with pytest.raises(DataError, match="microvolts labelled volts"):
        list(brainfm.read(root))
    (recording,) = brainfm.read(root, on_error="repair")
    np.testing.assert_allclose(recording.signal("eeg").load(), samples(4)[:3], rtol=1e-4, atol=1e-12)
    assert recording.repairs == (
        "channels.tsv and the recording differ on the unit: µV, which alone is plausible",
    )


def test_a_label_in_the_file_counts_before_the_tables(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    as_volts = lambda rows: [rows[0], *([row[0], row[1], "V", row[3]] for row in rows[1:])]  # noqa: E731
    changed(beside(eeg(root), "channels.tsv"), as_volts)
    (recording,) = brainfm.read(root)
    np.testing.assert_allclose(recording.signal("eeg").load(), samples(4)[:3], atol=3e-8)
    assert "channels.tsv gives the signals in V, the file in µV: the file's label counts" in recording.notes


# --- faults ------------------------------------------------------------------------------------------------------


def rows_changed(change: Callable[[list[list[str]]], list[list[str]]], name: str = "channels.tsv") -> Any:
    """A fault in a table beside the recording."""
    return lambda path: changed(beside(path, name), change)


def column(name: str, value: str | None, row: int | None = None) -> Any:
    """A change of one column: of one row, of all, or (None) without it."""

    def change(rows: list[list[str]]) -> list[list[str]]:
        at = rows[0].index(name)
        if value is None:
            return [[*each[:at], *each[at + 1 :]] for each in rows]
        return [
            [*each[:at], value if number and row in (None, number) else each[at], *each[at + 1 :]]
            for number, each in enumerate(rows)
        ]

    return change


def electrodes_of(path: Path) -> Path:
    return path.with_name("sub-01_electrodes.tsv")


@dataclass(frozen=True)
class Fault:
    """What is planted beside a good recording, the sentence that refuses it, and what is left once it is mended."""

    make: Callable[[Path], Path]
    plant: Callable[[Path], Any]
    sentence: str
    mended: Callable[[Recording], bool]


EVENTS_LEFT = lambda *labels: lambda recording: recording.events.label == labels  # noqa: E731
NO_PLACES = lambda recording: not recording.signal("seeg").sensors.located.any()  # noqa: E731
THREE = lambda recording: recording.signal("eeg").sensors.name == NAMES[:3]  # noqa: E731
two = lambda root: eeg(root, "02")  # noqa: E731
FAULTS = {
    "a channel that the file has not": Fault(
        two,
        rows_changed(lambda rows: [*rows, ["Pz", "EEG", "µV", "good"]]),
        r"channels\.tsv lists Pz, which the recording has not",
        THREE,
    ),
    "a channel that the table has not": Fault(
        two,
        rows_changed(lambda rows: rows[:-1]),
        r"channels\.tsv does not list T8",
        lambda recording: recording.signal("eeg").sensors.name == NAMES,
    ),
    "another order": Fault(
        two, rows_changed(lambda rows: [rows[0], *rows[:0:-1]]), "in another order than the recording", THREE
    ),
    "a channel twice": Fault(
        two,
        rows_changed(lambda rows: [*rows, [rows[1][0], "EMG", "µV", "good"]]),
        "lists Fp1 twice",
        THREE,
    ),
    "no units": Fault(two, rows_changed(column("units", None)), "has no column units", THREE),
    "a unit that is none": Fault(
        two, rows_changed(column("units", "Hz", 2)), "gives Cz in 'Hz', which is no unit of voltage", THREE
    ),
    "no types": Fault(
        two,
        rows_changed(column("type", None)),
        "has no column type",
        lambda recording: recording.signal("eeg").sensors.name == NAMES,
    ),
    "a type that is none": Fault(
        two, rows_changed(column("type", "EGG", 1)), "says 'EGG' of Fp1, which is no type of BIDS", THREE
    ),
    "a status that is none": Fault(
        two, rows_changed(column("status", "meh", 1)), "says status 'meh' of Fp1", THREE
    ),
    "an onset that is none": Fault(
        two,
        rows_changed(column("onset", "n/a", 1), "events.tsv"),
        "1 events whose onset is 'n/a'",
        EVENTS_LEFT("stop"),
    ),
    "an event after the end": Fault(
        two,
        rows_changed(column("onset", "11.5", 2), "events.tsv"),
        r"1 events after the end of the recording, the first at 11\.5 s of 10 s",
        EVENTS_LEFT("go"),
    ),
    "a negative duration": Fault(
        two,
        rows_changed(column("duration", "-1", 1), "events.tsv"),
        "1 events of negative duration",
        lambda recording: recording.events.duration[0] == 0.0,
    ),
    "another rate": Fault(
        two,
        lambda path: as_json(beside(path, "eeg.json"), {"SamplingFrequency": 250}),
        r"eeg\.json says 250 Hz, the recording has 200 Hz",
        lambda recording: recording.signal("eeg").sfreq == SFREQ,
    ),
    "a sidecar that is no JSON": Fault(
        two,
        lambda path: beside(path, "eeg.json").write_text("{"),
        r"eeg\.json is not valid JSON",
        lambda recording: recording.facts["sidecar"] == {},
    ),
    "an unknown person": Fault(
        two,
        lambda path: changed(path.parents[2] / "participants.tsv", lambda rows: rows[:2]),
        r"participants\.tsv lacks sub-02",
        lambda recording: recording.facts["participant"] == {},
    ),
    "a dead sensor": Fault(
        two,
        lambda path: mne.export.export_raw(
            path,
            mne.io.RawArray(
                samples(4) * [[1], [0], [1], [1]], mne.create_info(list(NAMES), SFREQ, "eeg"), verbose="error"
            ),
            overwrite=True,
            verbose="error",
        ),
        "sensor Cz is flat",
        lambda recording: recording.signal("eeg").sensors.name == ("Fp1", "O2"),
    ),
    "no coordsystem": Fault(
        ieeg,
        lambda path: path.with_name("sub-01_coordsystem.json").unlink(),
        r"sub-01_electrodes\.tsv has no coordsystem\.json beside it",
        NO_PLACES,
    ),
    "a unit of places that is none": Fault(
        ieeg,
        lambda path: as_json(path.with_name("sub-01_coordsystem.json"), {"iEEGCoordinateUnits": "inch"}),
        r"sub-01_coordsystem\.json gives iEEGCoordinateUnits 'inch', none of m, cm, mm",
        NO_PLACES,
    ),
    "a place that is no number": Fault(
        ieeg,
        lambda path: changed(electrodes_of(path), column("y", "left", 2)),
        r"has positions that are no numbers: LA2 \(y 'left'\)",
        lambda recording: recording.signal("seeg").sensors.located.tolist() == [True, False, True],
    ),
}
HOPELESS = {
    "a broken recording": Fault(
        two, lambda path: path.write_bytes(b"no EDF"), r"sub-02_task-odd_eeg\.edf", bool
    ),
    "a table of another recording": Fault(
        two, rows_changed(column("name", "X", None)), "no name in common, so it belongs to another", bool
    ),
    "no names": Fault(two, rows_changed(column("name", None)), "has no column name", bool),
    "no onsets": Fault(two, rows_changed(column("onset", None), "events.tsv"), "has no column 'onset'", bool),
    "contacts of no kind": Fault(
        ieeg, rows_changed(column("type", "n/a")), "does not say which channels are SEEG and which ECOG", bool
    ),
    "contacts without a table": Fault(
        ieeg, lambda path: beside(path, "channels.tsv").unlink(), r"ieeg\.vhdr has no channels\.tsv", bool
    ),
    "an impossible amplitude": Fault(
        two,
        lambda path: mne.export.export_raw(path, raw_of(NAMES, size=2.0), overwrite=True, verbose="error"),
        "scalp EEG lies between",
        bool,
    ),
}


def planted(root: Path, fault: Fault) -> Path:
    """A dataset of a good recording of subject 01 and one with the fault."""
    eeg(dataset(root), "01")
    path = fault.make(root)
    fault.plant(path)
    return path


@pytest.mark.parametrize("name", FAULTS)
def test_the_recording_is_good_before_the_fault_is_planted(tmp_path: Path, name: str) -> None:
    """Else the tests below would pass for another reason."""
    dataset(tmp_path)
    FAULTS[name].make(tmp_path)
    (recording,) = brainfm.read(tmp_path)
    assert recording.repairs == ()


@pytest.mark.parametrize("name", [*FAULTS, *HOPELESS])
def test_a_fault_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    fault = {**FAULTS, **HOPELESS}[name]
    path = planted(tmp_path, fault)
    with pytest.raises(DataError, match=fault.sentence) as caught:
        list(brainfm.read(tmp_path))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=fault.sentence):
        brainfm.read(path)


@pytest.mark.parametrize("name", [*FAULTS, *HOPELESS])
def test_a_fault_is_skipped_with_a_line_in_the_log(tmp_path: Path, name: str) -> None:
    path = planted(tmp_path, {**FAULTS, **HOPELESS}[name])
    found = brainfm.read(tmp_path, on_error="skip")
    read = list(found)
    assert [recording.source for recording in read] == ["sub-01_task-odd_eeg.edf"] and len(found) == 2
    (line,) = found.log
    assert line.recording == path.name and line.said.startswith("left out: ")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_mended_and_written_down(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    path = planted(tmp_path, fault)
    found = brainfm.read(tmp_path, on_error="repair")
    good, mended = sorted(found, key=lambda recording: recording.source == path.name)
    assert fault.mended(mended)
    assert good.repairs == () and len(mended.repairs) >= 1
    assert [(line.recording, line.said) for line in found.log] == [
        (path.name, said) for said in mended.repairs
    ]
    list(found)
    assert len(found.log) == len(mended.repairs)  # read twice, logged once


@pytest.mark.parametrize("name", HOPELESS)
def test_what_cannot_be_mended_stays_refused(tmp_path: Path, name: str) -> None:
    planted(tmp_path, HOPELESS[name])
    with pytest.raises(DataError, match=HOPELESS[name].sentence):
        list(brainfm.read(tmp_path, on_error="repair"))


def test_what_the_user_says_takes_the_place_of_what_is_missing(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = ieeg(root)
    path.with_name("sub-01_coordsystem.json").unlink()
    beside(path, "channels.tsv").unlink()
    said = {"kinds": {"*": "seeg"}, "electrodes": {"unit": "mm", "space": "mni"}}
    (recording,) = brainfm.read(root, **said, on_error="repair")
    sensors = recording.signal("seeg").sensors
    assert sensors.kind == ("seeg",) * 3 and sensors.frame == "exact"
    np.testing.assert_allclose(sensors.position[0], [0.01, -0.02, 0.03])


def test_a_root_without_its_description_is_a_fault(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    eeg(root)
    (root / "dataset_description.json").unlink()
    with pytest.raises(DataError, match=r"has no dataset_description\.json"):
        list(brainfm.read(root))
    (recording,) = brainfm.read(root, on_error="repair")
    assert len(recording.repairs) == 1


# --- which reader ------------------------------------------------------------------------------------------------


class Volumes(Reader):
    """A stand-in that takes what BIDS knows of a run: it holds one voxel, the repetition time."""

    suffixes: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")
    tr: float
    unit: str | None = None

    def open(self, path: Path) -> Recording:
        data = 100 + np.random.default_rng(0).normal(size=(2, 20))
        return Recording(
            {"fmri": Signal(data, 1 / self.tr, Sensors.of(["a", "b"], "voxel", "%"))},
            source=path.name,
            notes=(f"unit {self.unit}",),
        )


class Fields(Reader):
    """A stand-in for a reader of NWB, whose file says nothing but names."""

    suffixes: ClassVar[tuple[str, ...]] = (".nwb",)
    modalities: list[str] = ["spikes"]

    def open(self, path: Path) -> Recording:
        return Recording(
            {self.modalities[0]: Signal(samples(3), SFREQ, Sensors.of(CONTACTS, "seeg", "V"))},
            source=path.name,
        )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins instead of the parts that read these formats."""
    mine = (Volumes, Fields)
    theirs = [
        reader
        for reader in formats.readers()
        if not {suffix for part in mine for suffix in part.suffixes} & set(reader.suffixes)
    ]
    monkeypatch.setattr(formats, "readers", lambda: [*theirs, *mine])


@pytest.mark.usefixtures("stand_in")
def test_bold_takes_its_repetition_time_and_its_events(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    eeg(root)
    path = root / "sub-01" / "func" / "sub-01_task-odd_space-MNI_desc-preproc_bold.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    as_json(root / "task-odd_bold.json", {"RepetitionTime": 2.5})
    tsv(path.with_name("sub-01_task-odd_events.tsv"), EVENTS)
    (recording,) = brainfm.read(root, datatype="func", space="MNI")
    assert recording.signal("fmri").sfreq == pytest.approx(0.4)
    assert recording.events.label == ("go", "stop")
    assert brainfm.read(path, tr=2.0).signal("fmri").sfreq == 0.5  # what is said goes before the sidecar
    assert brainfm.read(path.rename(tmp_path / "a.nii.gz"), tr=2.0, subject="x").subject == "x"
    assert [entry.path.name for entry in brainfm.read(root, modality="eeg").entries] == [
        "sub-01_task-odd_eeg.edf"
    ]


@pytest.mark.usefixtures("stand_in")
def test_contacts_of_another_reader_get_what_the_tables_say(tmp_path: Path) -> None:
    """NWB among the iEEG: its contacts are kept, with kinds, places and what is bad by the tables."""
    old = ieeg(dataset(tmp_path))
    path = old.rename(old.with_suffix(".nwb"))
    kinds = [("name", "type", "units", "status"), ("LA1", "ECOG", "V", "good"), ("LA2", "SEEG", "V", "bad")]
    tsv(beside(path, "channels.tsv"), [*kinds, ("LA3", "SEEG", "V", "n/a")])
    recording = brainfm.read(path)
    sensors = recording.signal("seeg").sensors
    assert (sensors.name, sensors.kind, sensors.frame) == (("LA1", "LA3"), ("ecog", "seeg"), "exact")
    np.testing.assert_allclose(sensors.position, np.array([[10, -20, 30], [12, -20, 30]]) * 1e-3)
    np.testing.assert_array_equal(recording.signal("seeg").load(), samples(3)[[0, 2]])
    assert "marked bad in channels.tsv: LA2" in recording.notes


@pytest.mark.usefixtures("stand_in")
def test_a_raw_dataset_holds_scanner_units_a_derivative_must_say(tmp_path: Path) -> None:
    assert Volumes.model_fields["unit"].default is None
    for kind, unit in (("raw", "raw"), ("derivative", None)):
        root = dataset(tmp_path / kind)
        as_json(
            root / "dataset_description.json", {"Name": kind, "BIDSVersion": "1.10.0", "DatasetType": kind}
        )
        path = root / "sub-01" / "func" / "sub-01_task-a_bold.nii"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        assert brainfm.read(path, tr=1.0).notes == (f"unit {unit}",)


def test_suffixes_are_written_so_that_they_can_be_found() -> None:
    claimed = {suffix: reader for reader in formats.readers() for suffix in reader.suffixes}
    assert {".edf", ".vhdr", ".fif", ".mat", ".zip", ".csv", ""} <= claimed.keys()
    for suffix, reader in claimed.items():
        good = suffix == "" or (suffix.startswith(".") and suffix == suffix.lower())
        assert good, f"{reader.__module__}: {suffix!r} is compared with the end of a name in lower case"


def test_mne_reads_every_suffix_that_its_reader_claims() -> None:
    from mne.io._read_raw import _get_supported

    assert set(MneFile.suffixes) - {""} - set(_get_supported()) <= {".mefd"}  # since 1.12


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.edf", MneFile),
        ("A.EDF", MneFile),
        ("a_raw.fif.gz", MneFile),
        ("a.csv.gz", Table),
        ("a.ds", MneFile),
    ],
)
def test_the_name_chooses_the_reader(tmp_path: Path, name: str, reader: type[Reader]) -> None:
    assert formats.reader_for(tmp_path / name) is reader


class Short(Volumes):
    suffixes: ClassVar[tuple[str, ...]] = (".gz", ".x.y")


class Other(Volumes):
    suffixes: ClassVar[tuple[str, ...]] = (".x.y", ".nii.gz")
    more: int

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.name.startswith("other")


def test_the_longest_suffix_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for order in ([Short, Volumes], [Volumes, Short]):
        monkeypatch.setattr(formats, "readers", lambda order=order: order)
        assert formats.reader_for(tmp_path / "a.nii.gz") is Volumes
        assert formats.reader_for(tmp_path / "a.gz") is Short


def test_of_rivals_the_settings_decide_then_who_recognises_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "readers", lambda: [Other, Short])
    rivals = tmp_path / "other.x.y"
    with pytest.raises(DataError, match=r"other\.x\.y could be read by test_bids, test_bids; say which"):
        formats.reader_for(rivals)
    assert formats.reader_for(rivals, ["tr"]) is Short  # the other needs more
    assert formats.reader_for(rivals, ["tr", "more"]) is Other
    assert formats.reader_for(tmp_path / "a.x.y") is Short  # which recognises everything
    monkeypatch.setattr(Short, "recognises", classmethod(lambda cls, path: False))
    assert formats.reader_for(rivals) is Other
    with pytest.raises(DataError, match="say which, with what it needs"):
        formats.reader_for(tmp_path / "a.x.y")


def test_what_nothing_reads_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.edf does not exist"):
        brainfm.read(tmp_path / "nothing.edf")
    with pytest.raises(DataError, match=r"nothing\.xyz does not exist"):
        brainfm.read(tmp_path / "nothing.xyz")
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(DataError, match=r"a\.xyz ends like nothing that brainfm reads \(.*\.edf"):
        brainfm.read(tmp_path / "a.xyz")
    with pytest.raises(DataError, match="is a folder, but no BIDS dataset"):
        brainfm.read(tmp_path)
    eeg(dataset(tmp_path / "study"))
    with pytest.raises(DataError, match=r"study holds 1 recordings; give one of them: .*_eeg\.edf"):
        read_one(tmp_path / "study")
    with pytest.raises(DataError, match="subject is one word for one file"):
        brainfm.read(tmp_path / "a.csv", unit="V", subject=["1"])


# --- a first card ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [eeg, ieeg, meg])
def test_a_first_card_passes_check_and_decodes(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    root = dataset(tmp_path / "study")
    as_json(
        root / "dataset_description.json",
        {"Name": "by hand", "License": "CC0", "Authors": ["A. Hand", "B. Foot"], "DatasetDOI": "doi:10.1/x"},
    )
    path = make(root)
    windows = [(onset, 1.0, "left" if onset % 2 else "right") for onset in range(1, 9)]
    tsv(beside(path, "events.tsv"), [("onset", "duration", "trial_type"), *windows])
    text = new_card(root)
    card = tmp_path / "study.md"
    card.write_text(text, encoding="utf-8")
    first = DataCard.load(card)
    assert recount(first)[1] == []
    assert (first.title, first.licence, first.citation, first.source) == (
        "by hand",
        "CC0",
        "A. Hand, B. Foot",
        "doi:10.1/x",
    )
    assert isinstance(first.reader, Bids) and first.reader.datatype == path.parent.name
    assert "left (4)" in text and "Entities: subject 01 (1);" in text
    named = [
        line.removeprefix("# ") if line.startswith(("# task:", "#   ")) else line
        for line in text.splitlines()
    ]
    named = [line.replace("CrossSubject", "WithinSession").replace("#   ", "  ") for line in named]
    named = [line.replace("seconds: 2.0", "seconds: 0.5") for line in named]
    named.insert(named.index("facts:") + 1, "  windows: {left: 4, right: 4}")
    card.write_text("\n".join(named), encoding="utf-8")
    counted, problems = recount(DataCard.load(card))
    assert problems == [] and counted is not None and counted.windows == {"left": 4, "right": 4}


def test_a_card_reads_with_repairs_only_if_it_says_so(tmp_path: Path) -> None:
    root = dataset(tmp_path / "study")
    eeg(root, "01")
    changed(beside(eeg(root, "02"), "channels.tsv"), column("units", None))
    with pytest.raises(DataError, match="has no column units"):
        new_card(root)
    text = new_card(root, on_error="repair")
    card = tmp_path / "study.md"
    card.write_text(text, encoding="utf-8")
    assert "Repaired: sub-02_task-odd_channels.tsv has no column units" in text
    assert recount(DataCard.load(card))[1] == []
    card.write_text(text.replace('"on_error": "repair"', '"on_error": "raise"'), encoding="utf-8")
    (problem,) = recount(DataCard.load(card))[1]
    assert "has no column units" in problem.found
    card.write_text(text.replace('"on_error": "repair"', '"on_error": "skip"'), encoding="utf-8")
    (problem,) = recount(DataCard.load(card))[1]
    assert "none can be skipped" in problem.found


def test_a_card_may_choose_by_entity_or_by_pattern(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    for task in ("odd", "rest"):
        eeg(root, "01", task)
    assert [entry.path.name for entry in Bids(task="rest").find(root, "")] == ["sub-01_task-rest_eeg.edf"]
    (fitting,) = Bids().find(root, "sub-{subject}/eeg/*_task-odd_*")
    assert (fitting.subject, fitting.path.name) == ("01", "sub-01_task-odd_eeg.edf")
    with pytest.raises(DataError, match="fits the pattern"):
        Bids().find(root, "*.vhdr")


def test_sensors_of_a_dataset_that_no_montage_knows_are_left_out_of_a_first_card(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    path = eeg(root)
    names = ["Fp1", "Cz", "O2", "Nowhere"]
    mne.export.export_raw(path, raw_of(names), overwrite=True, verbose="error")
    rows = [(name, "EEG", "µV") for name in names]
    tsv(beside(path, "channels.tsv"), [("name", "type", "units"), *rows])
    assert '"drop": ["Nowhere"]' in new_card(root)


def test_a_decoders_reader_takes_a_file_outside_the_dataset(tmp_path: Path) -> None:
    path = eeg(dataset(tmp_path / "study"))
    alone = path.rename(tmp_path / "new.edf")
    recording = Bids(datatype="eeg", reader={"positions": "none"}).read(alone)
    assert "lies in no BIDS dataset: read without the tables of one" in recording.notes


# --- the command line --------------------------------------------------------------------------------------------


def told(*words: str | Path) -> str:
    """What a verb prints."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_line_prints_what_was_read_and_the_log(tmp_path: Path) -> None:
    root = dataset(tmp_path / "study")
    eeg(root, "01")
    changed(beside(eeg(root, "02"), "channels.tsv"), column("units", None))
    with pytest.raises(DataError, match="has no column units"):
        told("data", "read", root)
    said = told("data", "read", root, "--on-error", "repair")
    assert "eeg: 3 sensors, 200 Hz, 10 s" in said
    (line,) = [line for line in said.splitlines() if "has no column units" in line]
    assert line.startswith("sub-02_task-odd_eeg.edf  sub-02_task-odd_channels.tsv has no column units: ")
    found = json.loads(told("data", "read", root, "--on-error", "skip", "--json"))
    assert [row["recording"] for row in found["recordings"]] == ["sub-01_task-odd_eeg.edf"]
    assert [line["recording"] for line in found["log"]] == ["sub-02_task-odd_eeg.edf"]
    assert "nothing was repaired or left out" in told("data", "read", root, "--subject", "01")
    made = json.loads(told("data", "new", root, "--on-error", "repair", "--json"))
    assert made["card"] == str(tmp_path / "study.md")
    assert ["has no column units" in line["said"] for line in made["log"]] == [True]
    with pytest.raises(DataError, match="is no BIDS dataset"):
        new_card(tmp_path, on_error="repair")


def test_tables_of_another_recording_do_not_apply(tmp_path: Path) -> None:
    """The inheritance principle: what has an entity that the recording has not is about another one."""
    root = dataset(tmp_path)
    path = ieeg(root)
    for name in ("electrodes.tsv", "coordsystem.json"):
        path.with_name(f"sub-01_{name}").rename(path.with_name(f"sub-01_acq-other_{name}"))
    tsv(path.with_name("sub-01_task-rest_run-2_events.tsv"), EVENTS)
    (recording,) = brainfm.read(root)
    assert not recording.signal("seeg").sensors.located.any() and not len(recording.events)
