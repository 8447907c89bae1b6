"""Streams of the Lab Streaming Layer: every sample once, what is lost counted, whatever is wrong with one said in a sentence.

A stream that is made up tells of interruptions to the sample; with mne-lsl another process sends a true one.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from decoders import SENSORS, decoding, fast_person, file_of, network, saved

from brainfm.data import lsl
from brainfm.data.live import Block
from brainfm.data.lsl import Lsl, absent, matched, scale
from brainfm.errors import DataError

RATE = 250.0


class LostError(RuntimeError):
    """As mne-lsl calls it."""


class Outlet:
    """What a stream's inlet gives: a list of (first sample, count) chunks, "silence" or "lost"."""

    def __init__(self, network: "Network", script: list[Any]) -> None:
        self.network, self.script = network, list(script)
        self.rest: tuple[np.ndarray, np.ndarray] | None = None

    def open_stream(self, timeout: float) -> None:
        pass

    def get_sinfo(self, timeout: float) -> Any:
        return self.network.info

    def pull_sample(self, timeout: float) -> tuple[Any, float | None]:
        self.network.now += 0.001
        if not self.script or self.script[0] == "lost":
            raise LostError
        if self.script[0] == "silence":
            self.network.now += timeout
            return np.zeros(0), None
        first, count = self.script.pop(0)
        data = self.network.data[first : first + count]
        stamps = 1000.0 + np.arange(first, first + len(data)) / RATE
        self.network.now = max(self.network.now, stamps[-1])
        self.rest = data[1:], stamps[1:]
        return data[0], float(stamps[0])

    def pull_chunk(self, timeout: float, max_samples: int) -> tuple[np.ndarray, np.ndarray]:
        assert self.rest is not None
        return self.rest


class Slow:
    """A network where searches by name are over before the stream has begun."""

    def __init__(self, network: "Network") -> None:
        self.network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def resolve_streams(self, timeout: float, **words: str) -> list[Any]:
        return [] if words else self.network.resolve_streams(timeout)


class Network:
    """A stand-in for `mne_lsl.lsl` with one stream, whose connections follow `scripts` one after another."""

    def __init__(self, data: np.ndarray, *scripts: list[Any], **info: Any) -> None:
        self.data, self.scripts, self.now = data, list(scripts), 1000.0
        self.said = {
            "names": SENSORS,
            "units": ["microvolts"] * 8,
            "types": ["eeg"] * 8,
            "sfreq": RATE,
            **info,
        }
        self.info = SimpleNamespace(
            name="Amplifier",
            source_id="serial 1",
            dtype=np.float32,
            sfreq=self.said["sfreq"],
            get_channel_names=lambda: self.said["names"],
            get_channel_types=lambda: self.said["types"],
            get_channel_units=lambda: self.said["units"],
        )

    def local_clock(self) -> float:
        return self.now

    def resolve_streams(
        self, timeout: float, name: str | None = None, source_id: str | None = None
    ) -> list[Any]:
        self.now += timeout
        wanted = name in (None, self.info.name) and source_id in (None, self.info.source_id)
        return [self.info] if wanted and self.scripts else []

    def StreamInlet(self, info: Any, recover: bool, processing_flags: list[str]) -> Outlet:
        assert recover is False, "a connection that mends itself silently would hide what was lost"
        return Outlet(self, self.scripts.pop(0))


@pytest.fixture
def data() -> np.ndarray:
    """(time, sensor) microvolts."""
    return fast_person(20.0, RATE).signal("eeg").load().T * 1e6


def connected(network_: Network, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Lsl:
    monkeypatch.setattr(lsl, "mne_lsl", lambda: network_)
    return Lsl("Amplifier", "eeg", SENSORS, **{"patience": 60.0, **settings})


def received(source: Lsl, count: int) -> list[Block]:
    """The blocks until so many samples came."""
    blocks: list[Block] = []
    for block in source.blocks():
        if block is not None:
            blocks.append(block)
        if sum(one.data.shape[1] for one in blocks) >= count:
            return blocks
    raise AssertionError("a stream does not end")


@pytest.mark.parametrize("name", ["Amplifier", "serial 1"])
def test_a_stream_that_begins_late_is_found_among_all(
    data: np.ndarray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(lsl, "mne_lsl", lambda: Slow(Network(data, [(0, 1)])))
    assert Lsl(name, "eeg", SENSORS).name == "Amplifier"
    with pytest.raises(DataError, match="there is no LSL stream Cap"):
        Lsl("Cap", "eeg", SENSORS)


def test_every_sample_arrives_once_in_volts(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    source = connected(Network(data, [(0, 1), (1, 30), (31, 2), (33, 967)]), monkeypatch)
    blocks = received(source, 1000)
    np.testing.assert_allclose(np.concatenate([block.data for block in blocks], axis=1), data[:1000].T * 1e-6)
    assert [block.first for block in blocks] == [0, 1, 31, 33]
    assert blocks[-1].stamp == pytest.approx(1000 + 999 / RATE)
    assert not any(block.missing for block in blocks) and all(block.follows for block in blocks)
    table = source.recording.signal("eeg").sensors
    assert table.name == tuple(SENSORS) and table.located.all() and set(table.unit) == {"V"}


def test_what_a_lost_connection_took_is_counted(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    network_ = Network(data, [(0, 500), "lost"], [(1720, 300)])
    blocks = received(connected(network_, monkeypatch, say=said.append), 800)
    assert [(block.first, block.missing, block.follows) for block in blocks] == [
        (0, 0, True),
        (1720, 1220, False),
    ]
    np.testing.assert_allclose(blocks[1].data, data[1720:2020].T * 1e-6)
    assert said == ["LSL stream Amplifier went away at 2.0 s; waiting for it", "LSL stream Amplifier is back"]


def test_a_stream_that_says_nothing_is_looked_for_anew(
    data: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    network_ = Network(data, [(0, 500), "silence"], [(3000, 100)])
    blocks = received(connected(network_, monkeypatch, say=said.append), 600)
    assert [(block.first, block.missing) for block in blocks] == [(0, 0), (3000, 2500)]
    assert said[0].startswith("LSL stream Amplifier gives no samples since 2.0 s")


def test_samples_that_are_missing_within_a_connection_are_counted(
    data: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second that the sender left out, between two chunks; a few milliseconds more or less are jitter."""
    blocks = received(connected(Network(data, [(0, 500), (505, 95), (850, 100)]), monkeypatch), 695)
    assert [(block.first, block.missing, block.follows) for block in blocks] == [
        (0, 0, True),
        (500, 0, True),
        (845, 250, False),
    ]


@pytest.mark.parametrize(
    "step, silence, wanted", [(1.0, 1.0, 249), (0.004, 0.0, 0), (-900.0, 2.0, 499), (9000.0, 2.0, 499)]
)
def test_a_clock_that_began_anew_is_not_believed(step: float, silence: float, wanted: int) -> None:
    assert absent(step, silence, RATE) == wanted


def test_a_stream_that_stays_away_ends_it(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    source = connected(Network(data, [(0, 500), "lost"]), monkeypatch, patience=5.0)
    with pytest.raises(
        DataError, match="went away and did not come back within 5 s; start it, or wait longer"
    ):
        list(source.blocks())


def test_a_stream_that_comes_back_as_another_is_refused(
    data: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_ = Network(data, [(0, 500), "lost"], [(1000, 10)])
    source = connected(network_, monkeypatch)
    blocks = source.blocks()
    assert next(blocks) is not None
    network_.said["units"] = ["volts"] * 8
    with pytest.raises(DataError, match="came back with other sensors, units or another rate"):
        list(blocks)


def test_volts_that_are_microvolts_are_refused(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    network_ = Network(data, [(0, 2000)], units=["volts"] * 8)
    with pytest.raises(DataError, match=r"LSL stream Amplifier: sensor .* typically varies by"):
        received(connected(network_, monkeypatch), 3000)
    network_ = Network(data, [(0, 2000)], units=["volts"] * 8)
    assert received(connected(network_, monkeypatch, unit="uV"), 2000)


def test_a_dead_sensor_is_refused(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    data[:, 2] = 0.0
    with pytest.raises(DataError, match=f"sensor {SENSORS[2]} is flat, and the decoder needs it"):
        received(connected(Network(data, [(0, 2000)]), monkeypatch), 3000)


def test_sensors_are_found_by_name_in_any_order(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    order = np.random.default_rng(0).permutation(8)
    names = [SENSORS[row].upper() for row in order]
    source = connected(Network(data[:, order], [(0, 10)], names=names, types=None), monkeypatch)
    assert source.recording.signal("eeg").sensors.name == tuple(SENSORS)
    np.testing.assert_allclose(received(source, 10)[0].data, data[:10].T * 1e-6)


@pytest.mark.parametrize(
    "info, said",
    [
        ({"names": ["A", *SENSORS[1:]]}, "positions of A are neither"),
        (
            {"names": ["Oz", *SENSORS[1:]]},
            f"lacks {SENSORS[0]}, which the decoder was trained with; it has Oz",
        ),
        ({"names": None}, "does not name its channels"),
        ({"units": None}, "does not say the unit of"),
        ({"units": ["ohm"] * 8}, "unit 'ohm' is not known"),
        ({"sfreq": 0.0}, "has no constant rate"),
        ({"types": ["stim"] * 8}, "holds no EEG sensor"),
    ],
)
def test_streams_that_can_not_be_decoded(
    info: dict[str, Any], said: str, data: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=said):
        connected(Network(data, [(0, 10)], **info), monkeypatch)


def test_a_stream_that_is_not_there(data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsl, "mne_lsl", lambda: Network(data, [(0, 10)]))
    with pytest.raises(DataError, match="there is no LSL stream Cap; streams on this network: lsl:Amplifier"):
        Lsl("Cap", "eeg", SENSORS)
    assert Lsl("serial 1", "eeg", SENSORS).name == "Amplifier"
    monkeypatch.setattr(lsl, "mne_lsl", lambda: Network(data, [(0, 10)]))
    assert Lsl("", "eeg", SENSORS).name == "Amplifier"


def test_a_recording_says_where_the_sensors_are() -> None:
    like = fast_person(2.0)
    names = ["C4", "Oz", "Cz"]
    rows, table = matched(names, [""] * 3, "eeg", ["Cz", "C4"], None, like, "x")
    assert rows == [2, 0]
    known = like.signal("eeg").sensors
    np.testing.assert_array_equal(table.position[0], known.position[known.name.index("Cz")])


@pytest.mark.parametrize(
    "unit, wanted", [("uV", 1e-6), ("microvolts", 1e-6), ("-6", 1e-6), ("0", 1.0), ("mV", 1e-3)]
)
def test_units(unit: str, wanted: float) -> None:
    assert scale(unit, "V", "Cz", "x") == pytest.approx(wanted)


SENDER = """
import sys, time
import numpy as np
from mne_lsl.lsl import StreamInfo, StreamOutlet
path, name, first, stop = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
data = np.load(path)
info = StreamInfo(name, "EEG", data.shape[1], 250.0, "float64", name)
info.set_channel_names(sys.argv[5].split(","))
info.set_channel_types("eeg")
info.set_channel_units("microvolts")
outlet = StreamOutlet(info, chunk_size=25)
assert outlet.wait_for_consumers(timeout=90)
for start in range(first, stop, 25):
    part = data[start : min(start + 25, stop)]
    outlet.push_chunk(np.ascontiguousarray(part), timestamp=5000.0 + (start + len(part) - 1) / 250.0)
    time.sleep(0.01)
time.sleep(3.0)  # until everything has arrived, and not so long that it is called stalled
"""


@pytest.fixture
def sent(tmp_path: Path, data: np.ndarray) -> Iterator[Any]:
    """Starts a process that sends samples from `first` to `stop` ten times as fast as they were measured."""
    np.save(tmp_path / "data.npy", data)
    started: list[subprocess.Popen[str]] = []

    def send(name: str, first: int, stop: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SENDER, tmp_path / "data.npy", name, first, stop, ",".join(SENSORS)]
        started.append(subprocess.Popen([str(word) for word in words], text=True, stderr=subprocess.PIPE))
        return started[-1]

    yield send
    for process in started:
        process.kill()
        process.communicate()


needs_lsl = pytest.mark.skipif(
    importlib.util.find_spec("mne_lsl") is None, reason="needs the extra stream (mne-lsl)"
)
WORDS = ("--every", "0.5", "--calibrate", "4", "--json")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(decoding(network()), tmp_path_factory.mktemp("decoder") / "decoder")


def decisions(out: str) -> tuple[list[float], np.ndarray, dict[str, Any]]:
    *rows, last = (json.loads(line) for line in out.splitlines())
    return (
        [row["time"] for row in rows],
        np.array([list(row["probabilities"].values()) for row in rows]),
        last["summary"],
    )


@needs_lsl
def test_another_process_sends_and_every_sample_is_decoded(decoder: Path, sent: Any, tmp_path: Path) -> None:
    name = f"brainfm test {tmp_path.name}"
    sent(name, 0, 5000)
    result = tiny.brainfm("stream", decoder, f"lsl:{name}", *WORDS, "--stop-after", "20")
    assert result.code == 0, result.err
    times, probability, summary = decisions(result.out)
    assert (summary["received"], summary["missing"], summary["gaps"]) == (5000, 0, 0)
    file = file_of(fast_person(20.0, RATE), tmp_path / "same_raw.fif")
    played = tiny.brainfm("stream", decoder, file, *WORDS, "--speed", "0")
    wanted_times, wanted, _ = decisions(played.out)
    assert times == wanted_times
    np.testing.assert_allclose(probability, wanted, atol=1e-5)


@needs_lsl
def test_a_sender_that_is_killed_and_started_again(decoder: Path, sent: Any, tmp_path: Path) -> None:
    """Its stamps say how many samples were lost; no decision is made of a window that they would have been in."""
    name = f"brainfm test {tmp_path.name}"
    first = sent(name, 0, 1500)
    process = tiny.shell("stream", decoder, f"lsl:{name}", *WORDS, "--stop-after", "19.9")
    first.wait(100)
    sent(name, 2500, 5000)
    result = tiny.ended(process)
    assert result.code == 0, result.err
    times, _, summary = decisions(result.out)
    assert (summary["received"], summary["missing"], summary["gaps"]) == (4000, 1000, 1)
    assert "went away at 6.0 s" in result.err and "is back" in result.err
    assert "10.00 s: 1000 samples are missing; filters and window begin anew" in result.err
    assert [time for time in times if 6.0 < time < 12.0] == []
    assert times[0] == 4.0 and 12.0 in times
