"""BIDS: what one call finds in a dataset, chooses by entities and reads, with whose reader."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mne
import numpy as np
import pytest
from bids_files import COILS, CONTACTS, NAMES, beside, dataset, eeg, meg, raw_of, samples, tsv

import brainfm
from brainfm.data import formats
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.recording import Recording
from brainfm.data.recordings import Recordings
from brainfm.errors import DataError


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
    (said,) = brainfm.read(root, kinds={"T8": "eeg", "Cz": "ecg"})  # before what the table says
    assert said.signal("eeg").sensors.name == ("Fp1", "O2", "T8")
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
