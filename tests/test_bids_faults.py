"""BIDS: every planted fault under every `on_error`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from bids_files import NAMES, SFREQ, as_json, beside, changed, column, dataset, eeg, ieeg, raw_of, samples

import brainfm
from brainfm.data.recording import Recording
from brainfm.errors import DataError


def rows_changed(change: Callable[[list[list[str]]], list[list[str]]], name: str = "channels.tsv") -> Any:
    """A fault in a table beside the recording."""
    return lambda path: changed(beside(path, name), change)


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
