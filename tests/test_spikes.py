"""Spikes as arrays of times: every format gives the same neurons, a wrong clock is found, places travel with the times."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_files import SECONDS, cell, same
from scipy.io import savemat

from brainfm.data.readers.spike_arrays import SpikeArrays
from brainfm.data.reading import read
from brainfm.data.tracks import PlaceFile, Zones, regular
from brainfm.errors import DataError


def in_mat(path: Path, trains: list[np.ndarray]) -> SpikeArrays:
    savemat(path, {"spikes": cell(trains)})
    return SpikeArrays(unit="s", times="spikes", stop=SECONDS)


def in_structs(path: Path, trains: list[np.ndarray]) -> SpikeArrays:
    """Tetrodes of units, one tetrode without any, as MClust and its kin leave them."""
    units = [{"time": train, "span": np.array([0.0, SECONDS])} for train in trains]
    savemat(path, {"spikes": cell([cell(units[:3]), np.zeros((0, 0)), cell(units[3:])])})
    return SpikeArrays(unit="s", times="spikes", field="time", range="span")


def in_npz(path: Path, trains: list[np.ndarray]) -> SpikeArrays:
    np.savez(path, **{f"unit{row}": train for row, train in enumerate(trains)})
    return SpikeArrays(unit="s", stop=SECONDS)


def in_flat_npz(path: Path, trains: list[np.ndarray]) -> SpikeArrays:
    order = np.random.default_rng(1).permutation(sum(map(len, trains)))
    number = np.repeat(np.arange(len(trains)), [len(train) for train in trains])[order]
    np.savez(path, t=np.concatenate(trains)[order], who=number)
    return SpikeArrays(unit="s", times="t", neurons="who", stop=SECONDS)


def in_json(path: Path, trains: list[np.ndarray]) -> SpikeArrays:
    path.write_text(json.dumps({"units": [train.tolist() for train in trains]}))
    return SpikeArrays(unit="s", times="units", stop=SECONDS)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.mat", in_mat),
        ("b.mat", in_structs),
        ("a.npz", in_npz),
        ("b.npz", in_flat_npz),
        ("a.json", in_json),
    ],
)
def test_arrays_of_times_are_those_neurons(
    tmp_path: Path, trains: list[np.ndarray], name: str, write: Any
) -> None:
    reader = write(tmp_path / name, trains)
    recording = reader.read(tmp_path / name)
    assert same(recording, trains)
    assert recording.signal("spikes").seconds == pytest.approx(SECONDS)
    assert set(recording.signal("spikes").sensors.kind) == {"neuron"}


def test_units_are_called_after_their_place(tmp_path: Path, trains: list[np.ndarray]) -> None:
    reader = in_structs(tmp_path / "a.mat", trains).model_copy(update={"multiunit": ["n3*"], "region": "CA1"})
    sensors = reader.read(tmp_path / "a.mat").signal("spikes").sensors
    assert sensors.name == ("n1.1", "n1.2", "n1.3", "n3")
    assert sensors.kind == ("neuron", "neuron", "neuron", "multiunit")
    assert set(sensors.region) == {"CA1"}


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("samples", 30_000.0)])
def test_every_unit_that_is_labelled_gives_the_same_recording(
    tmp_path: Path, trains: list[np.ndarray], unit: str, factor: float
) -> None:
    np.savez(tmp_path / "s.npz", **{f"n{row}": train for row, train in enumerate(trains)})
    np.savez(tmp_path / "other.npz", **{f"n{row}": train * factor for row, train in enumerate(trains)})
    seconds = SpikeArrays(unit="s", stop=SECONDS).read(tmp_path / "s.npz")
    sfreq = 30_000.0 if unit == "samples" else None
    other = SpikeArrays(unit=unit, sfreq=sfreq, stop=SECONDS * factor).read(tmp_path / "other.npz")
    assert other.content_hash == seconds.content_hash
    np.testing.assert_array_equal(other.signal("spikes").load(), seconds.signal("spikes").load())


@pytest.mark.parametrize("rate", [5.0, 40.0])
def test_milliseconds_labelled_seconds_are_found(tmp_path: Path, rate: float) -> None:
    """At 40 Hz the rate would be plausible still (0.04 Hz); that no neuron fires twice within a tenth of a second is not."""
    rng = np.random.default_rng(2)
    some = {f"n{row}": 1e3 * np.cumsum(2e-3 + rng.exponential(1 / rate, 4000)) for row in range(4)}
    np.savez(tmp_path / "a.npz", **some)
    with pytest.raises(DataError, match=r"look like ms labelled s: say `unit: ms`"):
        SpikeArrays(unit="s").read(tmp_path / "a.npz")
    found = read(tmp_path / "a.npz", reader={"kind": "spike_arrays", "unit": "s"}, unit="ms")
    assert found.signal("spikes").data.rates() == pytest.approx(rate, rel=0.2)


def test_seconds_labelled_milliseconds_are_found(tmp_path: Path, trains: list[np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **{f"n{row}": train for row, train in enumerate(trains)})
    with pytest.raises(
        DataError, match=r"fires at .* Hz, but a neuron's rate lies between .* look like s labelled ms"
    ):
        SpikeArrays(unit="ms").read(tmp_path / "a.npz")


def test_a_slow_neuron_is_no_wrong_clock(tmp_path: Path) -> None:
    """An hour of neurons of 0.05 Hz that never burst: slow, and in seconds."""
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "a.npz", **{f"n{row}": np.sort(rng.uniform(0, 3600, 180)) for row in range(10)})
    assert SpikeArrays(unit="s").read(tmp_path / "a.npz").signal("spikes").data.rates().mean() > 0.04


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unit": "h"}, "times can't be in 'h'; use one of s, ms, µs, samples"),
        ({"unit": "samples"}, "need `sfreq:`"),
        ({"unit": "s", "sfreq": 10.0}, "is for times in samples"),
        ({"unit": "s", "times": "spikes"}, "has no variable 'spikes'; it has a, b, code"),
        ({"unit": "s", "stop": 5.0}, "lie outside the recording, 0.000 to 5.000 s"),
        ({"unit": "s", "field": "time"}, "holds no struct with the field 'time'"),
        ({"unit": "s", "times": "a", "neurons": "code"}, "300 times do not fit 3 neurons' numbers"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, trains: list[np.ndarray], settings: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "a.npz", a=trains[0], b=trains[1], code=np.array([1, 2, 3]))
    with pytest.raises(DataError, match=words) as caught:
        SpikeArrays(**settings).read(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_files_that_hold_no_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        SpikeArrays(unit="s").read(tmp_path / "none.mat")
    np.savez(tmp_path / "objects.npz", a=cell([np.zeros(2), np.zeros(3)]))
    with pytest.raises(DataError, match="can't be read"):
        SpikeArrays(unit="s").read(tmp_path / "objects.npz")
    (tmp_path / "a.json").write_text('{"a": ["x", "y"]}')
    with pytest.raises(DataError, match="where spike times are expected"):
        SpikeArrays(unit="s").read(tmp_path / "a.json")
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"should end in \.mat, \.npz, \.json"):
        SpikeArrays(unit="s").read(tmp_path / "a.txt")


def test_a_time_that_is_none_is_refused_and_padding_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([0.1, np.nan, 0.5]))
    with pytest.raises(DataError, match="neuron a has 1 times that are none"):
        SpikeArrays(unit="s").read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", m=np.array([[0.1, 0.2, np.nan], [0.3, np.nan, np.nan]]))
    found = SpikeArrays(unit="s", times="m").read(tmp_path / "b.npz").signal("spikes")
    assert found.data.rates() * found.seconds == pytest.approx([2, 1])


def trodes(path: Path, time: np.ndarray, place: np.ndarray) -> None:
    """A file as Trodes writes it, at 30 kHz."""
    kinds = np.dtype([("time", "<u4"), ("xloc", "<u2"), ("yloc", "<u2")])
    records = np.zeros(len(time), kinds)
    records["time"], records["xloc"], records["yloc"] = np.round(time * 30_000), place[:, 0], place[:, 1]
    head = "<Start settings>\nclockrate: 30000\nFields: <time uint32><xloc uint16><yloc uint16>\n<End settings>\n"
    path.write_bytes(head.encode() + records.tobytes())


def test_a_place_that_was_lost_is_no_place(tmp_path: Path, trains: list[np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **{f"n{row}": train + 100 for row, train in enumerate(trains)})
    time = 100 + np.arange(600) / 10
    place = np.stack([np.arange(600) % 200 + 1, np.full(600, 7)], axis=1)
    place[50:60] = 0
    trodes(tmp_path / "a.videoPositionTracking", time, place)
    zones = Zones(track="place", edges=[0.0, 100.5, 300.0], labels=["left", "right"])
    reader = SpikeArrays(
        unit="s",
        start=100.0,
        stop=160.0,
        tracks={"place": PlaceFile(file="{stem}.videoPositionTracking")},
        zones=zones,
    )
    recording = reader.read(tmp_path / "a.npz")
    track = recording.tracks["place"]
    assert track.rate == pytest.approx(10.0) and track.start == pytest.approx(0.0, abs=1e-4)
    assert np.isnan(track.data[50:60]).all() and np.isfinite(np.delete(track.data, range(50, 60), 0)).all()
    np.testing.assert_array_equal(track.data[100:103, 0], place[100:103, 0])
    assert recording.events.label == ("left", "left", "right", "left", "right", "left", "right")
    np.testing.assert_allclose(recording.events.onset, [0, 6, 10, 20, 30, 40, 50], atol=1e-3)
    np.testing.assert_allclose(recording.events.duration, [5, 4, 10, 10, 10, 10, 10], atol=1e-3)


def test_a_broken_place_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.videoPositionTracking"
    trodes(path, np.arange(10) / 10, np.ones((10, 2)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is cut short"):
        PlaceFile(file=path.name).read(path, 0.0)
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="is no file of Trodes"):
        PlaceFile(file=path.name).read(path, 0.0)
    with pytest.raises(DataError, match="has no field 'speed'"):
        trodes(path, np.arange(10) / 10, np.ones((10, 2)))
        PlaceFile(file=path.name, columns=["speed"], lost=None).read(path, 0.0)


def test_samples_at_any_time_become_a_regular_track() -> None:
    time = np.delete(np.arange(100) / 20, [40, 41, 42, 43]) + np.random.default_rng(0).uniform(0, 0.004, 96)
    track = regular(time, np.floor(time * 20), "px", "a")
    assert track.rate == pytest.approx(20.0, rel=0.02)
    values = track.data[np.isfinite(track.data)]
    assert np.isnan(track.data).sum() in (2, 3) and (np.diff(values) >= 0).all()
    with pytest.raises(DataError, match="do not fit"):
        regular(time[:-1], time, "px", "a")
    lost = time.copy()
    lost[7] = np.nan  # a sample without a time was not measured, and the others were
    kept = regular(lost, np.floor(time * 20), "px", "a")
    assert (kept.rate, kept.start) == (pytest.approx(track.rate, rel=0.01), track.start)
    with pytest.raises(DataError, match="1 of 2 samples have a time, and a track needs two"):
        regular(np.array([0.0, np.nan]), np.zeros(2), "px", "a")
