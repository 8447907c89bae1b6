"""Sessions of temporaldata give neurons, events, tracks and splits, and those that do not fit are refused."""

from pathlib import Path

import numpy as np
import pytest
from little_files import SECONDS, same, write_temporaldata

from brainfm.data.readers.temporaldata import Temporaldata
from brainfm.errors import DataError


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_temporaldata_gives_neurons_events_tracks_and_splits(
    tmp_path: Path, trains: list[np.ndarray], shift: float
) -> None:
    quiet = [train[(train < 30) | (train >= 32)] for train in trains]
    path = write_temporaldata(tmp_path / "a.h5", quiet, shift=shift)
    recording = Temporaldata(codes="target").read(path)
    assert same(recording, quiet)
    signal = recording.signal("spikes")
    assert signal.seconds == pytest.approx(SECONDS)
    assert signal.sensors.kind == ("neuron", "multiunit", "neuron", "neuron")
    assert signal.sensors.region == ("M1", "M1", "PMd", "PMd")
    assert signal.sensors.name[1] == "group_0/elec1/multiunit_1"
    label = np.array(recording.events.label)
    np.testing.assert_allclose(recording.events.onset[label == "left"], [2, 22, 42])
    np.testing.assert_allclose(recording.events.onset[label == "trials.train_mask"], [2, 12, 22])
    np.testing.assert_allclose(recording.events.onset[label == "trials.test_mask"], [32, 42])
    np.testing.assert_allclose(recording.events.duration[label == "train_domain"], [40.0])
    np.testing.assert_allclose(recording.events.onset[label == "unobserved"], [30.0])
    cursor = recording.tracks["cursor.pos"]
    assert (cursor.rate, cursor.start) == (10.0, 0.0)
    np.testing.assert_array_equal(cursor.data, np.arange(1200.0).reshape(600, 2))
    assert recording.tracks["gaze.xy"].rate == pytest.approx(50.0)
    assert (recording.subject, recording.session) == ("monkey_j", "j_20240101")


@pytest.mark.filterwarnings("ignore")
def test_temporaldata_that_does_not_fit_is_refused(tmp_path: Path, trains: list[np.ndarray]) -> None:
    import h5py

    path = write_temporaldata(tmp_path / "a.h5", trains)
    assert Temporaldata.recognises(path)
    with pytest.raises(DataError, match=r"holds no spikes under 'units'; it holds .*cursor"):
        Temporaldata(spikes="units").read(path)
    with pytest.raises(DataError, match="trials has no column 'colour'"):
        Temporaldata(codes="colour").read(path)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert not Temporaldata.recognises(tmp_path / "b.h5")
    with pytest.raises(DataError, match="no Data object of temporaldata"):
        Temporaldata().read(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="can't be read as temporaldata"):
        Temporaldata().read(tmp_path / "c.h5")
    with h5py.File(path, "r+") as file:
        file["spikes/unit_index"][0] = 9
    with pytest.raises(DataError, match="a spike is of unit 9, but units lists 4"):
        Temporaldata().read(path)
