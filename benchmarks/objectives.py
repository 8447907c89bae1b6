"""What does each objective teach? The demo's pretraining with other objectives, probed on held-out people.

One command, resumable:

    python benchmarks/objectives.py --out runs/objectives

`--only ARM --seed N` makes one run and stops; codes need `--codec`, a folder of `brainfm tokenize train`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.jobs.pretrain import pretrain
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool
from brainfm.recipe import PretrainRecipe

RECIPE, CARD, SEEDS = "demo_eeg", "simulated_eeg", (0, 1)
PATCHES = {"decoder_depth": 2}
STATISTICS = {"neurodynamics": {"weight": 3.0}}
ARMS: dict[str, dict[str, Any]] = {
    "patches": {"masked_patches": PATCHES},
    "patches, amplitudes, phases": {"masked_patches": {**PATCHES, "amplitude": 1.0, "phase": 1.0}},
    "amplitudes, phases": {"masked_patches": {**PATCHES, "raw": 0.0, "amplitude": 1.0, "phase": 1.0}},
    "codes": {"masked_codes": PATCHES},
    "codes, symmetric": {"masked_codes": {**PATCHES, "symmetric": True}},
    "latents, a teacher": {"latent_prediction": {**PATCHES, "teacher": "average"}},
    "latents, no teacher": {"latent_prediction": {**PATCHES, "teacher": "none"}},
    "patches, statistics": {"masked_patches": PATCHES, **STATISTICS},
}


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/objectives"))
    arguments.add_argument("--codec", default="runs/codes_simulated")
    arguments.add_argument("--only", choices=ARMS)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--steps", type=int, default=700)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    runs = [(chosen.only, chosen.seed)] if chosen.only else [(arm, seed) for seed in SEEDS for arm in ARMS]
    for arm, seed in runs:
        pretrain(recipe(arm, seed, chosen.codec, chosen.steps), folder(chosen.out, arm, seed), quiet=True)
    if not chosen.only:
        print(table(chosen.out))  # noqa: T201 - this is the command's output


def recipe(arm: str, seed: int, codec: str, steps: int) -> PretrainRecipe:
    """The demo's recipe with an arm's objectives, and what these need."""
    sets = [f"seed={seed}", f"train.steps={steps}", f"objectives={json.dumps(ARMS[arm])}"]
    if "masked_codes" in ARMS[arm]:
        sets.append(f"codecs={json.dumps({'eeg': codec})}")
    if ARMS[arm].get("latent_prediction", {}).get("teacher") == "average":
        sets.append("train.average=0.999")
    return PretrainRecipe.load(RECIPE, sets)


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{arm.replace(',', '').replace(' ', '-')}-seed-{seed}"


def table(out: Path) -> str:
    """Scores of every arm that has been run, and of the untrained network."""
    lines = [
        "| arm | score | 95 % interval | arm − untrained | 95 % interval | seeds |",
        "|---|---|---|---|---|---|",
    ]
    evaluation = Evaluation.of(DataCard.load(CARD))
    for arm in ARMS:
        seeds = [
            seed for seed in SEEDS if list(folder(out, arm, seed).glob("checkpoints/*/model.safetensors"))
        ]
        if not seeds:
            continue
        models = [BrainFM.from_pretrained(folder(out, arm, seed)) for seed in seeds]
        panel = Panel.of(models, evaluation)
        pool = default_pool(panel.evaluation, models[0])
        frozen = [panel.frozen(seed, "ridge", pool) for seed in seeds]
        fresh = [panel.untrained(seed, "ridge", pool) for seed in seeds]
        row, gap = (
            panel.evaluation.row(arm, frozen),
            panel.evaluation.difference(arm, frozen, "untrained", fresh),
        )
        lines.append(
            f"| {arm} | {row.score:.3f} | {row.low:.3f} to {row.high:.3f} "
            f"| {gap.score:+.3f} | {gap.low:+.3f} to {gap.high:+.3f} | {len(seeds)} |"
        )
    bare = panel.evaluation.row("untrained", fresh)
    lines.append(f"| untrained | {bare.score:.3f} | {bare.low:.3f} to {bare.high:.3f} |  |  | {len(fresh)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
