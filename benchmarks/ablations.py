"""What does each mechanism add? The demo's pretraining with one thing changed, three seeds each, probed on held-out people.

One command, resumable; with --dense under a cap of 64 sensors, where neighbours give more away, and two seeds:

    python benchmarks/ablations.py --out runs/ablations
    python benchmarks/ablations.py --dense --out runs/ablations-dense
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.jobs.pretrain import pretrain
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool
from brainfm.recipe import PretrainRecipe

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
    card, seeds, changes = DENSE if chosen.dense else CAP
    arms = list(dict.fromkeys(["full", *chosen.arms]))
    jobs = [(arm, seed, chosen.out, changes) for seed in seeds for arm in arms]
    with ProcessPoolExecutor(chosen.side_by_side, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(one_run, *zip(*jobs, strict=True)))
    torch.set_num_threads(1)
    evaluation, predictions = probed(card, seeds, arms, chosen.out)
    print("| arm | score | 95 % interval | full − arm | 95 % interval |\n|---|---|---|---|---|")  # noqa: T201
    for arm, several in predictions.items():
        row = evaluation.row(arm, several)
        gap = evaluation.difference("full", predictions["full"], arm, several)
        against = "" if arm == "full" else f" {gap.score:+.3f} | {gap.low:+.3f} to {gap.high:+.3f}"
        print(f"| {arm} | {row.score:.3f} | {row.low:.3f} to {row.high:.3f} |{against or '  | '} |")  # noqa: T201


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
