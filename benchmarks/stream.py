"""Does a decoder keep up with an amplifier? 64 sensors at 500 Hz for ten minutes, a decision four times a second.

    python benchmarks/stream.py --seconds 600 --out benchmarks/stream.json

Another process sends simulated EEG through LSL as an amplifier would, 10 ms at a time (without mne-lsl, or with `--played`, a
file is played in real time). `brainfm stream` decodes it, in a process of its own, with the network of the checkpoint that comes
with the package (windows of one second, 256 tokens) under a head of random weights, since what a decision costs does not depend
on what was learnt. Written down: latency of the decisions, samples that were sent and received, memory minute by minute,
processor time.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mne
import numpy as np
import psutil
import torch

from brainfm.data.modalities import modality
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.windows.sliding import Sliding
from brainfm.files import write_json
from brainfm.heads.linear import Linear
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings

SENSORS, SFREQ, CHUNK, WINDOW = 64, 500.0, 5, 1.0
NAME = "brainfm benchmark"
LOOP = 60.0
"""Seconds of simulated signal, which are sent again and again."""
EVERY = 0.25
CALIBRATE = 30.0


def decoder(folder: Path, names: list[str]) -> Path:
    """The package's network with a head for three labels."""
    settings = DecoderSettings(
        head=Linear(pool="sensor"),
        labels=["left_hand", "right_hand", "rest"],
        modality="eeg",
        sensors=names,
        channels=len(names),
        window=Sliding(seconds=WINDOW),
        reader=MneFile(),
        events=None,
        card="simulated_eeg",
        recipe="",
    )
    made = BrainFM.from_pretrained("brainfm-tiny").with_decoder(settings, seed=0)
    torch.nn.init.normal_(made.head.score.weight, generator=torch.Generator().manual_seed(0))
    made.save_pretrained(folder)
    return folder


def send(path: Path, names: list[str], seconds: float) -> None:
    """The amplifier: each chunk when it is over, stamped with the time at which its last sample was measured."""
    from mne_lsl.lsl import StreamInfo, StreamOutlet, local_clock

    data = np.load(path)
    info = StreamInfo(NAME, "EEG", len(names), SFREQ, "float32", NAME)
    info.set_channel_names(names)
    info.set_channel_types("eeg")
    info.set_channel_units("microvolts")
    outlet = StreamOutlet(info, chunk_size=CHUNK)
    assert outlet.wait_for_consumers(timeout=120)
    began = local_clock()
    for start in range(0, round(seconds * SFREQ), CHUNK):
        due = began + (start + CHUNK) / SFREQ
        time.sleep(max(0.0, due - local_clock()))
        at = start % len(data)
        outlet.push_chunk(data[at : at + CHUNK], timestamp=due)
    time.sleep(5.0)


def watched(process: subprocess.Popen[str]) -> tuple[list[float], float]:
    """Resident memory in MB once a minute of a process, and the processor time that it took, until it ends."""
    found: list[float] = []
    used, began, looked = 0.0, time.monotonic(), psutil.Process(process.pid)
    while process.poll() is None:
        try:
            used = sum(looked.cpu_times()[:2])
            if time.monotonic() > began + 60.0 * (len(found) + 1):
                found.append(round(looked.memory_info().rss / 1e6, 1))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.5)
    return found, round(used, 1)


def measured(folder: Path, seconds: float, played: bool) -> dict[str, Any]:
    """One run."""
    simulated = modality("eeg").simulate(np.random.default_rng(0), seconds=LOOP, sfreq=SFREQ, sensors=SENSORS)
    names = list(simulated.signal("eeg").sensors.name)
    data = simulated.signal("eeg").load()
    source = f"lsl:{NAME}"
    if played:
        info = mne.create_info(names, SFREQ, "eeg")
        whole = np.tile(data, -(-round(seconds) // round(LOOP)))[:, : round(seconds * SFREQ)]
        source = str(folder / "signal_raw.fif")
        mne.io.RawArray(whole, info, verbose="error").save(source, verbose="error")
    else:
        np.save(folder / "data.npy", (data.T * 1e6).astype(np.float32))
        given = ("--names", ",".join(names), "--seconds", str(seconds))
        sender = subprocess.Popen([sys.executable, __file__, "--send", folder / "data.npy", *given])
    words = ["stream", decoder(folder / "decoder", names), source, "--every", EVERY, "--calibrate", CALIBRATE]
    words += ["--stop-after", seconds, "--json"]
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "brainfm", *map(str, words)], stdout=out, stderr=err, text=True
        )
        memory, used = watched(process)
        out.seek(0), err.seek(0)
        if process.wait():
            raise SystemExit(err.read())
        rows = [json.loads(line) for line in out]
    if not played:
        sender.wait(60)
    summary = rows[-1]["summary"]
    steps = np.diff([row["time"] for row in rows[:-1]])
    return {
        "source": "file" if played else "LSL",
        "sensors": SENSORS,
        "sfreq": SFREQ,
        "seconds": seconds,
        "window": WINDOW,
        "every": EVERY,
        "sent": round(seconds * SFREQ),
        **summary,
        "decisions_left_out": int((steps > 1.5 * EVERY).sum()),
        "memory_mb_each_minute": memory,
        "processor_seconds": used,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="of signal, in real time")
    parser.add_argument("--played", action="store_true", help="a file instead of LSL")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--names", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.send:
        return send(asked.send, asked.names.split(","), asked.seconds)
    played = asked.played or importlib.util.find_spec("mne_lsl") is None
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), asked.seconds, played)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }
    result = {"machine": machine, **found}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if asked.out:
        write_json(asked.out, result)
    return None


if __name__ == "__main__":
    main()
