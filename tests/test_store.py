"""The store: what is read from it is what was prepared, whatever kills its making, and a window costs its own bytes."""

import hashlib
import multiprocessing
import os
import pickle
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tiny

from brainfm.data.cards import DataCard
from brainfm.data.fingerprint import fingerprint
from brainfm.data.lazy import Computed
from brainfm.data.modalities import modality
from brainfm.data.preprocess import Step, prepare
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Events, Recording, Sensors, Signal, Track
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.store import Store, open_store, table
from brainfm.data.store.codec import COARSEST
from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.manifest import Manifest

STEPS: list[Step] = [
    BandPass(low=0.5, high=45.0),
    Resample(sfreq=100.0),
    RobustScale(scope="recording", clip=15.0),
]
TOKENIZER = """prepare:
  - {kind: band_pass, low: 0.5, high: 45.0}
  - {kind: resample, sfreq: 128.0}
  - {kind: robust_scale, scope: recording, per: all, clip: 15.0}
seconds: 4.0
tokenizer: {kind: patch, seconds: 0.25, sfreq: 128.0}
"""


def stored(root: Path, recordings: list[Recording], order: Order) -> Store:
    """A store of these recordings, made without the command line."""
    for folder in (PASSING, RECEIPTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = [
        write_recording(root, order, recording, f"{number}.edf", f"{number:032x}")
        for number, recording in enumerate(recordings)
    ]
    steps = {name: [step.model_dump(mode="json") for step in these] for name, these in order.steps.items()}
    table.write(rows, steps, root / table.NAME)
    return open_store(root)


def session(number: int = 1, seconds: float = 60.0) -> Recording:
    """A simulated session with a track of film and of words, a break, and a sensor of unknown place."""
    rng = np.random.default_rng(number)
    made = tiny.person(number, seconds)
    eeg = made.signal("eeg")
    position = eeg.sensors.position.copy()
    position[2] = np.nan
    eeg = replace(eeg, breaks=(1000, 2600), sensors=replace(eeg.sensors, position=position))
    tracks = {
        "film": Track(rng.integers(0, 255, (30, 4, 5), dtype=np.uint8), 2.0, "", 1.5),
        "words": Track(np.array(["yes", "naïve"]), 0.5),
        "cursor": Track(rng.standard_normal((200, 2)), 50.0, "m"),
    }
    return replace(
        made.with_signal("eeg", eeg),
        tracks=tracks,
        dataset="people",
        subject=f"{number:02d}",
        session="a",
        run="1",
        content_hash=f"hash{number}",
    )


def neurons() -> Recording:
    made = modality("spikes").simulate(np.random.default_rng(5), seconds=20.5, sensors=6)
    return replace(made, dataset="neurons", subject="01", content_hash="n")


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


def files(root: Path) -> dict[str, str]:
    """Every file under a folder, with its checksum."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


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
    assert found > 75
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


# ---- the command line ----


def tokenizer(folder: Path) -> Path:
    path = folder / "tok.yaml"
    path.write_text(TOKENIZER, encoding="utf-8")
    return path


def prepare_words(card: Path, out: Path, *more: str) -> list[str]:
    return [
        "data",
        "prepare",
        str(card),
        "--tokenizer",
        str(tokenizer(card.parent)),
        "--out",
        str(out),
        *more,
    ]


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["brainfm.jobs.prepare", "brainfm.recipe", "brainfm.jobs.pretrain", "mne"])


def main(argv: list[str], said: Path) -> None:
    """The command line in a forked process that has imported everything."""
    from brainfm import cli

    sys.argv = ["brainfm", *argv]
    os.setsid()
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(said.with_suffix(suffix), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    cli.main()


def started(argv: list[str]) -> ForkServerProcess:
    process = FORKS.Process(target=main, args=([*argv, "--json"], Path(argv[argv.index("--out") + 1])))
    process.start()
    return process


def finish(argv: list[str]) -> dict[str, Any]:
    process, out = started(argv), Path(argv[argv.index("--out") + 1])
    process.join(120)
    said = [out.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".out", ".err")]
    result = tiny.Result(process.exitcode if process.exitcode is not None else -1, *said)
    assert result.code == 0, result
    return result.json


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.people(tmp_path_factory.mktemp("card"), subjects=6, seconds=24.0)


@pytest.fixture(scope="module")
def whole(card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store that nothing interrupted, and the seconds that it took."""
    out = tmp_path_factory.mktemp("whole") / "store"
    began = time.monotonic()
    said = finish(prepare_words(card, out))
    assert (said["recordings"], said["prepared"]) == (6, 6)
    return out, time.monotonic() - began


@pytest.mark.parametrize("number", range(10))
def test_a_killed_prepare_goes_on_to_the_same_bytes(
    card: Path, whole: tuple[Path, float], tmp_path: Path, number: int
) -> None:
    """Killed wherever it is; afterwards nothing half under a final name, and after the next start all as if nothing was."""
    complete, seconds = whole
    out = tmp_path / "store"
    argv = prepare_words(card, out, *(["--jobs", "2"] if number == 9 else []))
    moment = random.uniform(0, seconds)
    process = started(argv)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL) if process.is_alive() and leads(process.pid) else process.kill()
    process.join(30)
    wanted = files(complete)
    left = files(out) if out.exists() else {}
    for name, sum_ in left.items():
        if name.partition("/")[0] not in (PASSING, RECEIPTS, ".lock"):
            assert wanted[name] == sum_, f"{name} is half, killed after {moment:.2f} s"
    said = finish(argv)
    assert said["recordings"] == 6
    assert files(out) == wanted, f"killed after {moment:.2f} of {seconds:.2f} s"
    assert open_store(out, verify=True).cards == ["people"]


def leads(pid: int | None) -> bool:
    """Whether the process has got round to leading its own group."""
    try:
        return pid is not None and os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
