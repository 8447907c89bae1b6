"""Which reader takes a file, by its name, its settings and its content, and what BIDS tells it."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from bids_files import CONTACTS, EVENTS, SFREQ, as_json, beside, dataset, eeg, ieeg, samples, tsv

import brainfm
from brainfm.data import formats
from brainfm.data.readers import Reader
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.readers.table import Table
from brainfm.data.reading import read_one
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError


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
    with pytest.raises(
        DataError, match=r"other\.x\.y could be read by test_which_reader, test_which_reader; say which"
    ):
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
