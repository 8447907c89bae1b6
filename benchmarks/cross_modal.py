"""Does one network make of two instruments one language? Asked of simulated people whom a cap and depth electrodes see.

    python benchmarks/cross_modal.py --out runs/cross_modal

Pretraining without labels on ten of sixteen people: one network for both instruments, which tells the statistics of both by the
same maps or of each by its own, or a network for each. Then a decoder of left and right hand learns from the frozen features of
one instrument, of those ten people, and is asked about the other instrument's, of the six others. Features are means over the
tokens of each part of the head, since the classes differ by place; they are centred within each recording and scaled by the ten
people's spread, without labels. Two seeds; intervals over the six people. Resumable; one thread a run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked
from numpy.typing import NDArray
from score_tables import Found, decimals, interval, markdown

from brainfm.data.cards import DataCard
from brainfm.jobs.pretrain import pretrain
from brainfm.metrics import METRICS, bootstrap
from brainfm.model import BrainFM
from brainfm.probes import classifier
from brainfm.recipe import PretrainRecipe

CARD = "simulated_together"
HELD = [f"{number:02d}" for number in range(11, 17)]
BOTH = ("eeg", "seeg")
SEEDS = (0, 1)
STEPS = 500
FIELD = [{"kind": "resample", "sfreq": 128.0}, {"kind": "robust_scale", "scope": "recording", "clip": 15.0}]
SIGNAL = {
    "prepare": FIELD,
    "seconds": 2.5,
    "stride": 1.25,
    "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
}
ARMS: dict[str, dict[str, Any]] = {
    "one network": {},
    "one network, own maps": {"shared": False},
    **{f"alone {name}": {"only": name} for name in BOTH},
}


def recipe_of(arm: str, seed: int, steps: int = STEPS) -> PretrainRecipe:
    """The recipe of an arm: all take as many steps of as many tokens."""
    only = ARMS[arm].get("only")
    return PretrainRecipe.resolve(
        {
            "size": "tiny",
            "seed": seed,
            "data": {"cards": [CARD], "hold_out": {CARD: HELD}},
            "signals": {name: SIGNAL for name in BOTH if only in (None, name)},
            "encoder": {"kind": "transformer", "depth": 2, "width": 128, "heads": 2},
            "mask": {"kind": "block", "radius": 0.09, "length": 2, "share": 0.55},
            "objectives": {
                "masked_patches": {"decoder_depth": 1},
                "neurodynamics": {
                    "weight": 3.0,
                    "of": ["power", "hjorth"],
                    "shared": ARMS[arm].get("shared", True),
                },
            },
            "train": {"steps": steps, "tokens": 6000, "learning_rate": 2.0e-3, "save_every": 250},
        }
    )


def main() -> None:
    """Pretrain what is not pretrained yet, decode across instruments, print the table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/cross_modal"))
    arguments.add_argument("--side-by-side", type=int, default=2)
    chosen = arguments.parse_args()
    found = measured(Asked(chosen.out, side_by_side=chosen.side_by_side))
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """Every arm's scores; both seeds, since two networks that began apart need them."""
    steps = asked.steps(STEPS)
    asked.each(one_run, [(arm, seed, asked.out, steps) for seed in SEEDS for arm in ARMS])
    torch.set_num_threads(1)
    return {"rows": scores(asked.out)}


def lines(found: Found) -> list[str]:
    """The table."""
    head = ["features", "learnt on → asked about", "balanced accuracy", "95 % interval"]
    rows = [
        [row["arm"], f"{row['source']} → {row['target']}", decimals(row["score"]), interval(row)]
        for row in found["rows"]
    ]
    return markdown(head, rows)


def one_run(arm: str, seed: int, out: Path, steps: int) -> None:
    """One pretraining run on one thread."""
    torch.set_num_threads(1)
    pretrain(recipe_of(arm, seed, steps), folder(out, arm, seed), quiet=True)


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{arm.replace(', ', '-').replace(' ', '-')}-seed-{seed}"


def scores(out: Path) -> list[dict[str, Any]]:
    """Every arm, within each instrument and across both, and the untrained network of the joint recipe."""
    card = DataCard.load(CARD)
    assert card.task is not None
    recordings = card.recordings()
    windows = card.task.window(recordings, "eeg", card.task.labels)
    person = np.array([one.subject for one in recordings])[windows.recording]
    asked = np.isin(person, HELD)
    label, chosen = windows.label, METRICS["balanced_accuracy"]

    def features(model: BrainFM, name: str) -> NDArray[np.float32]:
        values = model.features(model.prepare(recordings, name), windows, name, "place", apart=True)
        for one in range(len(recordings)):
            values[windows.recording == one] -= values[windows.recording == one].mean(axis=0)
        return values / (values[~asked].std(axis=0) + 1e-6)

    def networks(arm: str, seed: int) -> dict[str, BrainFM]:
        if arm.startswith("alone"):
            # networks of one seed begin as the same one, and what they share of that carries over
            other = SEEDS[1 - SEEDS.index(seed)] if arm == "alone, begun apart" else seed
            of = {"eeg": seed, "seeg": other}
            return {name: BrainFM.from_pretrained(folder(out, f"alone {name}", of[name])) for name in BOTH}
        one = BrainFM.from_pretrained(folder(out, "one network" if arm == "untrained" else arm, seed))
        one = BrainFM.fresh(one.config, seed).eval() if arm == "untrained" else one
        return dict.fromkeys(BOTH, one)

    rows = []
    for arm in (
        "one network",
        "one network, own maps",
        "alone, begun alike",
        "alone, begun apart",
        "untrained",
    ):
        made = [{name: features(net, name) for name, net in networks(arm, seed).items()} for seed in SEEDS]
        for source in BOTH:
            for target in BOTH:
                told = []
                for values in made:
                    groups = np.unique(person[~asked], return_inverse=True)[1]
                    decoder = classifier("ridge", label[~asked], groups)
                    decoder.fit(values[source][~asked], label[~asked])
                    told.append(decoder.predict_proba(values[target][asked]))
                who = np.unique(person[asked], return_inverse=True)[1]
                found = bootstrap(chosen, told, label[asked], who, np.random.default_rng(0), n=2000)
                rows.append(
                    {"arm": arm, "source": source, "target": target, "score": found.score}
                    | {"low": found.low, "high": found.high}
                )
    return rows


if __name__ == "__main__":
    main()
