"""Pretrain on each real MEG, sEEG, fMRI and spike set alone, without its labels, and probe it beside its classical baseline.

    python benchmarks/real_five.py --out runs/real_five

One seed, few steps: what it shows is that the whole way works on real files of every instrument, and what the frozen features
add to the untrained network's after minutes. The sets have one person each (MEG five), so pretraining saw the tested
recordings without their labels, and every table says so. Scores go to benchmarks/RESULTS.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from real_eeg import card_table

from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.recipe import PretrainRecipe
from brainfm.scores import scores_json

FIELD = [{"kind": "resample", "sfreq": 128.0}, {"kind": "robust_scale", "scope": "recording", "clip": 15.0}]
BLOOD = [
    {"kind": "regress_out", "drift": "linear"},
    {"kind": "robust_scale", "scope": "recording", "clip": 15.0},
]
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
    "fmri_vtc_tasks": {
        "fmri": {
            "prepare": [{"kind": "robust_scale", "scope": "recording", "per": "all", "clip": 15.0}],
            "seconds": 1.0,
            "tokenizer": {
                "kind": "voxel_clusters",
                "clusters": 24,
                "hidden": 32,
                "seconds": 1.0,
                "sfreq": 1.0,
            },
        }
    },
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


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print and store the scores."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/real_five"))
    arguments.add_argument("--cards", nargs="*", default=list(SIGNALS))
    arguments.add_argument("--steps", type=int, default=200)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)  # another number gives other last digits
    for card in chosen.cards:
        sets = [
            f"data.cards=[{card}]",
            f"signals={json.dumps(SIGNALS[card])}",
            f"train.steps={chosen.steps}",
            "train.batch=16",
        ]
        out = chosen.out / card
        pretrain(PretrainRecipe.load("smoke", sets), out, quiet=True)
        scores = probe([out], card, Options(quiet=True))
        (out / "scores.json").write_text(json.dumps(scores_json(scores), indent=1))
        print("\n".join(card_table(scores)), flush=True)  # noqa: T201 - this is the command's output


if __name__ == "__main__":
    main()
