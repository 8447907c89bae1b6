"""What does each mechanism add? The demo's pretraining with one thing changed, three seeds each, probed on held-out people.

One command, resumable:

    python benchmarks/ablations.py --out runs/ablations
"""

import argparse
import multiprocessing
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

RECIPE, CARD, SEEDS = "demo_eeg", "simulated_eeg", (0, 1, 2)
ARMS = {
    "full": [],
    "no statistics target": ["objectives.neurodynamics.weight=0.0"],
    "independent mask": ["mask={kind: independent, share: 0.55}"],
    "one-sensor blocks": ["mask={kind: block, radius: 0.0, length: 2, share: 0.55}"],
}


def main() -> None:
    """Pretrain what is not pretrained yet, probe, print a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/ablations"))
    out = arguments.parse_args().out
    jobs = [(arm, seed, out) for seed in SEEDS for arm in ARMS]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(one_run, *zip(*jobs, strict=True)))
    torch.set_num_threads(1)
    evaluation, predictions = probed(out)
    print("| arm | score | 95 % interval | full − arm | 95 % interval |\n|---|---|---|---|---|")  # noqa: T201
    for arm, several in predictions.items():
        row = evaluation.row(arm, several)
        gap = evaluation.difference("full", predictions["full"], arm, several)
        against = "" if arm == "full" else f" {gap.score:+.3f} | {gap.low:+.3f} to {gap.high:+.3f}"
        print(f"| {arm} | {row.score:.3f} | {row.low:.3f} to {row.high:.3f} |{against or '  | '} |")  # noqa: T201


def one_run(arm: str, seed: int, out: Path) -> None:
    """One pretraining run on one thread."""
    torch.set_num_threads(1)
    pretrain(PretrainRecipe.load(RECIPE, [f"seed={seed}", *ARMS[arm]]), folder(out, arm, seed), quiet=True)


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where a run is."""
    return out / f"{arm.replace(' ', '-')}-seed-{seed}"


def probed(out: Path) -> tuple[Evaluation, dict[str, list[Probabilities]]]:
    """Out-of-fold predictions of every arm and of the untrained network, on the held-out people."""
    evaluation = Evaluation.of(DataCard.load(CARD))
    predictions: dict[str, list[Probabilities]] = {}
    for arm in ARMS:
        models = [BrainFM.from_pretrained(folder(out, arm, seed)) for seed in SEEDS]
        panel = Panel.of(models, evaluation)
        pool = default_pool(panel.evaluation, models[0])
        predictions[arm] = [panel.frozen(seed, "ridge", pool) for seed in SEEDS]
    predictions["untrained"] = [panel.untrained(seed, "ridge", pool) for seed in SEEDS]
    return panel.evaluation, predictions


if __name__ == "__main__":
    main()
