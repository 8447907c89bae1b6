"""MEG and intracranial EEG: units, coils and contacts as their files and tables say, in every system's files."""

import json
import os
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from brainfm.data.amplitude import variation
from brainfm.data.gate import trustworthy
from brainfm.data.modalities import modality
from brainfm.data.modalities.meg import helmet, leadfield
from brainfm.data.reading import read
from brainfm.data.recording import Recording
from brainfm.errors import DataError

REAL = Path(os.environ.get("BRAINFM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SFREQ = 200.0
EVERY = ("eeg", "meg", "seeg")


def real(name: str) -> Path:
    """A real file, or the test is skipped."""
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not in BRAINFM_DATA")
    return REAL / name


def coil_raw(data: np.ndarray, kinds: list[str], shift: float = 0.0) -> Any:
    """A `Raw` of coils on a small helmet, their normals outwards; the device lies `shift` metres under the head."""
    info = mne.create_info([f"MEG{row}" for row in range(len(kinds))], SFREQ, kinds)
    position, first, normal = helmet()
    for row, channel in enumerate(info["chs"]):
        along = first[row]
        place = position[row] - [0, 0, shift]
        channel["loc"] = np.concatenate([place, along, np.cross(normal[row], along), normal[row]])
    with info._unlock():
        move = np.eye(4)
        move[2, 3] = shift
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", move)
    return mne.io.RawArray(data, info, verbose="error")


@pytest.fixture
def fields() -> np.ndarray:
    """Three coils: a magnetometer of 500 fT and two gradiometers of 100 fT/cm, for ten seconds."""
    size = np.array([[5e-13], [1e-11], [1e-11]])
    return size * np.random.default_rng(0).normal(size=(3, 2000))


KINDS = ["mag", "grad", "grad"]


@pytest.mark.parametrize("name", EVERY)
def test_a_simulated_recording_passes_its_own_gate(name: str) -> None:
    kind = modality(name)
    recording = kind.simulate(np.random.default_rng(0), seconds=20.0)
    again = kind.simulate(np.random.default_rng(0), seconds=20.0)
    signal = trustworthy(recording).signal(name)
    np.testing.assert_array_equal(signal.load(), again.signal(name).load())
    assert signal.sensors.located.all() and signal.sfreq == kind.sfreq
    assert set(signal.sensors.kind) <= kind.kinds.keys()
    assert {kind.kinds[each].unit for each in signal.sensors.kind} == set(signal.sensors.unit)
    assert {"envelopes", "class"} <= recording.tracks.keys()


@pytest.mark.parametrize("name", EVERY)
def test_the_truth_is_seen_by_every_instrument(name: str) -> None:
    """Alpha comes and goes in the strongest sensors as the truth says."""
    recording = modality(name).simulate(np.random.default_rng(3), seconds=120.0)
    signal, truth = recording.signal(name), recording.tracks["envelopes"]
    band = mne.filter.filter_data(signal.load(), signal.sfreq, 8.0, 12.5, verbose="error")
    power = np.abs(mne.filter.filter_data(np.abs(band), signal.sfreq, None, 1.0, verbose="error"))
    at = (np.arange(len(truth.data)) / truth.rate * signal.sfreq).astype(int).clip(0, power.shape[1] - 1)
    alpha = truth.data[:, :3].T  # the three alpha sources
    heard, backwards = (
        np.corrcoef(power[:, at], truth)[: len(power), len(power) :] for truth in (alpha, alpha[:, ::-1])
    )
    assert heard.max() > max(0.4, np.abs(backwards).max())


def test_a_radial_dipole_is_silent_outside_a_sphere() -> None:
    """MNE's sphere has this property (Sarvas 1987); a wrong frame or coil breaks it."""
    from brainfm.data.brain import CENTRE, pool

    radial = pool() - CENTRE
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    along = np.einsum("cpx,px->cp", leadfield(), radial)
    assert np.abs(along).max(axis=1).max() < 1e-3 * np.abs(leadfield()).max()


def test_coils_keep_their_unit_place_and_direction(fields: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a_raw.fif"
    coil_raw(fields, KINDS).save(path, verbose="error")
    signal = read(path).signal("meg")
    assert signal.sensors.kind == ("mag", "grad", "grad")
    assert signal.sensors.unit == ("T", "T/m", "T/m")
    np.testing.assert_allclose(signal.load(), fields, rtol=1e-4, atol=1e-18)
    np.testing.assert_allclose(np.linalg.norm(signal.sensors.orientation, axis=1), 1.0)
    normal, *across = signal.sensors.orientation
    for along in across:  # planar gradiometers point along the head, a magnetometer away from it
        assert abs(along @ normal) < 0.2
    assert signal.sensors.frame == "approximate"


def test_places_are_in_the_heads_frame_wherever_the_device_is(fields: np.ndarray) -> None:
    near, far = (read(coil_raw(fields, KINDS, shift)).signal("meg").sensors for shift in (0.0, 0.04))
    np.testing.assert_allclose(near.position, far.position, atol=1e-9)
    np.testing.assert_allclose(near.orientation, far.orientation, atol=1e-9)


def test_a_coil_that_is_turned_round_points_the_other_way(fields: np.ndarray) -> None:
    raw = coil_raw(fields, KINDS)
    turned = raw.copy()
    for channel in turned.info["chs"]:
        channel["loc"][3:] *= -1
    before, after = (read(one).signal("meg").sensors for one in (raw, turned))
    np.testing.assert_allclose(after.orientation, -before.orientation, atol=1e-9)
    np.testing.assert_allclose(after.position, before.position, atol=1e-9)


def test_femtotesla_labelled_tesla_are_refused_and_named(fields: np.ndarray) -> None:
    stored = fields * [[1e15], [1.0], [1.0]]
    with pytest.raises(DataError, match=r"MEG0 typically varies by .* T, .*fT labelled T: say `unit: fT`"):
        read(coil_raw(stored, KINDS))
    signal = read(coil_raw(stored, KINDS), unit="fT").signal("meg")
    np.testing.assert_allclose(signal.load(), fields, rtol=1e-9)
    with pytest.raises(DataError, match="unit 'mV' is not known; use one of T, "):
        read(coil_raw(stored, KINDS), unit="mV")


def test_each_instrument_of_a_file_is_a_signal_of_its_own(fields: np.ndarray) -> None:
    names = ["MEG0", "MEG1", "MEG2", "C3", "C4", "EOG"]
    eeg = 2e-5 * np.random.default_rng(1).normal(size=(3, 2000))
    both = coil_raw(fields, KINDS).add_channels(
        [mne.io.RawArray(eeg, mne.create_info(names[3:], SFREQ, ["eeg", "eeg", "eog"]), verbose="error")],
        force_update_info=True,
    )
    recording = read(both)
    assert {name: len(signal.sensors) for name, signal in recording.signals.items()} == {"eeg": 2, "meg": 3}
    assert "left out, no brain signal: EOG (eog)" in recording.notes
    assert read(both, modality="meg").signals.keys() == {"meg"}
    with pytest.raises(DataError, match="holds no SEEG sensor among MEG0"):
        read(both, modality="seeg")


def both_kinds(fields: np.ndarray, eeg_size: float = 1.0) -> Any:
    """Three coils and two electrodes in one file."""
    eeg = eeg_size * 2e-5 * np.random.default_rng(1).normal(size=(2, 2000))
    electrodes = mne.io.RawArray(eeg, mne.create_info(["C3", "C4"], SFREQ, "eeg"), verbose="error")
    return coil_raw(fields, KINDS).add_channels([electrodes], force_update_info=True)


def test_a_unit_concerns_the_sensors_that_can_have_it(fields: np.ndarray) -> None:
    recording = read(both_kinds(fields, eeg_size=1e3), unit="mV")
    np.testing.assert_allclose(recording.signal("meg").load(), fields, rtol=1e-9)
    assert np.median(variation(recording.signal("eeg"))) == pytest.approx(2e-5, rel=0.1)


def test_an_instrument_whose_sensors_are_all_dropped_is_not_missed(fields: np.ndarray) -> None:
    reader = {"kind": "mne_file", "drop": ["C3", "C4"]}
    assert read(both_kinds(fields), reader=reader).signals.keys() == {"meg"}
    reader = {"kind": "mne_file", "keep": ["C3"]}
    assert read(both_kinds(fields), reader=reader).signals.keys() == {"eeg"}


SYSTEMS = {
    "sample_audvis_trunc_raw_sss.fif": {"mag": 102, "grad": 204},
    "neuromag122_test_file-raw.fif": {"grad": 118},  # four of its coils are flat
    "somMDYO-18av.ds_raw.fif": {"mag": 144},  # CTF: axial gradiometers are in T; seven are marked bad
    "exported4D_linux_raw.fif": {"mag": 248},
    "Example_RICOH160-1_10020-export_anonymyze.con": {"mag": 160},
    "MQKIT_125_2sec.con": {"mag": 125},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_real_files_of_every_system(name: str) -> None:
    signal = read(real("meg_formats") / name, on_bad="drop", modality="meg").signal("meg")
    kinds = np.array(signal.sensors.kind)
    assert {kind: int((kinds == kind).sum()) for kind in set(kinds)} == SYSTEMS[name]
    assert signal.sensors.located.all()
    np.testing.assert_allclose(np.linalg.norm(signal.sensors.orientation, axis=1), 1.0, atol=1e-6)
    assert np.linalg.norm(signal.sensors.position, axis=1).max() < 0.25, "metres, around a head"
    for kind in set(kinds):
        low, high = modality("meg").kinds[kind].plausible
        assert low < np.median(variation(signal)[kinds == kind]) < high


def test_what_the_file_marks_as_bad_is_left_out_of_windows_too(fields: np.ndarray) -> None:
    raw = coil_raw(fields, KINDS)
    raw.info["bads"] = ["MEG1"]
    events = np.array([[100, 0, 1], [900, 0, 1]])
    epochs = mne.Epochs(raw, events, tmin=0, tmax=0.995, baseline=None, preload=True, verbose="error")
    for recording in (read(raw), read(epochs)):
        assert recording.signal("meg").sensors.name == ("MEG0", "MEG2")
        assert "left out, marked bad in the file: MEG1" in recording.notes


def test_averaged_responses_are_windows_under_the_names_of_their_conditions(
    fields: np.ndarray, tmp_path: Path
) -> None:
    info = coil_raw(fields, KINDS).info
    one, other = (
        mne.EvokedArray(fields[:, :200] * size, info, tmin=-0.1, comment="left") for size in (1.0, 2.0)
    )
    path = tmp_path / "a-ave.fif"
    mne.write_evokeds(path, [one, other], verbose="error")
    recording = read(path)
    signal = recording.signal("meg")
    np.testing.assert_allclose(signal.load()[:, 200:], fields[:, :200] * 2.0, rtol=1e-4, atol=1e-18)
    assert signal.breaks == (200,) and recording.events.label == ("left 1", "left 2")
    np.testing.assert_allclose(recording.events.onset, [0.1, 1.1])


def test_real_averaged_responses() -> None:
    recording = read(real("meg_formats") / "test-ave.fif.gz")
    assert {name: len(signal.sensors) for name, signal in recording.signals.items()} == {
        "eeg": 60,
        "meg": 306,
    }
    assert len(recording.events) == len(recording.signal("meg").breaks) + 1 > 1


def contacts_edf(folder: Path, names: list[str]) -> Path:
    """An EDF of contacts, which EDF can't call anything but EEG."""
    data = 5e-5 * np.random.default_rng(0).normal(size=(len(names), 2000))
    raw = mne.io.RawArray(data, mne.create_info(names, SFREQ, "eeg"), verbose="error")
    path = folder / "sub-01_ses-a_task-rest_ieeg.edf"
    mne.export.export_raw(path, raw, verbose="error")
    return path


NAMES = ["A1", "A2", "B1"]
TABLE = "name\tx\ty\tz\tarea\nA1\t10\t-20\t30\tleft hippocampus\nB1\t40\t0\t5\tn/a\nA2\tn/a\tn/a\tn/a\tn/a\n"


def contacts(path: Path, **electrodes: str) -> Recording:
    reader = {
        "kind": "mne_file",
        "kinds": {"*": "seeg"},
        **({"electrodes": electrodes} if electrodes else {}),
    }
    return read(path, reader=reader)


def test_contacts_lie_where_the_table_says(tmp_path: Path) -> None:
    path = contacts_edf(tmp_path, NAMES)
    table = tmp_path / "sub-01_ses-a_electrodes.tsv"
    table.write_text(TABLE, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"does not say its unit; say it in the reader: `electrodes: \{unit: mm\}`"
    ):
        contacts(path)
    recording = contacts(path, unit="mm", space="mni", region="area")
    sensors = recording.signal("seeg").sensors
    np.testing.assert_allclose(sensors.position[[0, 2]], [[0.01, -0.02, 0.03], [0.04, 0.0, 0.005]])
    assert sensors.located.tolist() == [True, False, True] and sensors.frame == "exact"
    assert sensors.region == ("left hippocampus", "", "")
    assert "no position for A2" in recording.notes
    table.write_text(TABLE.replace("10\t-20\t30", "0.01\t-0.02\t0.03").replace("40\t0\t5", "0.04\t0\t0.005"))
    metres = contacts(path, unit="m").signal("seeg").sensors
    np.testing.assert_allclose(metres.position, sensors.position)
    assert metres.frame == "own", "nothing says that these are MNI coordinates"


def test_scalp_electrodes_keep_their_places_beside_a_table_of_contacts(tmp_path: Path) -> None:
    """The table may list them too, in its own frame, which is not the head's."""
    path = contacts_edf(tmp_path, [*NAMES, "C3"])
    (tmp_path / "sub-01_ses-a_electrodes.tsv").write_text(TABLE + "C3\t50\t50\t50\tn/a\n", encoding="utf-8")
    kinds = {"A*": "seeg", "B*": "seeg"}
    reader = {"kind": "mne_file", "kinds": kinds, "electrodes": {"unit": "mm", "space": "mni"}}
    scalp = read(path, reader=reader).signal("eeg").sensors
    np.testing.assert_allclose(
        scalp.position, read(path, reader={"kind": "mne_file", "keep": ["C3"]}).signal("eeg").sensors.position
    )


def test_a_coordinate_system_beside_the_table_is_believed(tmp_path: Path) -> None:
    path = contacts_edf(tmp_path, NAMES)
    (tmp_path / "sub-01_ses-a_space-MNI152Lin_electrodes.tsv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "sub-01_ses-a_space-own_electrodes.tsv").write_text("name\tx\ty\tz\n", encoding="utf-8")
    system = {"iEEGCoordinateSystem": "MNI152Lin", "iEEGCoordinateUnits": "mm"}
    (tmp_path / "sub-01_ses-a_space-MNI152Lin_coordsystem.json").write_text(json.dumps(system))
    sensors = contacts(path).signal("seeg").sensors
    assert sensors.frame == "exact"
    np.testing.assert_allclose(sensors.position[0], [0.01, -0.02, 0.03])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\tx\ty\nA1\t1\t2\n", "has no column 'z'; it has name, x, y"),
        ("name\tx\ty\tz\nA1\t1\t2\t3\nA1\t1\t2\t3\n", "lists A1 twice"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = contacts_edf(tmp_path, NAMES)
    (tmp_path / "places.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        contacts(path, file="places.tsv", unit="mm")
    with pytest.raises(DataError, match=r"should be in other\.tsv, which is not there"):
        contacts(path, file="other.tsv", unit="mm")
    with pytest.raises(DataError, match="has no column 'area'"):
        (tmp_path / "places.tsv").write_text("name\tx\ty\tz\nA1\t1\t2\t3\n", encoding="utf-8")
        contacts(path, file="places.tsv", unit="mm", region="area")


def test_real_contacts_with_their_regions() -> None:
    path = real("ieeg_mne_sample") / "sample_seeg.edf"
    electrodes = {"unit": "mm", "space": "mni", "region": "desikan-killiany"}
    reader = {"kind": "mne_file", "kinds": {"*": "seeg"}, "electrodes": electrodes, "drop": ["DC*"]}
    signal = read(path, reader=reader, on_bad="drop").signal("seeg")
    assert signal.sfreq == 1000.0 and signal.seconds == pytest.approx(20.0, abs=0.1)
    assert signal.sensors.located.sum() > 80 and signal.sensors.frame == "exact"
    assert np.abs(signal.sensors.position[signal.sensors.located]).max() < 0.12
    assert any("hippocampus" in region.lower() or "ctx" in region for region in signal.sensors.region)
