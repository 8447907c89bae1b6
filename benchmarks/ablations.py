"""What does each mechanism add? The demo's pretraining with one thing changed, three seeds each, probed on held-out people.

One command, resumable; with --dense under a cap of 64 sensors, where neighbours give more away, and two seeds:

    python benchmarks/ablations.py --out runs/ablations
    python benchmarks/ablations.py --dense --out runs/ablations-dense
"""

import argparse
from collections.abc import Sequence
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

CAP = ("simulated_eeg", (0, 1, 2), [])
"""The card, the seeds and what the cap changes of the recipe `demo_eeg`."""
DENSE = (
    "simulated_eeg_dense",
    (0, 1),
    [
        "data={cards: [simulated_eeg_dense], hold_out: {simulated_eeg_dense: ['11', '12', '13', '14', '15', '16']}}",
        "train={steps: 500, tokens: 4096, learning_rate: 2.0e-3, precision: 'no', save_every: 250}",
    ],
)
NOWHERE = (
    "signals.eeg.prepare=[{kind: band_pass, low: 0.5, high: 45.0}, {kind: resample, sfreq: 128.0}, "
    "{kind: robust_scale, scope: recording, clip: 15.0}, {kind: without_positions}]"
)
ARMS = {
    "full": [],
    "no statistics target": ["objectives.neurodynamics.weight=0.0"],
    "independent mask": ["mask={kind: independent, share: 0.55}"],
    "one-sensor blocks": ["mask={kind: block, radius: 0.0, length: 2, share: 0.55}"],
    "no positions": [NOWHERE],
}


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/ablations"))
    arguments.add_argument("--dense", action="store_true", help="64 sensors instead of 19")
    arguments.add_argument("--side-by-side", type=int, default=2)
    arguments.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="beside the full one")
    chosen = arguments.parse_args()
    asked = Asked(chosen.out, side_by_side=chosen.side_by_side)
    print("\n".join(lines(measured(asked, chosen.dense, chosen.arms))))  # noqa: T201


def measured(asked: Asked, dense: bool = False, arms: Sequence[str] = tuple(ARMS)) -> dict[str, Any]:
    """Each arm's row, and how much less than the full one it scores."""
    card, every, changes = DENSE if dense else CAP
    seeds, names = asked.few(every), list(dict.fromkeys(["full", *arms]))
    if asked.limit is not None:
        changes = [*changes, f"train.steps={asked.limit}"]
    asked.each(one_run, [(arm, seed, asked.out, changes) for seed in seeds for arm in names])
    torch.set_num_threads(1)
    evaluation, predictions = probed(card, seeds, names, asked.out)
    found = []
    for arm, several in predictions.items():
        gap = evaluation.difference("full", predictions["full"], arm, several)
        found.append({"row": vars(evaluation.row(arm, several)), "gap": vars(gap)})
    return plain({"card": card, "unit": evaluation.unit, "arms": found})


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
    for arm in arms:
        models = [BrainFM.from_pretrained(folder(out, arm, seed)) for seed in seeds]
        panel = Panel.of(models, evaluation)
        pool = default_pool(panel.evaluation, models[0])
        predictions[arm] = [panel.frozen(seed, "ridge", pool) for seed in seeds]
    predictions["untrained"] = [panel.untrained(seed, "ridge", pool) for seed in seeds]
    return panel.evaluation, predictions


if __name__ == "__main__":
    main()
