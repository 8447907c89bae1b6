"""BIDS: what the tables and sidecars beside a recording say of its sensors, places, events and units."""

from pathlib import Path

import mne
import numpy as np
import pytest
from bids_files import (
    CONTACTS,
    EVENTS,
    NAMES,
    SFREQ,
    as_json,
    beside,
    changed,
    dataset,
    eeg,
    ieeg,
    meg,
    raw_of,
    samples,
    tsv,
)

import brainfm
from brainfm.errors import DataError


def test_meg_keeps_its_coils_and_takes_other_types_from_the_table(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    meg(root)
    (recording,) = brainfm.read(root)
    assert recording.signals.keys() == {"meg"}
    assert recording.signal("meg").sensors.kind == ("mag", "mag", "grad")
    assert (recording.session, recording.run) == ("a", "01")


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


def test_tables_of_another_recording_do_not_apply(tmp_path: Path) -> None:
    """The inheritance principle: what has an entity that the recording has not is about another one."""
    root = dataset(tmp_path)
    path = ieeg(root)
    for name in ("electrodes.tsv", "coordsystem.json"):
        path.with_name(f"sub-01_{name}").rename(path.with_name(f"sub-01_acq-other_{name}"))
    tsv(path.with_name("sub-01_task-rest_run-2_events.tsv"), EVENTS)
    (recording,) = brainfm.read(root)
    assert not recording.signal("seeg").sensors.located.any() and not len(recording.events)


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
