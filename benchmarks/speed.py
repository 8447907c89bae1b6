"""How fast is a pretraining step beside the peers', and what grows with what?

Every row of a piece is measured in one process, models taking turns, on the same random windows: 10 s at 200 Hz, batch 8. Pieces
already in `--folder` are not measured again, so a run that was stopped goes on. Peers come from braindecode (`pip install
braindecode`; brainfm itself doesn't need it); without it, only our own rows are measured.

    python benchmarks/speed.py --json                         every piece
    python benchmarks/speed.py --pieces LaBraM-19-float32     one of them

"training" is forward and backward without an optimiser, ours with its mask, its decoder and its loss (window-level statistics,
which no peer has, apart). CBraMod and LUNA have their own head for it in braindecode, with half of the patches masked; LaBraM and
BIOT have none there, so they are charged for a mean square of their output alone, which favours them. Ours cuts the same patches
(BIOT's overlap: as many that don't) and hides 55 % of them.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

from brainfm import operations
from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.data.recording import Sensors
from brainfm.learner import Learner
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.objectives import Shapes
from brainfm.precision import has_bf16
from brainfm.recipe import PretrainRecipe

BATCH, SECONDS, SFREQ = 8, 10.0, 200.0
TIMES = round(SECONDS * SFREQ)
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
ROUNDS = 5


@dataclass
class Model:
    """Something to be timed: `loss` is the whole of a step before the backward pass."""

    name: str
    module: nn.Module
    loss: Callable[[], Tensor]

    @property
    def parameters(self) -> int:
        """That are trained."""
        return sum(one.numel() for one in self.module.parameters() if one.requires_grad)


# Ours


def batch_of(sensors: int, seed: int = 0) -> Batch:
    """Random windows of sensors spread over a head."""
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(sensors, 3))
    place = 0.09 * place / np.linalg.norm(place, axis=1, keepdims=True)
    place[:, 2] = np.abs(place[:, 2])
    table = Sensors.of([f"E{row}" for row in range(sensors)], "eeg", "1", place, "approximate")
    signal = rng.normal(size=(BATCH, sensors, TIMES)).astype(np.float32)
    return Batch.of("eeg", signal, SFREQ, [table] * BATCH)


def ours(name: str, sensors: int, patch: float, encoder: Mapping[str, Any], decoder_depth: int = 2) -> Model:
    """A whole learner: tokenizer, block mask, encoder, decoder and its loss."""
    recipe = recipe_of(patch, encoder, decoder_depth)
    model, batch = BrainFM.fresh(BrainFMConfig.of(recipe), 0), batch_of(sensors)
    shapes = Shapes(model.width, {"eeg": recipe.signals["eeg"].tokenizer.times})
    objectives = {name: part.build(shapes) for name, part in recipe.objectives.items()}
    learner = Learner(model, recipe.mask, {name: (1.0, part) for name, part in objectives.items()})
    return Model(name, learner, lambda: learner((batch,), Chance(0)).total)


def recipe_of(patch: float, encoder: Mapping[str, Any], decoder_depth: int) -> PretrainRecipe:
    """Patches of so many seconds, 55 % of them hidden in blocks and told from the rest."""
    tokenizer = {"kind": "patch", "seconds": patch, "sfreq": SFREQ}
    return PretrainRecipe.resolve(
        {
            "data": {"cards": ["simulated_eeg"]},
            "signals": {"eeg": {"prepare": [], "seconds": SECONDS, "tokenizer": tokenizer}},
            "encoder": dict(encoder),
            "mask": {"kind": "block", "radius": 0.09, "length": 2, "share": 0.55},
            "objectives": {"masked_patches": {"decoder_depth": decoder_depth}},
            "train": {"steps": 1},
        }
    )


# The peers


def peers(name: str, sensors: int) -> Model:
    """One of braindecode's models, with its own pretraining head where it has one."""
    models = braindecode_models()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(BATCH, sensors, TIMES)).astype(np.float32))
    common = {"n_chans": sensors, "n_times": TIMES, "sfreq": SFREQ}
    if name == "LaBraM":
        net = models.Labram(**common, n_outputs=2)
        net.final_layer = nn.Identity()
        names = models.labram.LABRAM_CHANNEL_ORDER[:sensors]
        return Model(name, net, lambda: net(x, ch_names=names, return_all_tokens=True).square().mean())
    if name == "CBraMod":
        net = models.CBraMod(**common, n_outputs=2, return_encoder_output=True)
        patches = x.unflatten(-1, (-1, 200))
        hide = torch.rand(patches.shape[:3], generator=torch.Generator().manual_seed(0)) < 0.5
        return Model(name, net, lambda: (net(x, mask=hide) - patches)[hide].square().mean())
    if name == "LUNA":
        net = models.LUNA(**common, n_outputs=0)
        hide = torch.rand((BATCH, sensors, TIMES // 40), generator=torch.Generator().manual_seed(0)) < 0.5
        mask = hide.repeat_interleave(40, dim=-1)
        rows = torch.arange(sensors).expand(BATCH, -1)
        return Model(
            name,
            net,
            lambda: (net(x, mask=mask.float(), channel_names=rows) - x)[mask].square().mean(),
        )
    net = models.BIOT(**common, n_outputs=2, return_feature=True)
    return Model(name, net, lambda: net(x)[1].square().mean())


def braindecode_models() -> Any:
    """Braindecode's networks. It imports torchaudio, which these don't use: one that was built for another torch is no loss."""
    warnings.simplefilter("ignore")
    try:
        import torchaudio  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        for part in ("", ".functional", ".transforms"):
            sys.modules[f"torchaudio{part}"] = MagicMock()
    import braindecode.models

    return braindecode.models


SMALL = {"kind": "transformer", "width": 256, "heads": 4}
RIVALS: dict[str, list[tuple[str, float, int, dict[str, Any]]]] = {
    "LaBraM": [("transformer", 1.0, 2, {**SMALL, "depth": 5})],
    "CBraMod": [
        ("transformer", 1.0, 2, {**SMALL, "depth": 4}),
        ("axial", 1.0, 2, {**SMALL, "kind": "axial", "depth": 4}),
    ],
    "BIOT": [("transformer", 0.5, 2, {"kind": "transformer", "width": 192, "heads": 3, "depth": 5})],
    "LUNA": [
        (
            "bottleneck",
            0.2,
            1,  # LUNA's decoder is one layer, too
            {
                "kind": "bottleneck",
                "width": 64,
                "heads": 4,
                "depth": 8,
                "fold": 4,
                "latents": 16,
                "seconds": 1.0,
            },
        )
    ],
}
"""Beside each peer, ours of as many weights: encoder, seconds of a patch, blocks of the decoder, shape."""


# Timing


def passes(model: Model, precision: str) -> dict[str, Callable[[], None]]:
    """What is timed: without gradients, and with the backward pass."""
    dtype = PRECISIONS[precision]

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype, enabled=precision != "float32"):
            return model.loss()

    def forward() -> None:
        with torch.no_grad():
            loss()

    def training() -> None:
        loss().backward()
        for one in model.module.parameters():
            one.grad = None

    return {"forward": forward, "training": training}


def precisions() -> list[str]:
    """Those that the machine has in hardware: emulated bf16 takes minutes a step."""
    return [name for name in PRECISIONS if name == "float32" or has_bf16()]


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
clock = CLOCKS["wall"]


def seconds_of(call: Callable[[], None]) -> float:
    """How long one call takes."""
    begin = clock()
    call()
    return clock() - begin


def taking_turns(calls: Mapping[Any, Callable[[], None]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each call in each round, after one round that is not counted."""
    for call in calls.values():
        call()
    times: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds_of(call))
    return times


def flops(call: Callable[[], None]) -> int:
    """Operations of the products of one call, as torch counts them."""
    with operations.counter() as counter:
        call()
    return int(counter.get_total_flops())


def matmul_rate(precision: str, size: int = 2048, rounds: int = 5) -> float:
    """The highest measured rate of a square product, in operations a second."""
    a, b = (torch.randn(size, size, dtype=PRECISIONS[precision]) for _ in range(2))
    return 2 * size**3 / min(taking_turns({"": lambda: torch.mm(a, b)}, rounds)[""])


def rows_of(models: list[Model], sensors: int, precision: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each model and pass; all take turns."""
    calls = {(one.name, which): call for one in models for which, call in passes(one, precision).items()}
    peak = matmul_rate(precision)
    times = taking_turns(calls, rounds)
    rows = []
    for model in models:
        for which in ("forward", "training"):
            work, took = flops(calls[model.name, which]), statistics.median(times[model.name, which])
            rows.append(
                {
                    "model": model.name,
                    "sensors": sensors,
                    "precision": precision,
                    "pass": which,
                    "windows_per_s": round(BATCH / took, 3),
                    "seconds": [round(one, 4) for one in times[model.name, which]],
                    "parameters": model.parameters,
                    "gflop_per_window": round(work / BATCH / 1e9, 3),
                    "peak_share": round(work / took / peak, 3),
                    "matmul_gflops": round(peak / 1e9, 1),
                }
            )
    return rows


# Pieces


def makers(sensors: int) -> Iterator[tuple[str, Callable[[], Model]]]:
    """Every peer, and ours beside it."""
    for peer, mine in RIVALS.items():
        for kind, patch, decoder, shape in mine:
            name = f"ours {kind} ~{peer}"
            yield name, partial(ours, name, sensors, patch, shape, decoder)
        yield peer, partial(peers, peer, sensors)


def rivals(peer: str, sensors: int, precision: str) -> list[dict[str, Any]]:
    """A peer and ours of its size."""
    wanted = {name: make for name, make in makers(sensors) if name.endswith(peer)}
    try:
        braindecode_models()
    except ImportError as error:
        print(f"{peer} is not measured: {error}; pip install braindecode", file=sys.stderr)  # noqa: T201
        del wanted[peer]
    return rows_of([make() for make in wanted.values()], sensors, precision, ROUNDS)


def memories(sensors: int) -> list[dict[str, Any]]:
    """What a training step of each model holds."""
    return [
        {"model": name, "sensors": sensors, "pass": "memory", "peak_memory_mb": round(held / 1e6)}
        for name, _ in makers(sensors)
        if (held := peak_memory(name, sensors))
    ]


def encoder_step(width: int, precision: str, sensors: int = 64, depth: int = 4) -> list[dict[str, Any]]:
    """The transformer's training step alone, on whole windows: how busy the units are at this width."""
    return rows_of([encoder_only("transformer", width, sensors, depth)], sensors, precision, ROUNDS)


def growth(sensors: int, precision: str = "float32") -> list[dict[str, Any]]:
    """The training steps of encoders on whole windows of so many sensors, one window at a time for the quadratic one."""
    kinds = ("bottleneck", "axial", "transformer")
    return rows_of([encoder_only(kind, 128, sensors, 4) for kind in kinds], sensors, precision, 3)


def encoder_only(kind: str, width: int, sensors: int, depth: int, patch: float = 1.0) -> Model:
    """An encoder on the tokens that a block mask leaves to see."""
    recipe = recipe_of(patch, {"kind": kind, "width": width, "depth": depth, "heads": width // 64}, 1)
    model, batch, chance = BrainFM.fresh(BrainFMConfig.of(recipe), 0), batch_of(sensors), Chance(0)
    with torch.no_grad():
        tokens = model.tokenize(batch).tokens
        tokens = tokens.take(recipe.mask.draw(tokens, chance).seen)
    encoder = model.encoder
    return Model(f"encoder {kind} {width}", encoder, lambda: encoder(tokens).embedding.square().mean())


PIECES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    **{
        f"{peer}-{sensors}-{precision}": lambda a=peer, b=sensors, c=precision: rivals(a, b, c)
        for peer in RIVALS
        for sensors in (19, 64)
        for precision in precisions()
    },
    **{
        f"width-{width}-{precision}": lambda a=width, b=precision: encoder_step(a, b)
        for width in (256, 512)
        for precision in precisions()
    },
    **{f"memory-{sensors}": lambda a=sensors: memories(a) for sensors in (19, 64)},
    **{f"growth-{sensors}": lambda a=sensors: growth(a) for sensors in (19, 64, 128, 306)},
}


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How much faster ours is than the peer of its size in the same piece, by the median over rounds of the rounds' ratios."""
    found = {}
    for mine in rows:
        _, _, peer = mine["model"].partition("~")
        same = ("sensors", "precision", "pass")
        for its in rows:
            if its["model"] == peer and "seconds" in mine and all(its.get(key) == mine[key] for key in same):
                pairs = zip(mine["seconds"], its["seconds"], strict=True)
                ratio = statistics.median(theirs / own for own, theirs in pairs)
                found[f"{mine['model']} {mine['sensors']} {mine['precision']} {mine['pass']}"] = round(
                    ratio, 2
                )
    return found


def machine(threads: int) -> dict[str, Any]:
    """Where the numbers are from."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "processor": processor(),
        "capability": capability,
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matmul_gflops": {name: round(matmul_rate(name) / 1e9, 1) for name in precisions()},
    }


def processor() -> str:
    """What the machine calls it."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text(encoding="utf-8").splitlines() if found.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def peak_memory(name: str, sensors: int) -> int:
    """Bytes that the first float32 training steps add to a fresh process, over what it held with the model built."""
    words = [sys.executable, __file__, "--memory", name, "--sensors", str(sensors)]
    return int(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


def held_by(name: str, sensors: int) -> int:
    """The same, in the fresh process."""
    model = next(make() for known, make in makers(sensors) if known == name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        passes(model, "float32")["training"]()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    keys = (
        "model",
        "sensors",
        "precision",
        "pass",
        "windows_per_s",
        "parameters",
        "gflop_per_window",
        "peak_share",
    )
    lines = ["| " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
    lines += ["| " + " | ".join(str(row.get(key, "")) for key in keys) + " |" for row in found["rows"]]
    lines += [
        f"{row['model']}, {row['sensors']} sensors: {row['peak_memory_mb']} MB"
        for row in found["rows"]
        if row["pass"] == "memory"
    ]
    lines += [f"{name}: {ratio}" for name, ratio in found["ratios"].items()]
    return "\n".join([json.dumps(found["machine"]), *lines])


def main() -> None:
    """Measure what is missing in the folder, and print all."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options.add_argument("--folder", type=Path, default=Path("runs/speed"), help="where pieces are kept")
    options.add_argument("--pieces", default="", help="words; only pieces with one of them are measured")
    options.add_argument("--memory", default="", help=argparse.SUPPRESS)
    options.add_argument("--sensors", type=int, default=19, help=argparse.SUPPRESS)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="processor: for one thread beside other work"
    )
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.memory:
        print(held_by(chosen.memory, chosen.sensors))  # noqa: T201
        return
    global clock
    clock = CLOCKS[chosen.clock]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name, measure in PIECES.items():
        path = chosen.folder / f"{name}.json"
        if not path.is_file() and (not chosen.pieces or any(one in name for one in chosen.pieces.split(","))):
            path.write_text(json.dumps(measure(), indent=1), encoding="utf-8")
    rows = [
        row
        for name in PIECES
        if (path := chosen.folder / f"{name}.json").is_file()
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    found = {"machine": machine(chosen.threads), "rows": rows, "ratios": ratios(rows)}
    print(json.dumps(found, indent=1) if chosen.json else table(found))  # noqa: T201


if __name__ == "__main__":
    main()
