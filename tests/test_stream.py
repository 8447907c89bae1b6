"""Streaming from a file: decisions of windows that were prepared causally, gaps told, a clean end, one sentence for a mistake."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
import tiny
import torch
from decoders import PREPARE, SENSORS, decoding, fast_person, file_of, network, saved

from brainfm.answers import Answer
from brainfm.batch import Batch
from brainfm.data import live
from brainfm.data.live import Block, Played, numbers
from brainfm.data.preprocess import prepare_causally
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.heads import Head
from brainfm.heads.linear import Linear
from brainfm.heads.sequence import Sequence
from brainfm.jobs.predict import read
from brainfm.jobs.stream import Options, Stream, Tally, stream
from brainfm.model import BrainFM

EVERY, CALIBRATE = 0.5, 4.0
WORDS = ("--speed", "0", "--every", EVERY, "--calibrate", CALIBRATE)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(decoding(network()), tmp_path_factory.mktemp("decoder") / "decoder")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return file_of(fast_person(), tmp_path_factory.mktemp("recording") / "new_raw.fif")


def lines(result: tiny.Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def expected(decoder: Path, file: Path) -> tuple[list[float], np.ndarray]:
    """When decisions are due, and what the decoder says of the windows then, all prepared at once."""
    model = BrainFM.from_pretrained(decoder)
    settings = model.decoder
    assert settings is not None
    recording = read(settings, file)
    chain, prepared = prepare_causally(recording, model.signals["eeg"].prepare, "eeg", CALIBRATE)
    data = chain(recording.signal("eeg").load())
    ends = np.arange(256, data.shape[1] + 1, round(EVERY * 128))
    ends = ends[ends >= CALIBRATE * 128]
    made = prepared.with_signal("eeg", replace(prepared.signal("eeg"), data=data))
    windows = Windows(
        recording=np.zeros(len(ends), np.int64),
        start=(ends - 256) / 128,
        seconds=2.0,
        label=np.full(len(ends), -1),
        labels=(),
    )
    found = model.probabilities(model.stream([made], windows, "eeg"), np.arange(len(ends)))
    return (ends / 128).tolist(), found


@pytest.mark.parametrize("chunk", [0.25, 0.011, 3.0])
def test_decisions_are_those_of_windows_prepared_causally(
    decoder: Path, file: Path, chunk: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HURRIED", chunk)
    result = tiny.brainfm("stream", decoder, file, *WORDS)
    assert result.code == 0, result.err
    found = lines(result)
    times, probability = expected(decoder, file)
    assert [row["time"] for row in found] == pytest.approx(times)
    assert times[0] == CALIBRATE and len(times) > 25
    said = np.array(
        [[row["probabilities"][label] for label in ("left_hand", "right_hand", "rest")] for row in found]
    )
    np.testing.assert_allclose(said, probability, atol=1e-5)
    assert probability.std(axis=0).min() > 0.01, "windows are told apart, so equality says something"
    for row in found:
        assert row.keys() == {"time", "label", "probabilities", "latency_ms"}
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert row["latency_ms"] > 0


@pytest.mark.parametrize("head", [Linear(pool="sensor"), Sequence(rows="apart")])
def test_numbers_are_told_in_their_unit_and_not_as_probabilities(file: Path, head: Head) -> None:
    """Of a decoder that answers for every patch, those of the last."""
    answer = Answer(of="values", mean=[3.0, -1.0], scale=[2.0, 0.5], unit="cm/s")
    model = decoding(network(), head=head, labels=["x", "y"], answer=answer)
    recording = read(model.decoder, file)
    running = Stream(model, Played(recording, "eeg", SENSORS, 0), Options(EVERY, CALIBRATE, stop_after=6.0))
    found = [one.json for one in running.decisions()]
    assert found and all(
        one["of"] == "values" and one["unit"] == "cm/s" and "label" not in one for one in found
    )
    window = np.random.default_rng(0).normal(size=(len(SENSORS), 256))
    with torch.inference_mode():
        output = model.decode(batch_of(running, window))[0].numpy()
    last = output[-1] if output.ndim == 2 else output
    np.testing.assert_allclose(running.decide(window), last * [2.0, 0.5] + [3.0, -1.0], atol=1e-4)


def batch_of(running: Stream, window: np.ndarray) -> Batch:
    """The window as the decoder reads it."""
    sensors = running.prepared.signal("eeg").sensors
    return Batch.of("eeg", window[None].astype(np.float32), running.sfreq, [sensors])


def test_what_is_done_otherwise_is_said_and_a_summary_ends_it(decoder: Path, file: Path) -> None:
    result = tiny.brainfm("stream", decoder, file, *WORDS, "--json")
    *rows, last = lines(result)
    assert "band_pass: Butterworth filters of low order, forwards alone" in result.err
    assert "median and scale of the first 4 s" in result.err
    assert "decisions are 78 ms behind the signal" in result.err
    assert "the first decision comes after 4 s of signal" in result.err
    assert f"{len(rows)} decisions in 20.0 s of signal" in result.err
    found = last["summary"]
    assert (found["received"], found["missing"], found["gaps"]) == (5000, 0, 0)
    assert found["decisions"] == len(rows) and found["seconds"] == 20.0
    late = sorted(row["latency_ms"] for row in rows)
    assert found["latency_ms"]["p50"] == pytest.approx(np.median(late), abs=0.01)
    assert found["latency_ms"]["max"] == pytest.approx(late[-1], abs=0.01)
    assert found["memory_mb"]["early"] == found["memory_mb"]["end"] > 50


def test_it_stops_where_it_is_asked_to(decoder: Path, file: Path) -> None:
    result = tiny.brainfm("stream", decoder, file, *WORDS, "--stop-after", "6", "--json")
    assert 1500 <= lines(result)[-1]["summary"]["received"] < 1500 + 0.25 * 250


def test_no_window_crosses_a_break(decoder: Path, tmp_path: Path) -> None:
    """What lies before a break changes no decision behind it, as long as no scale was measured on it."""
    found = []
    for louder in (1.0, 5.0):
        raw = tiny.raw_of(fast_person())
        raw._data[:, 1500:2100] *= louder  # after the four seconds of calibration, until the break
        raw.set_annotations(mne.Annotations([2100 / 250], [0.0], ["boundary"]))
        raw.save(tmp_path / "broken_raw.fif", fmt="double", overwrite=True, verbose="error")
        result = tiny.brainfm("stream", decoder, tmp_path / "broken_raw.fif", *WORDS, "--json")
        assert result.code == 0, result.err
        assert "8.40 s: the recording is interrupted; filters and window begin anew" in result.err
        found.append(lines(result))
    (*quiet, summary), (*loud, _) = found
    assert summary["summary"]["gaps"] == 1 and summary["summary"]["missing"] == 0
    times = [row["time"] for row in quiet]
    assert [time for time in times if 8.4 < time < 10.4] == []
    assert any(time == pytest.approx(10.4) for time in times)
    differ = [a["probabilities"] != b["probabilities"] for a, b in zip(quiet, loud, strict=True)]
    assert any(differ)
    assert not any(different for time, different in zip(times, differ, strict=True) if time > 8.4)


def test_in_real_time_blocks_come_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a sleep moves on, and that reading and computing do not."""
    now = [100.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(live.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(live, "AHEAD", 0.7)
    recording = fast_person(3.0)
    names = ["C4", "Cz"]
    source = Played(recording, "eeg", names, 2.0)
    assert source.recording.signal("eeg").sensors.name == tuple(names)
    blocks = []
    for block in source.blocks():
        if block is not None:
            assert now[0] == pytest.approx(block.stamp) == pytest.approx(100 + (block.last + 1) / 250 / 2)
            blocks.append(block)
        assert now[0] <= 101.6
    assert [block.follows for block in blocks] == [False] + [True] * (len(blocks) - 1)
    signal_ = recording.signal("eeg")
    rows = [signal_.sensors.name.index(name) for name in names]
    np.testing.assert_array_equal(
        np.concatenate([block.data for block in blocks], axis=1), signal_.load()[rows]
    )
    assert all(before.last + 1 == after.first for before, after in pairwise(blocks))


def test_samples_that_are_no_numbers_are_missing() -> None:
    data = np.arange(24.0).reshape(2, 12)
    data[0, 3], data[1, 10:] = np.nan, np.inf
    blocks = [Block(data, 100, 50.0), None, Block(data[:, :3], 112, 51.0), Block(data[:, :2], 115, 52.0)]
    found = list(numbers(iter(blocks), 2.0))
    assert found.pop(2) is None
    said = [(block.first, block.data.shape[1], block.stamp, block.follows, block.missing) for block in found]
    assert said == [
        (100, 3, 45.5, True, 0),
        (104, 6, 49.0, False, 1),
        (112, 3, 51.0, False, 2),
        (115, 2, 52.0, True, 0),
    ]
    tally = Tally()
    for block in found:
        tally.take(block)
    assert (tally.received, tally.missing, tally.gaps) == (14, 3, 2)


class Bursts:
    """A source that gives its second half a while after the first, all at once, with the stamps of when it was measured."""

    pace = 1.0

    def __init__(self, recording: Recording) -> None:
        self.data = recording.signal("eeg").load()
        self.recording = live.without_samples(recording, "eeg", recording.signal("eeg").sensors)
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def blocks(self) -> Any:
        self.now = 10.0
        yield Block(self.data[:, :2500], 0, 10.0, False)
        self.now = 20.0
        yield Block(self.data[:, 2500:], 2500, 20.0)


def test_latency_counts_from_the_sample_that_was_needed(decoder: Path) -> None:
    """A decision that was due long before its samples came is late by that much."""
    model = BrainFM.from_pretrained(decoder)
    running = Stream(model, Bursts(fast_person()), Options(every=0.5, calibrate=4.0))
    found = list(running.decisions())
    late = running.chain.delay
    for one in found:
        arrived = 10.0 if one.time + late <= 10.0 + 1 / 128 else 20.0
        assert one.latency_ms == pytest.approx(1000 * (arrived - (one.time + late)), abs=1000 / 128 + 4)
    assert max(one.latency_ms for one in found) > 9000


def test_ctrl_c_ends_it_with_the_summary(decoder: Path, file: Path) -> None:
    process = tiny.shell("stream", decoder, file, "--every", "0.1", "--calibrate", "1", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["time"] == 2.0
    process.send_signal(signal.SIGINT)
    result = tiny.ended(process)
    assert result.code == 0, result.err
    assert "samples received, 0 missing" in result.err and "Traceback" not in result.err
    assert 0 < lines(result)[-1]["summary"]["seconds"] < 20


def test_it_ends_with_whoever_reads_it(decoder: Path, file: Path) -> None:
    command = f"{sys.executable} -m brainfm stream {decoder} {file} --speed 0 --every 0.05 --calibrate 1 | head -n 2"
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tiny.ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) == 2
    assert "samples received" in found.stderr and "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr


def test_mistakes(decoder: Path, file: Path, tmp_path: Path) -> None:
    def said(*words: object) -> str:
        return tiny.only_sentence(tiny.brainfm("stream", *words))

    assert said(decoder, tmp_path / "no.edf").endswith("no.edf does not exist")
    raw = tiny.raw_of(fast_person()).drop_channels(["C3", "O2"])
    raw.save(tmp_path / "fewer_raw.fif", verbose="error")
    assert "fewer_raw.fif lacks C3, O2" in said(decoder, tmp_path / "fewer_raw.fif")
    encoder = saved(network(), tmp_path / "encoder")
    assert f"{encoder} has no decoder; make one with `brainfm finetune" in said(encoder, file)
    assert said(decoder, file, "--every", "0").endswith("are seconds above 0")
    assert said(decoder, file, "--speed", "-1").endswith("0 is as fast as it goes")
    unsampled = saved(decoding(network(PREPARE[:2])), tmp_path / "unsampled")
    assert "comes in at 250 Hz and the decoder needs 128 Hz" in said(unsampled, file)
    whole = [*PREPARE[:3], {"kind": "regress_out", "drift": "linear"}]
    ahead = saved(decoding(network(whole)), tmp_path / "ahead")
    assert said(ahead, file).startswith("regress_out needs the whole recording")
    narrow = saved(decoding(network([{"kind": "notch", "line": 130.0}])), tmp_path / "narrow")
    assert "130.0 Hz is not between 0 and 125 Hz" in said(narrow, file)


def test_lsl_without_its_package_says_how_to_get_it(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mne_lsl", "mne_lsl.lsl"):
        monkeypatch.setitem(sys.modules, name, None)
    said = tiny.only_sentence(tiny.brainfm("stream", decoder, "lsl:Amplifier"))
    assert said.startswith("LSL streams need mne-lsl") and said.endswith(
        "pip install 'brainfm-toolkit[stream]'"
    )


def test_from_python(decoder: Path, file: Path) -> None:
    running = stream(decoder, str(file), Options(speed=0, calibrate=1.0, every=4.0))
    first = next(running.decisions())
    assert first.time == 2.0 and running.tally.received < 1000
    assert first.label in ("left_hand", "right_hand", "rest") and running.decoder.sensors == SENSORS
