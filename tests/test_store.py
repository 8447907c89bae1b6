"""The store: what is read from it is what was prepared, and what is damaged or too coarse is said."""

import os
import pickle
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from store_files import STEPS, neurons, session, stored

from brainfm.data.fingerprint import fingerprint
from brainfm.data.preprocess import prepare
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.store import Store, open_store, table
from brainfm.data.store.codec import COARSEST
from brainfm.data.store.writing import Order
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.manifest import Manifest


@pytest.mark.parametrize("held", ["int16", "float16"])
def test_what_is_read_is_what_was_prepared(held: Any, tmp_path: Path) -> None:
    raw = session()
    (wanted,) = prepare([raw], STEPS, "eeg")
    (got,) = stored(tmp_path, [raw], Order({"eeg": STEPS}, held)).recordings()
    before, after = wanted.signal("eeg"), got.signal("eeg")
    off = np.abs(after.load() - before.load()).max()
    assert off < (3e-4 if held == "int16" else 15 / 2**11)  # of one robust scale
    assert (after.sfreq, after.breaks, after.stretches) == (before.sfreq, before.breaks, before.stretches)
    for name in ("name", "kind", "unit", "region", "frame"):
        assert getattr(after.sensors, name) == getattr(before.sensors, name)
    np.testing.assert_array_equal(after.sensors.position, before.sensors.position)
    np.testing.assert_array_equal(after.sensors.orientation, before.sensors.orientation)
    np.testing.assert_array_equal(got.events.onset, raw.events.onset)
    assert got.events.label == raw.events.label
    for name in ("dataset", "subject", "session", "run", "source", "content_hash"):
        assert getattr(got, name) == getattr(raw, name)
    assert got.notes[:-1] == wanted.notes and "store: eeg as" in got.notes[-1]


def test_slices_are_as_of_an_array(tmp_path: Path) -> None:
    (got,) = stored(tmp_path, [session()], Order({"eeg": STEPS})).recordings()
    data = got.signal("eeg").data
    everything = np.asarray(data[:, :])
    for key in [
        (slice(None), slice(100, 300)),
        (slice(1, 4), slice(None)),
        ([3, 0], slice(50, 60)),
        (2, slice(5, 9)),
        (slice(None), 17),
        (slice(None), [40, 3, 7]),
        (slice(None), slice(10, 100, 7)),
        (slice(None), slice(-20, None)),
        (slice(None), slice(9, 9)),
    ]:
        np.testing.assert_array_equal(data[key], everything[key])


def test_tracks_come_back_and_are_read_by_slice(tmp_path: Path) -> None:
    raw = session()
    (got,) = stored(tmp_path, [raw], Order({"eeg": []})).recordings()
    assert list(got.tracks) == list(raw.tracks)
    for name, track in raw.tracks.items():
        other = got.tracks[name]
        assert (other.rate, other.unit, other.start) == (track.rate, track.unit, track.start)
        assert other.names == track.names
        assert (other.data.shape, other.data.dtype) == (track.data.shape, track.data.dtype)
        np.testing.assert_array_equal(np.asarray(other.data), track.data)
        np.testing.assert_array_equal(other.data[1:20], track.data[1:20])
        np.testing.assert_array_equal(other.data[1], track.data[1])
    np.testing.assert_array_equal(got.tracks["film"].data[3:5, 1, ::2], raw.tracks["film"].data[3:5, 1, ::2])


def test_spikes_stay_events_to_the_bit(tmp_path: Path) -> None:
    raw = neurons()
    (got,) = stored(tmp_path, [raw], Order({"spikes": []})).recordings()
    before, after = raw.signal("spikes").data, got.signal("spikes").data
    np.testing.assert_array_equal(after.time, before.time)
    np.testing.assert_array_equal(after.neuron, before.neuron)
    assert after.shape == before.shape
    for first, stop in [(0, 1), (0, 1000), (999, 3001), (20000, 20500), (0, 20500), (5000, 5000)]:
        np.testing.assert_array_equal(after[:, first:stop], before[:, first:stop])
        np.testing.assert_array_equal(after[[4, 1], first:stop], before[[4, 1], first:stop])
    for start, stop in [(0.0, 1.0), (2.5, 2.75), (19.9, 30.0), (-1.0, 0.2)]:
        np.testing.assert_array_equal(after.inside(start, stop)[0], before.inside(start, stop)[0])
        np.testing.assert_array_equal(after.inside(start, stop)[1], before.inside(start, stop)[1])
    np.testing.assert_array_equal(after.rates(), before.rates())
    np.testing.assert_array_equal(after.take([3]).time, before.take([3]).time)
    assert fingerprint(got, "spikes") == fingerprint(raw, "spikes")


def test_silent_neurons_and_one_sample_are_stored_too(tmp_path: Path) -> None:
    none = Signal(SpikeTimes.of([np.zeros(0)], 3.0), 1000.0, Sensors.of(["n"], "neuron", "count"))
    silent = Recording({"spikes": none}, dataset="silent")
    (got,) = stored(tmp_path / "spikes", [silent], Order({"spikes": []})).recordings()
    assert not got.signal("spikes").load().any() and got.signal("spikes").n_times == 3000
    one = Recording(
        {"eeg": Signal(np.array([[3.5], [1.0]]), 1.0, Sensors.of(["a", "b"], "eeg", "V"))}, dataset="one"
    )
    (got,) = stored(tmp_path / "one", [one], Order({"eeg": []})).recordings()
    np.testing.assert_array_equal(got.signal("eeg").load(), [[3.5], [1.0]])


def test_windows_and_manifest_are_those_of_the_card(tmp_path: Path) -> None:
    raw = [session(1), session(2)]
    ready = prepare(raw, STEPS, "eeg")
    got = stored(tmp_path, raw, Order({"eeg": STEPS})).recordings()
    assert (
        Manifest.of(got, "eeg", with_labels=False).digest == Manifest.of(raw, "eeg", with_labels=False).digest
    )
    for one, other in zip(raw, got, strict=True):
        assert fingerprint(one, "eeg") == fingerprint(other, "eeg")
        assert fingerprint(one, "eeg").hashes().size > 8
    windows = Sliding(seconds=2.0)(ready, "eeg", [])
    same = Sliding(seconds=2.0)(got, "eeg", [])
    np.testing.assert_array_equal(windows.start, same.start)
    rows = np.arange(len(windows))
    np.testing.assert_allclose(take(got, same, rows, "eeg"), take(ready, windows, rows, "eeg"), atol=3e-4)


def test_the_error_is_said_and_true(tmp_path: Path) -> None:
    raw = session()
    store = stored(tmp_path, [raw], Order({"eeg": STEPS}))
    (wanted,) = prepare([raw], STEPS, "eeg")
    off = np.abs(store.recordings()[0].signal("eeg").load() - wanted.signal("eeg").load()).max(axis=1)
    row = store.rows[0].signals[0]
    assert (off / np.array(row.robust)).max() <= 1.02 * row.error + 1e-6  # float32 of what was prepared
    assert 0 < row.error < COARSEST


def wild() -> Recording:
    """One sample a million times as large as the rest."""
    data = 1e-5 * np.random.default_rng(0).standard_normal((2, 4000))
    data[1, 77] = 10.0
    return Recording(
        {"eeg": Signal(data, 100.0, Sensors.of(["Cz", "Pz"], "eeg", "V"))}, source="wild.edf", dataset="wild"
    )


def test_int16_is_refused_where_it_would_be_coarse(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"wild\.edf: Pz has samples \d+ robust scales apart.*--dtype float16"
    ):
        stored(tmp_path / "a", [wild()], Order({"eeg": []}))
    (got,) = stored(tmp_path / "b", [wild()], Order({"eeg": []}, "float16")).recordings()
    np.testing.assert_allclose(got.signal("eeg").load()[1, 77], 10.0, rtol=1e-3)  # nothing is clipped


def test_whole_numbers_stay_exact(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(0.1, (3, 500)).astype(float)
    counts[2] = 0
    table_ = Sensors.of(["a", "b", "c"], "neuron", "count")
    raw = Recording({"spikes": Signal(counts, 20.0, table_)}, dataset="counts")
    (got,) = stored(tmp_path, [raw], Order({"spikes": []})).recordings()
    np.testing.assert_array_equal(got.signal("spikes").load(), counts)


def test_no_numbers_are_refused(tmp_path: Path) -> None:
    raw = wild()
    raw.signal("eeg").data[0, 5] = np.nan
    with pytest.raises(DataError, match=r"wild\.edf: Cz has samples that are no numbers"):
        stored(tmp_path, [raw], Order({"eeg": []}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stored(tmp_path / "store", [session(1), session(2)], Order({"eeg": STEPS}))


def test_a_flipped_byte_is_found_in_any_file(store: Store) -> None:
    assert open_store(store.root, verify=True).check() == []
    rng = random.Random(0)
    root = Path(store.root)
    for name in [file for row in store.rows for file, _, _ in row.files]:
        path = root / name
        whole = path.read_bytes()
        for _ in range(3):
            at = rng.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
            with pytest.raises(DataError, match=f"{name} is not what was prepared"):
                open_store(root, verify=True)
            result = tiny.brainfm("data", "check", root, "--json")
            assert (result.code, [p["field"] for p in result.json["problems"]]) == (1, [name])
        path.write_bytes(whole)
    assert tiny.brainfm("data", "check", root).out.endswith("every byte as it was prepared\n")


def test_a_flipped_byte_of_the_manifest_is_found_or_harmless(store: Store) -> None:
    path = Path(store.root) / table.NAME
    whole = path.read_bytes()
    good = open_store(store.root)
    found = 0
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            spoilt = open_store(store.root, verify=True)
        except DataError:
            found += 1
        else:
            assert (spoilt.rows, spoilt.steps) == (good.rows, good.steps)
    assert found > 50  # of 150; the rest are bytes that nothing reads
    path.write_bytes(whole)


def test_missing_short_and_foreign_files_are_said_in_a_sentence(store: Store, tmp_path: Path) -> None:
    path = Path(store.root) / store.rows[0].signals[0].file
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    with pytest.raises(
        DataError, match=rf"{path.name} has {len(whole) - 2} bytes, its manifest says {len(whole)}"
    ):
        store.recordings()[0].signal("eeg").load()
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        store.recordings()[0].signal("eeg").load()
    with pytest.raises(DataError, match="holds no prepared store; make one: brainfm data prepare CARD"):
        open_store(tmp_path)
    with pytest.raises(DataError, match="holds people, not others; add it: brainfm data prepare others"):
        store.recordings("others")
    (tmp_path / table.NAME).write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
        open_store(tmp_path)


def test_recordings_travel_to_loader_workers(store: Store) -> None:
    recording = store.recordings()[1]
    there = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(there.signal("eeg").load(), recording.signal("eeg").load())
    assert fingerprint(there, "eeg") == fingerprint(recording, "eeg")
    assert len(pickle.dumps(recording)) < 20_000  # the samples stay where they are


def test_thousands_of_recordings_open_by_one_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand rows of half an hour each: one file is read, no folder is listed, no other file is touched."""
    rows = [replace(row, subject=f"{n:05d}", key=f"{n:032x}") for n in range(2500) for row in store.rows]
    table.write(rows, store.steps, Path(store.root) / table.NAME)

    def never(*_: Any) -> Any:
        raise AssertionError("a folder was looked into")

    for listing in ("listdir", "scandir", "walk"):
        monkeypatch.setattr(os, listing, never)
    began = time.process_time()
    found = open_store(store.root).recordings()
    took = time.process_time() - began
    assert len(found) == 5000 and found[-1].subject == "02499"
    assert found[4999].signal("eeg").data[:, 0:5].shape == (8, 5)
    assert took < 20  # about a second of one core; benchmarks/store.py measures it
