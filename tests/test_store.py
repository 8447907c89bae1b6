"""The store: what is read from it is what was prepared, whatever kills its making, and a window costs its own bytes."""

import hashlib
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sys
import time
import tracemalloc
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

from brainfm.data import fingerprint as prints
from brainfm.data import spool
from brainfm.data.fingerprint import fingerprint
from brainfm.data.lazy import Computed
from brainfm.data.modalities import modality
from brainfm.data.preprocess import Step, prepare
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.data.recording import Recording, Sensors, Signal, Track
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.store import Store, open_store, table
from brainfm.data.store.codec import COARSEST
from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.jobs.prepare import locked
from brainfm.jobs.pretrain import gather
from brainfm.manifest import Manifest
from brainfm.recipe import PretrainRecipe

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
        "cursor": Track(rng.standard_normal((200, 2)), 50.0, "m", names=("x", "y")),
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
    return tiny.edf_people(tmp_path_factory.mktemp("card"), subjects=6, seconds=12.0)


@pytest.fixture(scope="module")
def whole(card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store that nothing interrupted, and the seconds from its first file to its end."""
    out = tmp_path_factory.mktemp("whole") / "store"
    process = started(prepare_words(card, out))
    wait_for_work(out)
    began = time.monotonic()
    process.join(120)
    assert process.exitcode == 0
    return out, time.monotonic() - began


def wait_for_work(out: Path) -> None:
    """Until a prepare has taken its folder."""
    until = time.monotonic() + 90
    while not (out / ".lock").exists():
        assert time.monotonic() < until, "prepare does not begin"
        time.sleep(0.001)


@pytest.mark.parametrize("number", range(10))
def test_a_killed_prepare_goes_on_to_the_same_bytes(
    card: Path, whole: tuple[Path, float], tmp_path: Path, number: int
) -> None:
    """Killed wherever it is; nothing is half under a final name then, and after the next start all is as if nothing was."""
    complete, seconds = whole
    out = tmp_path / "store"
    argv = prepare_words(card, out)
    moment = random.uniform(0, seconds)
    process = started(argv)
    wait_for_work(out)
    time.sleep(moment)
    process.kill()
    process.join(30)
    nothing_is_half(out, complete)
    said = finish(argv)
    assert said["recordings"] == 6
    assert files(out) == files(complete), f"killed after {moment:.2f} of {seconds:.2f} s"
    assert open_store(out, verify=True).cards == ["edf_people"]


def nothing_is_half(out: Path, complete: Path) -> None:
    """What has a final name in a store that was killed is what it should be."""
    wanted = files(complete)
    for name, found in files(out).items():
        if name.partition("/")[0] not in (PASSING, RECEIPTS, ".lock"):
            assert found == wanted[name], f"{name} is half"


def test_a_killed_prepare_keeps_what_was_done(card: Path, whole: tuple[Path, float], tmp_path: Path) -> None:
    out = tmp_path / "store"
    process = started(prepare_words(card, out))
    until = time.monotonic() + 60
    while len(list((out / RECEIPTS).glob("*.json"))) < 2:
        assert time.monotonic() < until and process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join(30)
    assert not (out / table.NAME).exists()
    with pytest.raises(DataError, match="holds no prepared store"):
        open_store(out)
    made = {path: path.stat().st_mtime_ns for path in out.glob("edf_people/*.int16")}
    done = len(list((out / RECEIPTS).glob("*.json")))
    said = finish(prepare_words(card, out))
    assert said["prepared"] <= 6 - done < 6
    assert sum(path.stat().st_mtime_ns == at for path, at in made.items()) >= done
    assert files(out) == files(whole[0])


def test_workers_that_are_killed_leave_nothing_half_either(
    card: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    """Two recordings at once: killed with their parent, then prepared to the same bytes."""
    out = tmp_path / "store"
    argv = prepare_words(card, out, "--jobs", "2")
    process = tiny.shell(*argv)
    until = time.monotonic() + 90
    while not list(out.glob("edf_people/*.int16")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)  # all of them, as where memory or a job's time runs out
    process.communicate()
    nothing_is_half(out, whole[0])
    result = tiny.ended(tiny.shell(*argv, "--json"))
    assert result.code == 0, result
    assert result.json["recordings"] == 6
    assert files(out) == files(whole[0])


@pytest.fixture
def made(whole: tuple[Path, float], tmp_path: Path) -> Path:
    """A copy of a prepared store, to add to or to spoil."""
    return shutil.copytree(whole[0], tmp_path / "made")


def test_a_store_grows_card_by_card_and_recording_by_recording(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    assert tiny.brainfm(*prepare_words(card, out, "--limit", "2", "--json")).json["prepared"] == 2
    first = files(out)
    assert tiny.brainfm(*prepare_words(card, out, "--limit", "3", "--json")).json["prepared"] == 1
    assert first.items() - files(out).items() == {("manifest.parquet", first["manifest.parquet"])}
    others = tiny.people(tmp_path, subjects=1, seconds=8.0)
    said = tiny.brainfm(*prepare_words(others, out, "--json")).json
    assert (said["prepared"], said["recordings"], said["cards"]) == (1, 4, ["edf_people", "people"])
    grown = open_store(out, verify=True)
    assert [one.subject for one in grown.recordings("edf_people")] == ["01", "02", "03"]
    assert len(grown.recordings("people")) == 1


def test_a_changed_fact_or_file_is_prepared_again(card: Path, made: Path, tmp_path: Path) -> None:
    changed = tmp_path / card.name
    text = card.read_text(encoding="utf-8").replace("{kind: mne_file}", "{kind: mne_file, drop: [C3]}")
    changed.write_text(text, encoding="utf-8")
    shutil.copytree(card.parent / "edf", tmp_path / "edf")
    said = tiny.brainfm(*prepare_words(changed, made, "--json")).json
    assert (said["prepared"], said["recordings"]) == (6, 6)
    store = open_store(made, verify=True)
    assert all("C3" not in one.signal("eeg").sensors.name for one in store.recordings())
    named = {name for row in store.rows for name, _, _ in row.files}
    assert files(made).keys() == {*named, "manifest.parquet"}  # what was there before is gone


def test_another_preparation_or_a_foreign_folder_is_refused(card: Path, made: Path, tmp_path: Path) -> None:
    before = files(made)
    plain = tiny.brainfm("data", "prepare", card, "--out", made)
    assert "holds eeg prepared by band_pass(low=0.5, high=45.0)" in tiny.only_sentence(plain)
    assert files(made) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("", encoding="utf-8")
    foreign = tiny.brainfm(*prepare_words(card, tmp_path / "full"))
    assert "holds thesis.tex and no store; choose another --out" in tiny.only_sentence(foreign)


def test_two_processes_do_not_prepare_one_store(card: Path, made: Path) -> None:
    with locked(made):
        result = tiny.brainfm(*prepare_words(card, made))
    assert "is being prepared by another process" in tiny.only_sentence(result)
    assert tiny.brainfm(*prepare_words(card, made)).code == 0


def test_what_learns_from_training_recordings_is_left_to_the_run(card: Path, tmp_path: Path) -> None:
    """Who is held out is not known when a store is made, so a scale of the training set can't be in it."""
    path = tokenizer(card.parent)
    learnt = path.with_name("learnt.yaml")
    learnt.write_text(TOKENIZER.replace("scope: recording", "scope: training_set"), encoding="utf-8")
    out = tmp_path / "store"
    result = tiny.brainfm("data", "prepare", card, "--tokenizer", learnt, "--out", out, "--limit", "2")
    assert result.code == 0, result
    store = open_store(out)
    assert [step["kind"] for step in store.steps["eeg"]] == ["band_pass", "resample"]
    recipe = PretrainRecipe.load(
        "smoke", [f"data.cards=[{card}]", f"data.store={out}", f"signals.eeg={learnt}"]
    )
    chosen, streams, _ = gather(recipe)
    scale = chosen.signals["eeg"].prepare[-1]
    assert isinstance(scale, RobustScale) and scale.value is not None
    from_files, others, _ = gather(
        recipe.model_copy(update={"data": recipe.data.model_copy(update={"store": None})}), 2
    )
    np.testing.assert_allclose(
        scale.value["eeg"], from_files.signals["eeg"].prepare[-1].value["eeg"], rtol=1e-3
    )
    rows = np.arange(4)
    one, other = streams["eeg"].batch(rows).signal, others["eeg"].batch(rows).signal
    assert (one - other).abs().max() < 5e-3


def test_pretraining_from_a_store_has_the_losses_of_the_files(card: Path, made: Path, tmp_path: Path) -> None:
    settings = (f"signals.eeg={tokenizer(card.parent)}", "data.hold_out={edf_people: ['02']}")
    runs = []
    for name, more in (("files", ()), ("store", (f"data.store={made}",))):
        assert tiny.brainfm(*tiny.train_words(card, tmp_path / name, *settings, *more)).code == 0
        runs.append(tmp_path / name)
    first, second = (np.array([row["loss"] for row in tiny.rows(run)]) for run in runs)
    assert len(first) == 8 and np.ptp(first) > 0.01
    np.testing.assert_allclose(first, second, rtol=2e-3)
    assert not np.array_equal(first, second)  # two bytes a sample: near, not equal
    manifests = [Manifest.load(next(run.rglob("manifest.json"))) for run in runs]
    assert manifests[0] == manifests[1]
    assert {entry.subject for entry in manifests[1].entries} == {"01", "03", "04", "05", "06"}


def test_a_recipe_of_another_preparation_refuses_the_store(card: Path, made: Path, tmp_path: Path) -> None:
    words = tiny.train_words(card, tmp_path / "run", f"data.store={made}", "signals.eeg.prepare=[]")
    assert "the recipe prepares it by no step" in tiny.only_sentence(tiny.brainfm(*words))


def test_joblib_chooses_where_it_runs(card: Path, whole: tuple[Path, float], tmp_path: Path) -> None:
    """The backend is joblib's own choice: on a cluster `parallel_config("dask")` does the same."""
    from joblib import parallel_config

    from brainfm.jobs.prepare import prepare as run

    where = tokenizer(card.parent)
    with parallel_config("threading", n_jobs=2):
        run([str(card)], [str(where)], tmp_path / "store", quiet=True)
    assert files(tmp_path / "store") == files(whole[0])


# ---- behind an URL ----


class Ranges(BaseHTTPRequestHandler):
    """Files of a folder, in whole or in ranges, with a count of the bytes that went out."""

    root: Path
    sent: int = 0
    asked: int = 0
    now: int = 0
    most: int = 0
    slow: float = 0.0

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = type(self).root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content, given = path.read_bytes(), self.headers.get("Range", "")
        first, last = 0, len(content) - 1
        if given:
            start, _, end = given.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        part = content[first : last + 1]
        self.send_response(206 if given else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if given:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if body:
            type(self).now += 1
            type(self).most = max(type(self).most, type(self).now)
            time.sleep(type(self).slow)
            type(self).now -= 1
            type(self).asked += 1
            type(self).sent += len(part)
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Tests need no log."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path, type[Ranges]]]:
    """A local server of a folder, its URL, and its counters."""
    pytest.importorskip("aiohttp")
    handler = type("Served", (Ranges,), {"root": tmp_path})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path, handler
    server.shutdown()
    server.server_close()


def test_a_window_behind_an_url_costs_its_own_bytes(served: tuple[str, Path, type[Ranges]]) -> None:
    url, root, counted = served
    here = stored(root / "store", [session(1), session(2)], Order({"eeg": STEPS})).recordings()
    there = open_store(f"{url}/store").recordings()
    assert counted.sent <= (root / "store" / table.NAME).stat().st_size
    for first, stop in [(0, 200), (2599, 2601), (5000, 6000)]:
        counted.sent = counted.asked = 0
        got = there[1].signal("eeg").data[:, first:stop]
        np.testing.assert_array_equal(got, here[1].signal("eeg").data[:, first:stop])
        assert (counted.sent, counted.asked) == (2 * 8 * (stop - first), 1)
    counted.sent = 0
    np.testing.assert_array_equal(there[0].tracks["film"].data[3:5], here[0].tracks["film"].data[3:5])
    assert counted.sent == 2 * 4 * 5
    assert fingerprint(there[1], "eeg") == fingerprint(here[1], "eeg")
    windows = Sliding(seconds=2.0)(there, "eeg", [])
    counted.sent, counted.most, counted.slow = 0, 0, 0.3
    rows = np.array([1, 20, 7])
    np.testing.assert_array_equal(take(there, windows, rows, "eeg"), take(here, windows, rows, "eeg"))
    assert counted.sent == 3 * 2 * 8 * 200
    assert counted.most == 3  # the windows of a batch are waited for together


def test_spikes_behind_an_url_cost_an_index_and_their_own_bytes(
    served: tuple[str, Path, type[Ranges]],
) -> None:
    url, root, counted = served
    raw = neurons()
    stored(root / "store", [raw], Order({"spikes": []}))
    data = open_store(f"{url}/store").recordings()[0].signal("spikes").data
    counted.sent = 0
    np.testing.assert_array_equal(data[:, 5000:6000], raw.signal("spikes").data[:, 5000:6000])
    marks = 22  # a mark a second of 20.5 s, and its end
    near = ((raw.signal("spikes").data.time >= 4) & (raw.signal("spikes").data.time < 6)).sum()
    assert counted.sent <= 8 * marks + 12 * near
    counted.sent = 0
    data[:, 5000:6000]
    assert counted.sent <= 12 * near  # the index is fetched once


def test_a_store_behind_an_url_is_checked_and_its_faults_are_said(
    served: tuple[str, Path, type[Ranges]],
) -> None:
    url, root, _ = served
    made = stored(root / "store", [session(1)], Order({"eeg": STEPS}))
    name = made.rows[0].signals[0].file
    assert open_store(f"{url}/store", verify=True).check() == []
    path = root / "store" / name
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    assert [file for file, _, _ in open_store(f"{url}/store").check()] == [name]
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="100 bytes came where 160 were asked for"):
        open_store(f"{url}/store").recordings()[0].signal("eeg").data[:, 0:10]
    path.unlink()
    with pytest.raises(DataError, match=f"{name} is not there"):
        open_store(f"{url}/store").recordings()[0].signal("eeg").data[:, 0:10]
    with pytest.raises(DataError, match=r"nowhere/manifest\.parquet is not there"):
        open_store(f"{url}/nowhere")
    with pytest.raises(DataError, match="prepare into a folder, then copy it there"):
        from brainfm.jobs.prepare import prepare as run

        run(["simulated_eeg"], [], f"{url}/store", quiet=True)


def test_fsspec_filesystems_serve_it_too(store: Store) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(store.root, "/bucket/store", recursive=True)
    there = open_store("memory://bucket/store", verify=True).recordings()
    for one, other in zip(there, store.recordings(), strict=True):
        np.testing.assert_array_equal(one.signal("eeg").load(), other.signal("eeg").load())
    memory.rm("/bucket", recursive=True)


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


def peak(n: int, root: Path) -> int:
    """Bytes held at most while a recording of n samples, of which nothing is in memory, is prepared and written."""
    hertz = np.random.default_rng(7).uniform(2.5, 14, (4, 6))

    def read(first: int, stop: int) -> np.ndarray:
        return 1e-5 * np.sin(hertz[..., None] * np.arange(first, stop) / 40).sum(axis=1)

    sensors = Sensors.of(["A", "B", "C", "D"], "eeg", "V")
    raw = Recording({"eeg": Signal(Computed((4, n), read), 250.0, sensors)}, dataset=f"long{n}")
    for folder in (PASSING, RECEIPTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tracemalloc.start()
    write_recording(root, Order({"eeg": STEPS}), raw, "long", f"{n:032x}")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_preparing_needs_no_more_memory_for_a_longer_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BLOCK", 40_000)
    monkeypatch.setattr(spool, "AT_ONCE", 10_000)
    monkeypatch.setattr(prints, "PIECE", 1)
    peak(30_000, tmp_path)  # what is imported late is not the recording's
    short, long = peak(60_000, tmp_path), peak(300_000, tmp_path)
    assert long < 1.3 * short, (short, long)
