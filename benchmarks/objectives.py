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
from asked import Asked
from score_tables import Found, decimals, interval, markdown

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.tokenize import train_codes
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool
from brainfm.recipe import PretrainRecipe, TokenizeRecipe
from brainfm.scores import plain

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


COMPARED = (
    "patches",
    "patches, amplitudes, phases",
    "codes",
    "latents, a teacher",
    "latents, no teacher",
)
"""What `results.py` runs, each for `STEPS`."""
STEPS = 350
HELD = ["17", "18", "19", "20", "21", "22", "23", "24"]
CODEC = [
    "codes.quantizer.codes=64",
    f"data={json.dumps({'cards': [CARD], 'hold_out': {CARD: HELD}})}",
]


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
        print("\n".join(lines(table(chosen.out))))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """The shown arms for `STEPS` with one seed, and the codec that codes need; a check has too few steps for a healthy one."""
    torch.set_num_threads(1)
    codec = asked.out / "codec"
    if asked.limit is None:
        train_codes(TokenizeRecipe.load("codes_eeg", CODEC), codec, quiet=True)
    arms = [arm for arm in COMPARED if asked.limit is None or "masked_codes" not in ARMS[arm]]
    for arm in asked.few(arms):
        run = recipe(arm, SEEDS[0], str(codec), asked.steps(STEPS))
        pretrain(run, folder(asked.out, arm, SEEDS[0]), quiet=True)
    return table(asked.out)


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


def table(out: Path) -> dict[str, Any]:
    """Scores of every arm that has been run, and of the untrained network."""
    found: list[dict[str, Any]] = []
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
        found.append({"row": vars(row), "gap": vars(gap)})
    bare = panel.evaluation.row("untrained", fresh)
    return plain({"unit": panel.evaluation.unit, "arms": [*found, {"row": vars(bare), "gap": None}]})


def lines(found: Found) -> list[str]:
    """The table."""
    rows = []
    for arm in found["arms"]:
        row, gap = arm["row"], arm["gap"]
        against = ["", ""] if gap is None else [decimals(gap["score"], "+.3f"), interval(gap, "+.3f")]
        rows.append([row["name"], decimals(row["score"]), interval(row), *against, str(row["seeds"])])
    return markdown(["arm", "score", "95 % interval", "arm − untrained", "95 % interval", "seeds"], rows)


if __name__ == "__main__":
    main()
