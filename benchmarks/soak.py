"""A day's run in miniature: does memory stay flat, and does a run that is killed again and again end where it should?

A tiny network on simulated EEG takes `--steps` steps with all that a long run has on: a running mean of the weights, held-out
windows, checkpoints of which two and the best stay. Once nothing interrupts it and its memory is watched; once it is killed by
SIGKILL at `--kills` random steps and started again, with a loader worker that is left behind each time. The final losses must be
equal to the bit, and so must every line of the log.

Run: python benchmarks/soak.py --steps 20000 --kills 10 --out benchmarks/soak
"""

import argparse
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import psutil
import torch

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["brainfm.jobs.pretrain", "brainfm.jobs.reporting", "accelerate", "mne"])
CARD = """---
title: Four people
modality: eeg
licence: none
citation: none
source: brainfm
folder: ""
files: ""
reader: {kind: simulated, subjects: 4, seconds: 60.0, sensors: 8}
---
Made for the soak.
"""
SETTINGS = (
    "encoder.depth=1",
    "encoder.width=32",
    "encoder.heads=1",
    "objectives={masked_patches: {decoder_depth: 1}}",
    "signals={eeg: {prepare: [{kind: robust_scale, scope: recording, clip: 15.0}], seconds: 2.0, "
    "tokenizer: {kind: patch, seconds: 0.25, sfreq: 128.0}}}",
    "train.batch=4",
    "train.precision=no",
    "train.save_every=500",
    "train.average=0.999",
    "train.hold_back=0.2",
)
SKIPPED = 0.1
"""Share of the steps after which memory is looked at: caches fill before."""


def pretrain(overrides: Sequence[str], out: Path) -> None:
    """The run, in a process of its own."""
    from brainfm.jobs.pretrain import pretrain as run
    from brainfm.recipe import PretrainRecipe

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)
    run(PretrainRecipe.load("smoke", [*SETTINGS, *overrides]), out, quiet=True)


def started(overrides: Sequence[str], out: Path) -> ForkServerProcess:
    process = FORKS.Process(target=pretrain, args=(list(overrides), out))
    process.start()
    return process


def lines(out: Path) -> int:
    """Steps that are logged."""
    log = out / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def memory(process: ForkServerProcess) -> float:
    """Resident memory in MB of a process and of its workers."""
    try:
        tree = psutil.Process(process.pid)
        return sum(one.memory_info().rss for one in (tree, *tree.children(recursive=True))) / 1e6
    except psutil.NoSuchProcess:
        return float("nan")


def watched(overrides: Sequence[str], out: Path, steps: int, every: float = 1.0) -> list[tuple[int, float]]:
    """(step, MB) about once in `every` seconds of a run that nothing interrupts, until the report that it ends with."""
    process, found = started(overrides, out), []
    while process.is_alive():
        found.append((lines(out), memory(process)))
        process.join(every)
    assert process.exitcode == 0, process.exitcode
    return [one for one in found if 0 < one[0] < steps and np.isfinite(one[1])]


def killed(overrides: Sequence[str], out: Path, at: Sequence[int]) -> list[int]:
    """Kill a run as soon as it has logged each of these steps, start it again each time, and let it end; where it stood."""
    stood = []
    for step in at:
        process = started(overrides, out)
        while lines(out) < step:
            assert process.is_alive(), process.exitcode
            time.sleep(0.01)
        process.kill()
        process.join()
        stood.append(lines(out))
    process = started(overrides, out)
    process.join()
    assert process.exitcode == 0, process.exitcode
    return stood


def slope(rows: Sequence[tuple[int, float]], steps: int) -> float:
    """MB per 1000 steps, by least squares after the first `SKIPPED` of them."""
    late = np.array([one for one in rows if one[0] > SKIPPED * steps])
    return float(1000 * np.polyfit(late[:, 0], late[:, 1], 1)[0])


def drawn(rows: Sequence[tuple[int, float]], words: str, path: Path) -> None:
    """The figure."""
    step, used = np.array(rows).T
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axes.plot(step, used, linewidth=1)
    axes.set(xlabel="step", ylabel="resident memory (MB)", ylim=(0, 1.2 * used.max()), title=words)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/soak"), help="for OUT.json and OUT.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "four.md").write_text(CARD, encoding="utf-8")
        overrides = [f"data.cards=[{folder / 'four.md'}]", f"train.steps={given.steps}"]
        began = time.monotonic()
        rows = watched(overrides, folder / "whole", given.steps)
        seconds = time.monotonic() - began
        at = sorted(np.random.default_rng(given.seed).choice(given.steps - 1, given.kills, replace=False) + 1)
        stood = killed([*overrides, "train.workers=1"], folder / "killed", [int(step) for step in at])
        logs = [
            [
                json.loads(line)
                for line in (folder / run / "log.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            for run in ("whole", "killed")
        ]
        kept = sorted(path.name for path in (folder / "killed" / "checkpoints").iterdir())
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "steps": given.steps,
        "seconds": round(seconds, 1),
        "killed_after": stood,
        "final_loss": [log[-1]["loss"] for log in logs],
        "final_loss_equal": logs[0][-1]["loss"] == logs[1][-1]["loss"],
        "every_line_equal": logs[0] == logs[1],
        "checkpoints_left": kept,
        "memory_mb": {
            "first": rows[0][1],
            "median": float(np.median([mb for _, mb in rows])),
            "last": rows[-1][1],
        },
        "mb_per_1000_steps": slope(rows, given.steps),
        "rows": [[step, round(mb, 2)] for step, mb in rows[:: max(1, len(rows) // 200)]],
    }
    given.out.with_suffix(".json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    words = f"{given.steps} steps: {found['mb_per_1000_steps']:+.3f} MB per 1000 steps after the first tenth"
    drawn(rows, words, given.out.with_suffix(".svg"))
    said = json.dumps({name: value for name, value in found.items() if name != "rows"}, indent=1)
    sys.stdout.write(said + "\n")
    assert found["every_line_equal"], "the killed run differs"


if __name__ == "__main__":
    main()
