"""How fast are random windows read, and how large are the files? The store beside what peers keep recordings in.

One command; the peers that are installed are measured, the others are named as missing:

    python benchmarks/store.py --json
    python benchmarks/store.py --torch-brain /path/to/venv/bin/python    (torch_brain pins packages that brainfm does not)

Every reader gives the same windows of the same recordings, in the same order, as float32 (sensor, time) in one piece of memory.
All files are read once before the clock starts (warm cache); formats take turns, and what is printed is the median of the turns.
"""

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

SENSORS, SFREQ, MINUTES, RECORDINGS = 64, 200.0, 5, 4
SECONDS = 10.0
COUNT = round(SECONDS * SFREQ)
TURNS = 5
ROWS = 5000
Window = np.ndarray
Read = Callable[[int, int], Window]
"""(recording, first sample) → (sensor, time) float32."""


def main() -> None:
    """Write the files, measure, print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options.add_argument("--windows", type=int, default=60, help="windows of a turn")
    options.add_argument("--torch-brain", default="", help="a Python that has torch_brain")
    options.add_argument("--worker", default="", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        print(json.dumps(torch_brain_turns(Path(chosen.worker), chosen.windows)))  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), chosen.windows, chosen.torch_brain)
    print(json.dumps(found, indent=1) if chosen.json else table(found))  # noqa: T201


def measured(folder: Path, windows: int, torch_brain: str) -> dict[str, Any]:
    """Everything, as the JSON that is printed."""
    recordings = [signal(number) for number in range(RECORDINGS)]
    sizes, readers, missing = {}, {}, {}
    for name, make in FORMATS.items():
        home = folder / make.__name__
        home.mkdir()
        try:
            readers[name] = make(home, recordings)
        except ImportError as error:
            missing[name] = str(error)
            continue
        sizes[name] = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    wanted = places(windows)
    check(readers, recordings, wanted[:5])
    speed = turns(readers, wanted)
    with served(folder / "store_int16") as (url, sent):
        readers = {"brainfm store, int16, HTTP on loopback": remote(url)}
        speed |= turns(readers, wanted[: max(20, windows // 5)])
        before = sent()
        (read,) = readers.values()
        read(*wanted[0])
        bytes_of_a_window = sent() - before
    aside: dict[str, Any] = {}
    if torch_brain:
        command = [
            torch_brain,
            __file__,
            "--worker",
            str(folder / "temporaldata_h5"),
            "--windows",
            str(windows),
        ]
        said = subprocess.run(command, capture_output=True, text=True)
        aside = json.loads(said.stdout) if said.returncode == 0 else {}
        missing |= {} if aside else {"torch_brain": (said.stderr.strip().splitlines() or ["no answer"])[-1]}
    raw = recordings[0].nbytes * RECORDINGS
    rows = [
        {
            "format": name,
            **middle(rates),
            "bytes": sizes.get(name),
            "size": sizes[name] / raw if name in sizes else None,
        }
        for name, rates in speed.items()
    ]
    return {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", *PEERS) if has(name)},
        "window": {"sensors": SENSORS, "samples": COUNT, "float32_bytes": 4 * SENSORS * COUNT},
        "rows": rows,
        "torch_brain": aside,
        "http_bytes_of_a_window": bytes_of_a_window,
        "manifest": manifest(folder / "store_int16"),
        "missing": missing,
    }


def signal(number: int) -> np.ndarray:
    """(sensor, time) a recording in volts: 1/f noise of ten microvolts from 0.5 to 45 Hz, a tenth of it white."""
    from brainfm.data.brain import coloured

    rng = np.random.default_rng([11, number])
    times = round(MINUTES * 60 * SFREQ)
    slow = coloured(rng, SENSORS, times, SFREQ, 1.0, (0.5, 45.0))
    return (1e-5 * (slow + 0.1 * rng.standard_normal(slow.shape))).astype(np.float32)


def places(windows: int) -> list[tuple[int, int]]:
    """(recording, first sample) of random windows."""
    rng = np.random.default_rng(5)
    last = round(MINUTES * 60 * SFREQ) - COUNT
    return [(int(rng.integers(RECORDINGS)), int(rng.integers(last))) for _ in range(windows)]


def check(readers: dict[str, Read], recordings: list[np.ndarray], wanted: list[tuple[int, int]]) -> None:
    """Every reader gives the same numbers, to the rounding that it says it has."""
    for name, read in readers.items():
        for number, first in wanted:
            got, true = read(number, first), recordings[number][:, first : first + COUNT]
            assert got.dtype == np.float32 and got.flags.c_contiguous and got.shape == true.shape, name
            worst = np.abs(got - true).max() / 1e-5
            assert worst < (1e-2 if "float16" in name else 1e-3), (name, worst)


def turns(readers: dict[str, Read], wanted: list[tuple[int, int]]) -> dict[str, list[tuple[float, float]]]:
    """Windows a second, and windows a second of processor time, of each reader, turn by turn."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for turn in range(TURNS + 1):
        for name, read in readers.items():
            began, worked = time.perf_counter(), time.process_time()
            for number, first in wanted:
                read(number, first)
            took = time.perf_counter() - began, time.process_time() - worked
            rates[name] += [(len(wanted) / took[0], len(wanted) / took[1])] if turn else []  # the first warms
    return rates


def middle(rates: list[tuple[float, float]]) -> dict[str, float]:
    """The medians over turns. Processor time is what a busy machine leaves comparable."""
    wall, work = zip(*rates, strict=True)
    return {
        "windows_per_s": float(np.median(wall)),
        "low": min(wall),
        "high": max(wall),
        "windows_per_cpu_s": float(np.median(work)),
    }


# ---- the formats: each writes the recordings into a folder and gives back how a window is read ----


def store_of(folder: Path, recordings: list[np.ndarray], held: Any) -> None:
    """A prepared store of these recordings, as `brainfm data prepare` writes one."""
    from brainfm.data.recording import Recording, Sensors, Signal
    from brainfm.data.store import table as rows_of
    from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording

    for name in (PASSING, RECEIPTS):
        (folder / name).mkdir()
    sensors = Sensors.of([f"E{row}" for row in range(SENSORS)], "eeg", "V")
    rows = [
        write_recording(
            folder,
            Order({"eeg": []}, held),
            Recording({"eeg": Signal(data, SFREQ, sensors)}, dataset="noise", subject=f"{number}"),
            f"{number}",
            f"{number:032x}",
        )
        for number, data in enumerate(recordings)
    ]
    rows_of.write(rows, {"eeg": []}, folder / rows_of.NAME)
    for path in (folder / RECEIPTS).glob("*"):  # what `prepare` removes at its end
        path.unlink()


def remote(root: str) -> Read:
    """Windows of a store at a folder or URL."""
    from brainfm.data.store import open_store

    signals = [one.signal("eeg").data for one in open_store(root).recordings()]
    return lambda number, first: np.ascontiguousarray(signals[number][:, first : first + COUNT])


def store_int16(folder: Path, recordings: list[np.ndarray]) -> Read:
    store_of(folder, recordings, "int16")
    return remote(str(folder))


def store_float16(folder: Path, recordings: list[np.ndarray]) -> Read:
    store_of(folder, recordings, "float16")
    return remote(str(folder))


def memmap(folder: Path, recordings: list[np.ndarray]) -> Read:
    for number, data in enumerate(recordings):
        np.save(folder / f"{number}.npy", data)
    return mapped(folder)


def mapped(folder: Path) -> Read:
    maps = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    return lambda number, first: np.array(maps[number][:, first : first + COUNT])


def memmap_by_time(folder: Path, recordings: list[np.ndarray]) -> Read:
    for number, data in enumerate(recordings):
        np.save(folder / f"{number}.npy", np.ascontiguousarray(data.T))
    maps = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    return lambda number, first: np.ascontiguousarray(maps[number][first : first + COUNT].T)


def hdf5(folder: Path, recordings: list[np.ndarray], **settings: Any) -> Read:
    import h5py

    files = []
    for number, data in enumerate(recordings):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file.create_dataset("signal", data=data, **settings)
        files.append(h5py.File(folder / f"{number}.h5", "r")["signal"])
    return lambda number, first: files[number][:, first : first + COUNT]


def hdf5_contiguous(folder: Path, recordings: list[np.ndarray]) -> Read:
    return hdf5(folder, recordings)


def hdf5_chunked(folder: Path, recordings: list[np.ndarray]) -> Read:
    return hdf5(folder, recordings, chunks=(SENSORS, COUNT))


def hdf5_gzip(folder: Path, recordings: list[np.ndarray]) -> Read:
    return hdf5(
        folder, recordings, chunks=(SENSORS, COUNT), compression="gzip", compression_opts=4, shuffle=True
    )


def zarr_default(folder: Path, recordings: list[np.ndarray]) -> Read:
    import zarr

    arrays = []
    for number, data in enumerate(recordings):
        array = zarr.create_array(
            str(folder / f"{number}.zarr"), shape=data.shape, dtype="float32", chunks=(SENSORS, COUNT)
        )
        array[:] = data
        arrays.append(zarr.open_array(str(folder / f"{number}.zarr"), mode="r"))
    return lambda number, first: np.ascontiguousarray(arrays[number][:, first : first + COUNT])


def temporaldata_h5(folder: Path, recordings: list[np.ndarray]) -> Read:
    import h5py
    import temporaldata as td

    data = []
    for number, samples in enumerate(recordings):
        series = td.RegularTimeSeries(signal=np.ascontiguousarray(samples.T), sampling_rate=SFREQ)
        about = {"brainset": td.Data(id="noise"), "session": td.Data(id=f"{number}")}
        with h5py.File(folder / f"{number}.h5", "w") as file:
            td.Data(eeg=series, domain=series.domain, **about).to_hdf5(file)
        data.append(td.Data.from_hdf5(h5py.File(folder / f"{number}.h5", "r"), lazy=True))

    def read(number: int, first: int) -> Window:
        return np.ascontiguousarray(data[number].slice(first / SFREQ, (first + COUNT) / SFREQ).eeg.signal.T)

    return read


FORMATS: dict[str, Callable[[Path, list[np.ndarray]], Read]] = {
    "brainfm store, int16": store_int16,
    "brainfm store, float16": store_float16,
    "numpy memmap float32 (sensor, time)": memmap,
    "numpy memmap float32 (time, sensor)": memmap_by_time,
    "HDF5, contiguous": hdf5_contiguous,
    "HDF5, 10-s chunks": hdf5_chunked,
    "HDF5, 10-s chunks, gzip 4 + shuffle": hdf5_gzip,
    "zarr v3, 10-s chunks, default codec": zarr_default,
    "temporaldata, lazy HDF5": temporaldata_h5,
}
PEERS = ("h5py", "zarr", "temporaldata", "fsspec")


def torch_brain_turns(folder: Path, windows: int) -> dict[str, Any]:
    """In torch_brain's own environment: its Dataset on the files that temporaldata wrote, and a memmap beside it."""
    from torch_brain.data import Dataset

    sets = [Dataset(str(folder), recording_id=str(number)) for number in range(RECORDINGS)]

    def read(number: int, first: int) -> Window:
        sample = sets[number].get(str(number), first / SFREQ, (first + COUNT) / SFREQ)
        return np.ascontiguousarray(sample.eeg.signal.T)

    readers = {
        "torch_brain Dataset.get": read,
        "numpy memmap float32 (sensor, time), beside it": mapped(folder.parent / "memmap"),
    }
    for number, first in places(3):
        assert np.array_equal(*(one(number, first) for one in readers.values()))
    rates = turns(readers, places(windows))
    return {
        "version": importlib.metadata.version("pytorch-brain"),
        "rows": [{"format": name, **middle(found)} for name, found in rates.items()],
    }


# ---- behind an URL, and by the thousand ----


class Ranges(BaseHTTPRequestHandler):
    """A folder over HTTP 1.1, in whole or by range, with a count of the bytes that went out."""

    protocol_version = "HTTP/1.1"
    root: Path
    sent: Any

    def do_HEAD(self) -> None:
        self.answer(b"", (self.root / self.path.lstrip("/")).stat().st_size)

    def do_GET(self) -> None:
        path = self.root / self.path.lstrip("/")
        size = path.stat().st_size
        start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or size), size - 1)
        with path.open("rb") as file:
            file.seek(first)
            part = file.read(last - first + 1)
        with self.sent.get_lock():
            self.sent.value += len(part)
        self.answer(part, len(part), f"bytes {first}-{last}/{size}")

    def answer(self, body: bytes, length: int, part: str = "") -> None:
        self.send_response(206 if part else 200)
        for name, value in (
            ("Accept-Ranges", "bytes"),
            ("Content-Length", str(length)),
            ("Content-Range", part),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """No log."""


def serve(root: Path, port: Any, sent: Any) -> None:
    """A server of this folder, until it is ended."""
    handler = type("Served", (Ranges,), {"root": root, "sent": sent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    port.value = server.server_port
    server.serve_forever()


@contextlib.contextmanager
def served(root: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """The URL of a folder on the loopback, served by another process, and the bytes that it has sent."""
    context = multiprocessing.get_context("spawn")
    port, sent = context.Value("i", 0), context.Value("q", 0)
    process = context.Process(target=serve, args=(root, port, sent), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port.value}", lambda: sent.value
    finally:
        process.terminate()


def manifest(folder: Path) -> dict[str, float]:
    """What it takes to open a store of thousands of recordings of 20 minutes: one file."""
    from brainfm.data.store import open_store
    from brainfm.data.store import table as rows_of

    store = open_store(folder)
    (raw, _) = rows_of.read(folder / rows_of.NAME, "manifest")
    row = rows_of.Row.of(raw[0])
    onsets = (np.arange(200) * 3.0).tolist()
    row = replace(row, onset=onsets, duration=[1.0] * 200, label=["left", "right"] * 100)
    hashes = {"seconds_per_stretch": 30.0, "modulus": 64}
    rng = np.random.default_rng(3)
    rows = [
        replace(
            row,
            subject=f"{number:05d}",
            key=f"{number:032x}",
            fingerprints=[{**hashes, "stretches": rng.integers(0, 2**32, (40, 64)).tolist()}],
        )
        for number in range(ROWS)
    ]
    path = folder / "many" / rows_of.NAME
    path.parent.mkdir()
    rows_of.write(rows, store.steps, path)
    took, worked = [], []
    for _ in range(3):
        began = time.perf_counter(), time.process_time()
        assert len(open_store(path.parent).recordings()) == ROWS
        took.append(time.perf_counter() - began[0])
        worked.append(time.process_time() - began[1])
    return {
        "recordings": ROWS,
        "bytes": path.stat().st_size,
        "open_s": float(np.median(took)),
        "open_cpu_s": float(np.median(worked)),
    }


def has(name: str) -> bool:
    """Whether a package is installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version(name))
    return False


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| format | windows / CPU s | windows / s | lowest–highest | size / float32 |",
        "|---|---|---|---|---|",
    ]
    for row in [*found["rows"], *found["torch_brain"].get("rows", [])]:
        size = f"{row['size']:.2f}" if row.get("size") else "–"
        speed = f"{row['windows_per_cpu_s']:.0f} | {row['windows_per_s']:.0f} | {row['low']:.0f}–{row['high']:.0f}"
        lines.append(f"| {row['format']} | {speed} | {size} |")
    rest = {name: found[name] for name in ("versions", "http_bytes_of_a_window", "manifest", "missing")}
    return "\n".join([*lines, "", json.dumps(rest, indent=1)])


if __name__ == "__main__":
    main()
