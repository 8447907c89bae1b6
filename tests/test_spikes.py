"""Spikes from files: every format gives the same neurons, a wrong clock or bin is found, labels travel with the times."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from brainfm.baselines import Baseline
from brainfm.baselines.binned_rates import BinnedRates, counts
from brainfm.baselines.max_correlation import MaxCorrelation
from brainfm.data.cards import DataCard, check
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.data.readers import Reader
from brainfm.data.readers.binned_counts import BinnedCounts
from brainfm.data.readers.nwb import Nwb
from brainfm.data.readers.spike_arrays import SpikeArrays
from brainfm.data.readers.temporaldata import Temporaldata
from brainfm.data.reading import read
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.tracks import PlaceFile, Zones, regular
from brainfm.errors import DataError

REAL = Path(os.environ.get("BRAINFM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SECONDS = 60.0


@pytest.fixture
def trains() -> list[np.ndarray]:
    """Four neurons of 5, 8, 20 and 1 Hz over a minute, on a grid of 30 kHz that every unit of time can hold."""
    rng = np.random.default_rng(0)
    return [np.sort(rng.choice(59 * 30_000, n, replace=False)) / 30_000 for n in (300, 480, 1200, 60)]


def same(recording: Recording, trains: list[np.ndarray]) -> bool:
    """Whether these are the recording's neurons' times, to the microsecond."""
    data = recording.signal("spikes").data
    assert isinstance(data, SpikeTimes) and data.neurons == len(trains)
    return all(
        len(data.train(row)) == len(train) and np.allclose(data.train(row), train, atol=1e-6, rtol=0)
        for row, train in enumerate(trains)
    )


def cell(arrays: list[Any]) -> np.ndarray:
    """A MATLAB cell array."""
    out = np.empty(len(arrays), dtype=object)
    out[:] = arrays
    return out


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


# Counts in bins


@pytest.fixture
def binned() -> np.ndarray:
    """(neuron, trial, bin) counts of three neurons in eight trials of ten bins."""
    return np.random.default_rng(4).poisson(1.5, (3, 8, 10)).astype(float)


LABELS = np.array([1, 2] * 4)


@pytest.mark.parametrize(
    "axes", [["neuron", "trial", "bin"], ["bin", "neuron", "trial"], ["trial", "bin", "neuron"]]
)
def test_counts_come_whatever_the_order_of_axes(tmp_path: Path, binned: np.ndarray, axes: list[Any]) -> None:
    order = [["neuron", "trial", "bin"].index(axis) for axis in axes]
    savemat(tmp_path / "a.mat", {"y": binned.transpose(order), "label": LABELS})
    reader = BinnedCounts(
        pieces=[{"counts": "y", "labels": "label"}], axes=axes, step=0.05, unit="count", onset=0.1
    )
    recording = reader.read(tmp_path / "a.mat")
    signal = recording.signal("spikes")
    np.testing.assert_array_equal(signal.load(), binned.reshape(3, 80))
    assert signal.sfreq == 20.0 and signal.breaks == tuple(range(10, 80, 10))
    assert recording.events.label == ("1", "2") * 4
    np.testing.assert_allclose(recording.events.onset, np.arange(8) * 0.5 + 0.1)
    np.testing.assert_allclose(recording.events.duration, 0.4)


@pytest.mark.parametrize(("unit", "factor"), [("count", 1.0), ("Hz", 20.0), ("1/ms", 0.02)])
def test_counts_and_rates_each_labelled_are_the_same(
    tmp_path: Path, binned: np.ndarray, unit: Any, factor: float
) -> None:
    np.savez(tmp_path / "a.npz", y=binned[:, 0] * factor)
    reader = BinnedCounts(pieces=[{"counts": "y"}], axes=["neuron", "bin"], step=0.05, unit=unit)
    np.testing.assert_allclose(reader.read(tmp_path / "a.npz").signal("spikes").load(), binned[:, 0])


def test_a_wrong_bin_is_found(tmp_path: Path, binned: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", y=binned[:, 0] / 0.05)
    reader = BinnedCounts(pieces=[{"counts": "y"}], axes=["neuron", "bin"], step=0.03, unit="Hz")
    with pytest.raises(
        DataError, match=r"in bins of 0\.03 s its numbers, as Hz, are not whole spikes; correct `width`"
    ):
        reader.read(tmp_path / "a.npz")
    microseconds = reader.model_copy(update={"step": 5e-5, "unit": "count"})
    np.savez(tmp_path / "a.npz", y=binned[:, 0])
    with pytest.raises(DataError, match=r"fires at 3\.6e\+04 Hz, but a neuron's rate lies between"):
        microseconds.read(tmp_path / "a.npz")


def test_bins_that_overlap_keep_rates_and_count_no_spike_twice(tmp_path: Path) -> None:
    fine = np.random.default_rng(5).poisson(0.4, (4, 400)).astype(float)
    sums = np.stack([np.convolve(row, np.ones(8), "valid") for row in fine])
    np.savez(tmp_path / "a.npz", y=sums.T)
    reader = BinnedCounts(
        pieces=[{"counts": "y"}], axes=["bin", "neuron"], step=0.01, width=0.08, unit="count"
    )
    recording = reader.read(tmp_path / "a.npz")
    signal = recording.signal("spikes")
    assert signal.load().sum() == pytest.approx(fine[:, 7:].sum(), rel=0.05)
    assert any("overlap" in note for note in recording.notes)
    with pytest.raises(DataError, match="leave spikes out"):
        reader.model_copy(update={"width": 0.005}).read(tmp_path / "a.npz")


def test_trials_along_one_axis_with_tracks(tmp_path: Path, binned: np.ndarray) -> None:
    flat, velocity = binned.reshape(3, 80), np.arange(160.0).reshape(80, 2)
    label = np.repeat(LABELS, 10)
    savemat(
        tmp_path / "a.mat",
        {
            "a": flat[:, :34].T,
            "x": velocity[:34],
            "t": label[:34],
            "b": flat[:, 34:].T,
            "u": velocity[34:],
            "s": label[34:],
        },
    )
    pieces = [
        {"counts": "a", "labels": "t", "tracks": {"velocity": "x"}, "trial": 10},
        {"counts": "b", "labels": "s", "tracks": {"velocity": "u"}, "trial": 10, "first": 6},
    ]
    reader = BinnedCounts(
        pieces=pieces, axes=["bin", "neuron"], step=0.01, unit="count", units={"velocity": "cm/s"}
    )
    recording = reader.read(tmp_path / "a.mat")
    assert recording.signal("spikes").breaks == (10, 20, 30, 34, 40, 50, 60, 70)
    assert recording.events.label == ("1", "2", "1", "2", "2", "1", "2", "1", "2")
    np.testing.assert_array_equal(recording.tracks["velocity"].data, velocity)
    assert recording.tracks["velocity"].unit == "cm/s" and recording.tracks["velocity"].rate == 100.0
    with pytest.raises(DataError, match="the track 'velocity' is not in every piece"):
        reader.model_copy(
            update={"pieces": [reader.pieces[0].model_copy(update={"tracks": {}}), reader.pieces[1]]}
        ).read(tmp_path / "a.mat")


def test_neurons_recorded_apart_are_paired_by_condition(tmp_path: Path) -> None:
    """Neuron, condition and repeat are written into the counts; each neuron saw the conditions in an order of its own."""
    rng = np.random.default_rng(6)
    names = np.array(["cat", "dog", "owl"])
    values, words = [], []
    for neuron in range(4):
        shown = rng.permutation(np.repeat(np.arange(3), 5 if neuron else 4))
        repeat = np.array([(shown[:at] == one).sum() for at, one in enumerate(shown)])
        values.append(np.stack([100.0 * neuron + 10 * shown + repeat, np.full(len(shown), 1.0)], axis=1))
        words.append(np.array([names[one] for one in shown], dtype=object))
    savemat(tmp_path / "a.mat", {"y": cell(values), "w": cell(words)})
    reader = BinnedCounts(
        pieces=[{"counts": "y", "condition": "w"}], axes=["neuron", "trial", "bin"], step=0.5, unit="count", apart=True,
        multiunit=True,
    )  # fmt: skip
    recording = reader.read(tmp_path / "a.mat")
    found = recording.signal("spikes").load().reshape(4, 12, 2)[:, :, 0]
    label = [list(names).index(one) for one in recording.events.label]
    for trial in range(12):
        np.testing.assert_array_equal(found[:, trial], 100 * np.arange(4) + 10 * label[trial] + trial // 3)
    assert label == [0, 1, 2] * 4
    assert any("9 trials of single neurons have no partner" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": ["neuron", "bin"]}, r"y has shape \(3, 8, 10\), which does not fit axes"),
        ({"axes": ["neuron", "neuron", "bin"]}, "each once"),
        ({"pieces": [{"counts": "z"}]}, "has no variable 'z'; it has y, label"),
        ({"pieces": [{"counts": "y", "labels": "short"}]}, "3 labels fit neither 8 trials nor 80 bins"),
        ({"names": "short"}, None),
        ({"names": "label"}, "8 names do not fit 3 neurons"),
        ({"onset": 0.5}, "lies beyond the end of a trial"),
        ({"apart": True}, "need `condition:`"),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    tmp_path: Path, binned: np.ndarray, change: dict[str, Any], words: str | None
) -> None:
    np.savez(tmp_path / "a.npz", y=binned, label=LABELS, short=np.array(["a", "b", "c"]))
    usual: dict[str, Any] = {
        "pieces": [{"counts": "y", "labels": "label"}],
        "axes": ["neuron", "trial", "bin"],
        "step": 0.05,
        "unit": "count",
    }
    reader = BinnedCounts(**{**usual, **change})
    if words is None:
        assert reader.read(tmp_path / "a.npz").signal("spikes").sensors.name == ("a", "b", "c")
        return
    with pytest.raises(DataError, match=words) as caught:
        reader.read(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


# NWB


def write_nwb(path: Path, trains: list[np.ndarray], start: float = 0.0, scale: float = 1.0) -> Path:
    """A session with sorted units, trials, a cursor, a wheel at uneven times, licks and two channels of LFP."""
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.behavior import BehavioralEvents, Position, SpatialSeries
    from pynwb.ecephys import ElectricalSeries
    from pynwb.file import Subject

    nwb = NWBFile("a test", "id1", datetime(2024, 1, 1, tzinfo=UTC), session_id="day2")
    nwb.subject = Subject(subject_id="m7", species="Mus musculus", age="P90D", sex="F")
    group = nwb.create_electrode_group("shank", "a shank", "VISp", nwb.create_device("probe"))
    for row in range(4):
        nwb.add_electrode(group=group, location=f"VISp{row}", x=100.0 * row, y=20.0, z=3000.0)
    nwb.add_unit_column("quality", "by hand")
    for row, (train, word) in enumerate(zip(trains, ["good", "mua", "noise", "good"], strict=True)):
        nwb.add_unit(
            spike_times=(train + start) * scale,
            quality=word,
            electrodes=[3 - row, 0],
            obs_intervals=[[start, start + 30.0], [start + 32.0, start + SECONDS]],
        )
    nwb.add_trial_column("direction", "of the target")
    nwb.add_trial_column("go_cue_time", "when it may move")
    for row in range(5):
        begin = start + 2.0 + 10 * row
        nwb.add_trial(
            start_time=begin,
            stop_time=begin + 3,
            direction=["left", "right"][row % 2],
            go_cue_time=begin + 0.5,
        )
    behavior = nwb.create_processing_module("behavior", "what it did")
    cursor = SpatialSeries(
        name="cursor", data=np.arange(600.0).reshape(300, 2), reference_frame="screen", unit="m", conversion=0.01,
        starting_time=start + 1.0, rate=5.0,
    )  # fmt: skip
    behavior.add(Position(spatial_series=cursor))
    licks = TimeSeries(
        name="lick", data=np.ones(3), unit="n/a", timestamps=start + np.array([4.0, 9.0, 21.0])
    )
    behavior.add(BehavioralEvents(time_series=licks))
    uneven = start + np.arange(100) / 10 + np.random.default_rng(0).uniform(0, 0.01, 100)
    nwb.add_acquisition(TimeSeries(name="wheel", data=np.arange(100), unit="rad", timestamps=uneven))
    chosen = nwb.create_electrode_table_region([1, 3], "two of them")
    nwb.add_acquisition(
        ElectricalSeries(
            name="lfp",
            data=np.random.default_rng(1).normal(0, 40, (25_000, 2)),
            electrodes=chosen,
            rate=500.0,
            starting_time=start + 5.0,
            conversion=1e-6,
        )
    )
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


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


# temporaldata


def write_temporaldata(path: Path, trains: list[np.ndarray], scale: float = 1.0, shift: float = 0.0) -> Path:
    """A session as brainsets prepares it: spikes, units, trials with split masks, a cursor and a gaze, split domains."""
    import h5py
    from temporaldata import ArrayDict, Data, Interval, IrregularTimeSeries, RegularTimeSeries

    time = np.concatenate(trains)
    order = np.argsort(time, kind="stable")
    index = np.repeat(np.arange(len(trains)), [len(train) for train in trains])[order]
    start, end = np.arange(5) * 10 + 2.0, np.arange(5) * 10 + 5.0
    whole = Interval(start=np.array([0.0, 32.0]) + shift, end=np.array([30.0, SECONDS]) + shift)
    mask = np.array([True, True, True, False, False])
    data = Data(
        brainset=Data(id="a_set", domain=None),
        subject=Data(id="monkey_j", domain=None),
        session=Data(id="j_20240101", domain=None),
        spikes=IrregularTimeSeries(timestamps=(time[order] + shift) * scale, unit_index=index, domain=whole),
        units=ArrayDict(
            id=np.array(
                [f"group_0/elec{row}/{'multiunit' if row == 1 else 'unit'}_{row}" for row in range(4)]
            ),
            type=np.array([0, 1, 0, 0]),
            brain_region=np.array(["M1", "M1", "PMd", "PMd"]),
        ),
        trials=Interval(
            start=start + shift,
            end=end + shift,
            target=np.array(["left", "right", "left", "right", "left"]),
            train_mask=mask,
            test_mask=~mask,
            timekeys=["start", "end"],
        ),
        cursor=RegularTimeSeries(
            pos=np.arange(1200.0).reshape(600, 2), sampling_rate=10.0, domain_start=shift
        ),
        gaze=IrregularTimeSeries(
            timestamps=np.arange(0, 50, 0.02) + shift, xy=np.ones((2500, 2)), domain="auto"
        ),
        train_domain=Interval(start=np.array([0.0]) + shift, end=np.array([40.0]) + shift),
        domain=whole,
    )
    with h5py.File(path, "w") as file:
        data.to_hdf5(file)
    return path


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


@pytest.mark.filterwarnings("ignore")
def test_the_name_of_a_file_chooses_its_reader(tmp_path: Path, trains: list[np.ndarray]) -> None:
    nwb = write_nwb(tmp_path / "a.nwb", trains)
    assert read(nwb, modality="spikes").content_hash == Nwb().read(nwb).content_hash
    assert set(read(nwb, modality="seeg").signals) == {"seeg"}
    data = write_temporaldata(tmp_path / "a.h5", trains)
    assert same(read(data, modality="spikes"), trains)
    np.savez(tmp_path / "a.npz", a=trains[0])
    with pytest.raises(DataError, match=r"could be read by binned_counts, spike_arrays; say which"):
        read(tmp_path / "a.npz")


# Counting, decoding


def recording_of(data: Any, sfreq: float, breaks: tuple[int, ...] = ()) -> Recording:
    sensors = Sensors.of([f"n{row}" for row in range(data.shape[0])], "neuron", "count")
    return Recording({"spikes": Signal(data, sfreq, sensors, breaks)}, source="test")


def test_spikes_are_counted_in_bins_of_a_stated_length(trains: list[np.ndarray]) -> None:
    times = recording_of(SpikeTimes.of(trains, SECONDS), 1000.0)
    binned = BinCounts(seconds=0.05)(times, "spikes").signal("spikes")
    assert binned.sfreq == 20.0 and isinstance(binned.data, SpikeTimes), "times stay times"
    expected = np.stack([np.histogram(train, np.arange(1201) / 20)[0] for train in trains])
    np.testing.assert_array_equal(binned.load(), expected)
    dense = recording_of(times.signal("spikes").load(), 1000.0)
    np.testing.assert_array_equal(BinCounts(seconds=0.05)(dense, "spikes").signal("spikes").load(), expected)


def test_bins_do_not_cross_breaks() -> None:
    data = np.ones((2, 25))
    recording = BinCounts(seconds=0.3)(recording_of(data, 10.0, (10, 17)), "spikes")
    signal = recording.signal("spikes")
    assert signal.data.shape == (2, 7) and signal.breaks == (3, 5)
    np.testing.assert_array_equal(signal.data, 3.0)
    assert "4 bins at the ends of stretches" in recording.notes[-1]
    with pytest.raises(DataError, match=r"bins of 0\.25 s can't be made of bins of 0\.1 s"):
        BinCounts(seconds=0.25)(recording_of(data, 10.0), "spikes")
    with pytest.raises(DataError, match=r"bins of 0\.01 s can't be made"):
        BinCounts(seconds=0.01)(recording_of(data, 10.0), "spikes")
    kept = BinCounts(seconds=0.01, wider="keep")(recording_of(data, 10.0), "spikes")
    assert kept.signal("spikes").sfreq == 10.0 and "stay as they are" in kept.notes[-1]


def test_windows_are_counted_in_parts() -> None:
    signal = np.arange(24.0).reshape(2, 1, 12)
    np.testing.assert_array_equal(counts(signal, 3)[0, 0], [6, 22, 38])
    assert counts(signal, 100).shape == (2, 1, 12)


@pytest.mark.parametrize(
    "baseline", [BinnedRates(), BinnedRates(bins=2), MaxCorrelation(), MaxCorrelation(bins=2)]
)
def test_baselines_decode_tuned_neurons(baseline: Baseline) -> None:
    """Thirty neurons with a rate of their own in each of three classes, one of them silent in training."""
    rng = np.random.default_rng(7)
    rate = rng.uniform(0.1, 0.5, (3, 30))
    label = np.arange(240) % 3
    signal = rng.poisson(rate[label][:, :, None], (240, 30, 10)).astype(float)
    signal[:120, 4] = 0
    train, test = np.arange(120), np.arange(120, 240)
    decoder = baseline.build(10.0, 30, 3).fit(signal[train], label[train], np.zeros(120, int))
    found = decoder.predict_proba(signal[test], np.zeros(120, int))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found.argmax(axis=1) == label[test]).mean() > 0.9
    shuffled = rng.permutation(label[train])
    blind = baseline.build(10.0, 30, 3).fit(signal[train], shuffled, np.zeros(120, int))
    assert (blind.predict_proba(signal[test], np.zeros(120, int)).argmax(axis=1) == label[test]).mean() < 0.6
    signal[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="holds NaN"):
        baseline.build(10.0, 30, 3).fit(signal[train], label[train], np.zeros(120, int))


# Cards: what is planted is found

PLANTED = [
    ("spk_zhang_desimone", "step: 0.05", "step: 0.1", "facts.sfreq"),
    ("spk_zhang_desimone", "width: 0.15", "width: 0.2", "recordings"),
    ("spk_zhang_desimone", "sensors: 132", "sensors: 131", "facts.sensors"),
    ("spk_zhang_desimone", "flower: 59", "flower: 60", "facts.windows"),
    ("spk_zhang_desimone", "unit: 1/ms", "unit: Hz", "recordings"),
    ("spk_dad_m1", "step: 0.01", "step: 0.02", "facts.sfreq"),
    ("spk_dad_m1", "sensors: 71", "sensors: 70", "facts.sensors"),
    ("spk_dad_m1", "unit: count", "unit: Hz", "recordings"),
    ("spk_nelpy_ca1", "unit: s\n  times", "unit: ms\n  times", "recordings"),
    ("spk_nelpy_ca1", "unit: s\n  times", "unit: µs\n  times", "recordings"),
    ("spk_nelpy_ca1", "sensors: 31", "sensors: 37", "facts.sensors"),
    ("spk_nelpy_ca1", "near: 424", "near: 425", "facts.windows"),
    ("spk_nelpy_ca1", "sfreq: 1000.0", "sfreq: 30000.0", "facts.sfreq"),
    ("simulated_spikes", "sfreq: 1000.0", "sfreq: 100.0", "facts.sfreq"),
]


@pytest.mark.parametrize(("name", "old", "new", "field"), PLANTED)
def test_a_planted_error_is_found(tmp_path: Path, name: str, old: str, new: str, field: str) -> None:
    card = DataCard.load(name)
    if card.folder and not (REAL / card.folder).is_dir():
        pytest.skip("the recordings are not here")
    text = (Path(__file__).parents[1] / "data_cards" / f"{name}.md").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / f"{name}.md").write_text(text.replace(old, new, 1), encoding="utf-8")
    found = check(DataCard.load(tmp_path / f"{name}.md"))
    assert field in {problem.field for problem in found}


def test_the_real_clock_in_milliseconds_is_the_same_recording(tmp_path: Path) -> None:
    """The rat's spikes written again in milliseconds: equal where they are labelled so, refused where not."""
    card = DataCard.load("spk_nelpy_ca1")
    if not (REAL / card.folder).is_dir():
        pytest.skip("the recordings are not here")
    recording = card.recordings()[0]
    spikes = recording.signal("spikes").data
    assert isinstance(spikes, SpikeTimes)
    np.savez(tmp_path / "a.npz", **{f"n{row:02d}": spikes.train(row) * 1e3 for row in range(spikes.neurons)})
    again = SpikeArrays(unit="ms", stop=spikes.seconds * 1e3).read(tmp_path / "a.npz")
    np.testing.assert_allclose(again.signal("spikes").data.time, spikes.time, atol=1e-9)
    with pytest.raises(DataError, match="ms labelled s"):
        SpikeArrays(unit="s").read(tmp_path / "a.npz")


@pytest.mark.parametrize(("reader", "package"), [(Nwb, "pynwb"), (Temporaldata, "h5py")])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: type[Reader], package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"a{reader.suffixes[0]}"
    path.write_bytes(b"anything")
    with pytest.raises(DataError, match=f"needs {package} to be read: pip install"):
        reader().read(path)
