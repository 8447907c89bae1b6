"""What does each mechanism add? The demo's pretraining with one thing changed, probed on held-out people.

One command, resumable. With `--setting patches` nothing but hidden patches is told, so that the mask alone decides what is
learnt, with `early` the same after a fifth of the tokens; with `dense` 64 sensors listen instead of 19, and neighbours give
more away:

    python benchmarks/ablations.py --out runs/ablations
    python benchmarks/ablations.py --setting patches --out runs/ablations-patches
    python benchmarks/ablations.py --setting early --out runs/ablations-early
    python benchmarks/ablations.py --setting dense --out runs/ablations-dense
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from asked import Asked
from score_tables import Found, decimals, interval, markdown

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.jobs.pretrain import pretrain
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool
from brainfm.recipe import PretrainRecipe
from brainfm.scores import plain


@dataclass(frozen=True)
class Setting:
    """What all arms share: the card, the seeds, the arms beside the full one, and what is changed of the recipe `demo_eeg`."""

    card: str
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    changes: tuple[str, ...] = ()


NOWHERE = (
    "signals.eeg.prepare=[{kind: band_pass, low: 0.5, high: 45.0}, {kind: resample, sfreq: 128.0}, "
    "{kind: robust_scale, scope: recording, clip: 15.0}, {kind: without_positions}]"
)
ARMS = {
    "full": [],
    "no statistics target": ["objectives.neurodynamics.weight=0.0"],
    "independent mask": ["mask={kind: independent, share: 0.55}"],
    "one-sensor blocks": ["mask={kind: block, radius: 0.0, length: 2, share: 0.55}"],
    "whole moments": ["mask={kind: time, length: 2, share: 0.55}"],
    "whole sensors": ["mask={kind: sensor, share: 0.55}"],
    "no positions": [NOWHERE],
}
PATCHES = "objectives={masked_patches: {decoder_depth: 2}}"
MASKS = ("independent mask", "one-sensor blocks", "no positions")
EXTREMES = ("whole moments", "whole sensors")
"""Blocks of all sensors for two patches, and of one sensor for all of the window: the ends of the study's grid."""
SETTINGS = {
    "cap": Setting("simulated_eeg", (0, 1, 2), ("no statistics target", *MASKS)),
    "patches": Setting("simulated_eeg", (0, 1, 2), MASKS, (PATCHES,)),
    "early": Setting(
        "simulated_eeg",
        (3, 4, 5),  # the lengths were chosen on 0 to 2
        (*MASKS, *EXTREMES),
        (
            PATCHES,
            "train={steps: 300, tokens: 2048, learning_rate: 2.0e-3, precision: 'no', save_every: 150}",
        ),
    ),
    "dense": Setting(
        "simulated_eeg_dense",
        (0, 1),
        ("independent mask",),
        (
            "data={cards: [simulated_eeg_dense], hold_out: {simulated_eeg_dense: ['11', '12', '13', '14', '15', '16']}}",
            "train={steps: 500, tokens: 4096, learning_rate: 2.0e-3, precision: 'no', save_every: 250}",
        ),
    ),
}


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/ablations"))
    arguments.add_argument("--setting", choices=SETTINGS, default="cap")
    arguments.add_argument("--side-by-side", type=int, default=2)
    chosen = arguments.parse_args()
    asked = Asked(chosen.out, side_by_side=chosen.side_by_side)
    print("\n".join(lines(measured(asked, chosen.setting))))  # noqa: T201


def measured(asked: Asked, setting: str = "cap") -> dict[str, Any]:
    """Each arm's row, and how much less than the full one it scores."""
    given = SETTINGS[setting]
    seeds, names = asked.few(given.seeds), ["full", *given.arms]
    changes = [*given.changes, *([] if asked.limit is None else [f"train.steps={asked.limit}"])]
    asked.each(one_run, [(arm, seed, asked.out, changes) for seed in seeds for arm in names])
    torch.set_num_threads(1)
    evaluation, predictions = probed(given.card, seeds, names, asked.out)
    found = []
    for arm, several in predictions.items():
        gap = evaluation.difference("full", predictions["full"], arm, several)
        found.append({"row": vars(evaluation.row(arm, several)), "gap": vars(gap)})
    return plain({"card": given.card, "unit": evaluation.unit, "arms": found})


def lines(found: Found) -> list[str]:
    """The table."""
    head = ["arm", "score", "95 % interval", "full − arm", "95 % interval", "seeds"]
    rows = []
    for arm in found["arms"]:
        row, gap = arm["row"], arm["gap"]
        against = (
            ["", ""] if row["name"] == "full" else [decimals(gap["score"], "+.3f"), interval(gap, "+.3f")]
        )
        rows.append([row["name"], decimals(row["score"]), interval(row), *against, str(row["seeds"])])
    return [*markdown(head, rows), "", f"{found['card']}; intervals over {found['unit']}."]


def one_run(arm: str, seed: int, out: Path, changes: list[str]) -> None:
    """One pretraining run on one thread."""
    torch.set_num_threads(1)
    recipe = PretrainRecipe.load("demo_eeg", [f"seed={seed}", *changes, *ARMS[arm]])
    pretrain(recipe, folder(out, arm, seed), quiet=True)


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{arm.replace(' ', '-')}-seed-{seed}"


def probed(
    card: str, seeds: Sequence[int], arms: Sequence[str], out: Path
) -> tuple[Evaluation, dict[str, list[Probabilities]]]:
    """Out-of-fold predictions of every arm and of the untrained network, on the held-out people."""
    evaluation = Evaluation.of(DataCard.load(card))
    predictions: dict[str, list[Probabilities]] = {}
    untrained: list[Probabilities] = []
    for arm in arms:
        models = [BrainFM.from_pretrained(folder(out, arm, seed)) for seed in seeds]
        panel = Panel.of(models, evaluation)
        pool = default_pool(panel.evaluation, models[0])
        predictions[arm] = [panel.frozen(seed, "ridge", pool) for seed in seeds]
        untrained = untrained or [panel.untrained(seed, "ridge", pool) for seed in seeds]  # of the first arm
    return panel.evaluation, {**predictions, "untrained": untrained}


if __name__ == "__main__":
    main()
