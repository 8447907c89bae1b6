"""Pretrain on the real EEG sets without their labels, holding out subjects, and probe every card. One command, resumable.

    python benchmarks/real_eeg.py --out runs/real_eeg

Two pretraining folds: each leaves out what the other sees, so that every test subject (or session, or run) is scored by a
checkpoint that never saw it; three seeds of each. Scores go to benchmarks/RESULTS.md; they are deterministic with the
number of threads pinned.
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
    found = measured(Asked(chosen.out, side_by_side=2), chosen.recipe, chosen.overrides)
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


def measured(asked: Asked, recipe: str = "eeg_tiny", overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Every card probed with all runs."""
    torch.set_num_threads(THREADS)
    runs = pretrained(asked, recipe, overrides, asked.few(SEEDS))
    scores = [probe(runs, card, Options(quiet=True)) for card in asked.few(CARDS)]
    return {"scores": [portable(one) for one in scores]}


def pretrained(
    asked: Asked, recipe: str = "eeg_tiny", overrides: Sequence[str] = (), seeds: Sequence[int] = SEEDS
) -> list[Path]:
    """The folders of these seeds' runs; one that is finished is not run again."""
    steps = [] if asked.limit is None else [f"train.steps={asked.limit}"]
    jobs = [(recipe, [*overrides, *steps], asked.out, fold, seed) for seed in seeds for fold in FOLDS]
    return asked.each(one_run, jobs)


def one_run(recipe: str, overrides: Sequence[str], out: Path, fold: str, seed: int) -> Path:
    """One pretraining run, with its own number of threads."""
    torch.set_num_threads(THREADS)
    held = json.dumps(FOLDS[fold])
    folder = out / f"fold-{fold}-seed-{seed}"
    sets = [*overrides, f"seed={seed}", f"data.hold_out={held}"]
    pretrain(PretrainRecipe.load(recipe, sets), folder, quiet=True)
    return folder


def lines(found: Found) -> list[str]:
    """The tables, one per card."""
    return [line for one in found["scores"] for line in card_table(one)]


if __name__ == "__main__":
    main()
