"""Pretrain on each real MEG, sEEG, fMRI and spike set alone, without its labels, and probe it beside its classical baseline.

    python benchmarks/real_five.py --out runs/real_five

One seed, few steps: what it shows is that the whole way works on real files of every instrument, and what the frozen features
add to the untrained network's after minutes. The sets have one person each (MEG five), so pretraining saw the tested
recordings without their labels, and every table says so. Scores go to benchmarks/RESULTS.md.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from asked import Asked
from score_tables import Found, card_table, portable

from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.recipe import PretrainRecipe

FIELD = [{"kind": "resample", "sfreq": 128.0}, {"kind": "robust_scale", "scope": "recording", "clip": 15.0}]
BLOOD = [
    {"kind": "regress_out", "drift": "linear"},
    {"kind": "robust_scale", "scope": "recording", "clip": 15.0},
]
RESPONSES = {
    "prepare": [{"kind": "robust_scale", "scope": "recording", "per": "all", "clip": 15.0}],
    "seconds": 1.0,
    "tokenizer": {"kind": "voxel_clusters", "clusters": 24, "hidden": 32, "seconds": 1.0, "sfreq": 1.0},
}
SIGNALS: dict[str, dict[str, Any]] = {
    "meg_s1_detection": {
        "meg": {
            "prepare": FIELD,
            "seconds": 1.0,
            "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
        }
    },
    "ieeg_bonn": {
        "seeg": {
            "prepare": FIELD,
            "seconds": 4.0,
            "stride": 2.0,
            "tokenizer": {"kind": "patch", "seconds": 0.25, "sfreq": 128.0},
        }
    },
    "fmri_haxby_sub001": {
        "fmri": {
            "prepare": BLOOD,
            "seconds": 30.0,
            "stride": 5.0,
            "tokenizer": {
                "kind": "voxel_clusters",
                "clusters": 48,
                "hidden": 32,
                "seconds": 2.5,
                "sfreq": 0.4,
            },
        }
    },
    "fmri_vtc_tasks": {"fmri": RESPONSES},
    "fmri_digits69": {"fmri": RESPONSES},
    "spk_nelpy_ca1": {
        "spikes": {
            "prepare": [{"kind": "bin_counts", "seconds": 0.025}],
            "seconds": 2.0,
            "tokenizer": {"kind": "spike_counts", "seconds": 0.25, "sfreq": 40.0},
        }
    },
    "spk_dad_m1": {
        "spikes": {
            "prepare": [],
            "seconds": 0.3,
            "stride": 0.1,
            "tokenizer": {"kind": "spike_counts", "seconds": 0.1, "sfreq": 100.0},
        }
    },
    "spk_zhang_desimone": {
        "spikes": {
            "prepare": [],
            "seconds": 0.35,
            "tokenizer": {"kind": "spike_counts", "seconds": 0.35, "sfreq": 20.0},
        }
    },
}
"""How the signal of each set becomes tokens: its rate, its windows and its trials' lengths are its own."""
MAPS = ("fmri_vtc_tasks", "fmri_digits69")
"""Sets whose windows are one map of responses: a map has no course in time whose statistics could be told."""
PROBED = tuple(card for card in SIGNALS if card not in MAPS)
STEPS = 150


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print and store the scores."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/real_five"))
    arguments.add_argument("--cards", nargs="*", default=list(PROBED))
    arguments.add_argument("--steps", type=int, default=STEPS)
    chosen = arguments.parse_args()
    found = measured(Asked(chosen.out), chosen.cards, chosen.steps)
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


def measured(asked: Asked, cards: Sequence[str] = PROBED, steps: int = STEPS) -> dict[str, Any]:
    """Each card probed with the run that saw it."""
    torch.set_num_threads(1)  # another number gives other last digits
    scores = [probe([pretrained(asked, card, steps)], card, Options(quiet=True)) for card in asked.few(cards)]
    return {"scores": [portable(one) for one in scores]}


def pretrained(asked: Asked, card: str, steps: int = STEPS) -> Path:
    """The folder of a card's run; one that is finished is not run again."""
    sets = [
        f"data.cards=[{card}]",
        f"signals={json.dumps(SIGNALS[card])}",
        f"train.steps={asked.steps(steps)}",
        "train.batch=16",
    ]
    if card in MAPS:
        sets.append("objectives={masked_patches: {decoder_depth: 2}}")
    pretrain(PretrainRecipe.load("smoke", sets), asked.out / card, quiet=True)
    return asked.out / card


def lines(found: Found) -> list[str]:
    """The tables, one per card."""
    return [line for one in found["scores"] for line in card_table(one)]


if __name__ == "__main__":
    main()
