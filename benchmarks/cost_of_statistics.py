"""What does each statistic cost per window, and how much of a pretraining step do they take? One thread, processor time.

    python benchmarks/cost_of_statistics.py

Prints the tables that stand in benchmarks/STATISTICS.md. Not called `statistics.py`: a script's folder comes first on Python's
path, and the library has a module of that name.
"""

import statistics as numbers
import time
from collections.abc import Callable

import numpy as np
import torch

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.gather import gather
from brainfm.learner import Learner, learner
from brainfm.objectives.neurodynamics import NeurodynamicsLoss
from brainfm.recipe import PretrainRecipe
from brainfm.statistics import FIELD, TABLES, USUAL
from brainfm.statistics.memory import Memory

say = print
WINDOWS = 16
CASES = {
    "eeg": (19, 128.0, 4.0, "19 sensors × 4 s at 128 Hz"),
    "fmri": (100, 0.5, 60.0, "100 parcels × 60 s at 0.5 Hz"),
    "spikes": (40, 40.0, 2.0, "40 neurons × 2 s in bins of 25 ms"),
}
EVERYTHING = [name for name in FIELD if name not in ("coherence", "imaginary", "lag")]
ARMS = {
    "none": None,
    "usual (" + ", ".join(USUAL[:3]) + ")": list(USUAL),
    "usual and locking": [*USUAL, "locking"],
    "all of rows and locking": EVERYTHING,
}


def main() -> None:
    """Print the two tables."""
    torch.set_num_threads(1)
    say("| modality | window | block | of | ms a window |\n|---|---|---|---|---|")
    for modality, (rows, sfreq, seconds, words) in CASES.items():
        signal = made(modality, rows, round(sfreq * seconds))
        for name, block in TABLES.get(modality, FIELD).items():
            cost = taken(lambda block=block, signal=signal, sfreq=sfreq: block.of(signal, sfreq)) / WINDOWS
            level = "pairs" if block.pairs else "rows"
            say(f"| {modality} | {words} | {name} | {level} | {1e3 * cost:.3f} |")
    memory, signal = Memory(), made("eeg", 19, 512)
    memory("entropy", FIELD["entropy"].of, signal, 128.0)
    known = taken(lambda: memory("entropy", FIELD["entropy"].of, signal, 128.0)) / WINDOWS
    say(f"| eeg | {CASES['eeg'][3]} | entropy or lempel_ziv, remembered | rows | {1e3 * known:.3f} |\n")
    say(
        f"A step of `demo_eeg`, {WINDOWS} windows: forward, backward, update. When a window is met first, slow"
    )
    say("statistics (entropy, lempel_ziv) are computed, later they are remembered.\n")
    say("| statistics | ms a step, first pass | later | |\n|---|---|---|---|")
    base = None
    for name, of in ARMS.items():
        first, later = (1e3 * one for one in step(of))
        base = base or later
        say(f"| {name} | {first:.0f} | {later:.0f} | {later / base - 1:+.0%} |")


def made(modality: str, rows: int, times: int) -> torch.Tensor:
    """(window, row, time): noise with a memory, or counts."""
    rng = np.random.default_rng(0)
    if modality == "spikes":
        return torch.from_numpy(rng.poisson(0.2, (WINDOWS, rows, times))).float()
    noise = rng.normal(size=(WINDOWS, rows, times))
    return torch.from_numpy(noise + 0.1 * noise.cumsum(axis=-1)).float()


def taken(call: Callable[[], object], times: int = 9) -> float:
    """Seconds of processor time, the median."""
    call()
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return numbers.median(found)


def step(of: list[str] | None) -> tuple[float, float]:
    """Seconds of a training step that meets its windows for the first time, and of one that knows them."""
    change = "weight=0.0" if of is None else f"of=[{', '.join(of)}]"
    recipe, streams, _ = gather(
        PretrainRecipe.load("demo_eeg", [f"objectives.neurodynamics.{change}", "data.hold_out={}"]), limit=2
    )
    net = learner(recipe, streams)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    batch = next(part for stream in streams.values() for part in stream.parts).batch(np.arange(WINDOWS))
    known = taken(lambda: one(net, optimizer, batch))
    return taken(lambda: (forget(net), one(net, optimizer, batch))), known


def forget(net: Learner) -> None:
    """Let a step meet its windows for the first time."""
    for objective in net.objectives.values():
        if isinstance(objective, NeurodynamicsLoss):
            objective.memory.known.clear()


def one(net: Learner, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """A step in bf16, as runs have it."""
    with torch.autocast("cpu", torch.bfloat16):
        total = net((batch,), Chance(0)).total
    total.backward()
    optimizer.step()
    optimizer.zero_grad()


if __name__ == "__main__":
    main()
