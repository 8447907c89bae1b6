"""Pretrain on the real EEG sets without their labels, holding out subjects, and probe every card. One command, resumable.

    python benchmarks/real_eeg.py --out runs/real_eeg

Two pretraining folds: each leaves out what the other sees, so that every test subject (or session, or run) is scored by a
checkpoint that never saw it; three seeds of each. Scores go to benchmarks/RESULTS.md; they are deterministic with the
number of threads pinned.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.recipe import PretrainRecipe
from brainfm.scores import Scores, scores_json

THREADS = 1
"""Of each run; two runs go side by side. Another number gives other last digits."""
SEEDS = (0, 1, 2)
MUSE_RUNS = ["2017-09-14-21.20.04", "2017-09-14-21.22.51", "2017-09-14-21.25.17"]
MUSE_LATER = ["2017-09-14-21.27.36", "2017-09-14-21.29.57", "2017-09-14-21.32.15"]
FOLDS: dict[str, dict[str, list[str]]] = {
    "a": {
        "eeg_arithmetic": ["00", "01", "02"],
        "eeg_ssvep_exo": ["01", "02"],
        "eeg_muse_p300": ["1/1"],
        "eeg_muse_ssvep": [f"1/1/{run}" for run in MUSE_RUNS],
    },
    "b": {
        "eeg_arithmetic": ["03", "04", "05"],
        "eeg_ssvep_exo": ["03", "04"],
        "eeg_muse_p300": ["1/2"],
        "eeg_muse_ssvep": [f"1/1/{run}" for run in MUSE_LATER],
    },
}
CARDS = (
    "eeg_arithmetic",
    "eeg_ssvep_exo",
    "eeg_muse_p300",
    "eeg_muse_ssvep",
    "eeg_bci2_selfpaced",
    "eeg_delhi",
)


def main() -> None:
    """Pretrain what is not pretrained yet, probe every card, print and store the scores."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/real_eeg"))
    arguments.add_argument("--recipe", default="eeg_tiny")
    arguments.add_argument("--set", dest="overrides", action="append", default=[])
    chosen = arguments.parse_args()
    torch.set_num_threads(THREADS)
    began = time.monotonic()
    runs = pretrained(chosen.recipe, chosen.overrides, chosen.out)
    spent = time.monotonic() - began
    scores = [probe(runs, card, Options(quiet=True)) for card in CARDS]
    recipe = PretrainRecipe.load(chosen.recipe, chosen.overrides)
    found: dict[str, Any] = {"recipe": recipe.hash, "scores": [scores_json(one) for one in scores]}
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print(markdown(scores))  # noqa: T201 - this is the command's output
    print(f"pretraining {spent:.0f} s, probing {time.monotonic() - began - spent:.0f} s")  # noqa: T201


def pretrained(recipe: str, overrides: Sequence[str], out: Path, side_by_side: int = 2) -> list[Path]:
    """The folders of all runs; one that is finished is not run again."""
    runs = [(fold, seed) for seed in SEEDS for fold in FOLDS]
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    with ProcessPoolExecutor(side_by_side, mp_context=context) as pool:
        return list(pool.map(one_run, *zip(*[(recipe, overrides, out, *run) for run in runs], strict=True)))


def one_run(recipe: str, overrides: Sequence[str], out: Path, fold: str, seed: int) -> Path:
    """One pretraining run, with its own number of threads."""
    torch.set_num_threads(THREADS)
    held = json.dumps(FOLDS[fold])
    folder = out / f"fold-{fold}-seed-{seed}"
    sets = [*overrides, f"seed={seed}", f"data.hold_out={held}"]
    pretrain(PretrainRecipe.load(recipe, sets), folder, quiet=True)
    return folder


def markdown(scores: Sequence[Scores]) -> str:
    """The tables, one per card."""
    return "\n".join(line for one in scores for line in [*card_table(one), ""])


def card_table(scores: Scores) -> list[str]:
    """A card's rows and paired differences."""
    held = len(scores.held_out) if not isinstance(scores.held_out, str) else 1
    lines = [
        f"### {scores.card}",
        f"{scores.split}. {scores.metric}; intervals over {scores.unit}; {held} folds. Contamination: {scores.contamination}.",
        "",
        "| row | score | 95 % interval | windows | seeds |",
        "|---|---|---|---|---|",
    ]
    for row in scores.rows:
        lines.append(
            f"| {row.name} | {row.score:.3f} | {row.low:.3f} to {row.high:.3f} | {row.n_test} | {row.seeds} |"
        )
    for one in scores.differences:
        lines.append(
            f"| **{one.name}** | {one.score:+.3f} | {one.low:+.3f} to {one.high:+.3f} | {one.n_test} | {one.seeds} |"
        )
    return [line.replace("nan to nan", "–") for line in lines]


if __name__ == "__main__":
    main()
