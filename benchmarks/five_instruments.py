"""One simulated brain, five instruments, one network: the demo's pretraining and probes, and electrodes that were not shown.

    python benchmarks/five_instruments.py --out runs/five_instruments

What `brainfm demo` does but for its fine-tuning and its report. Resumable; one thread.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from asked import Asked
from score_tables import Found, best_cell, cell, decimals, gap, markdown, named, portable

from brainfm.data.cards import DataCard
from brainfm.jobs.demo import TOLD_AFTER
from brainfm.jobs.interpolation import interpolation
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.probe import Options, probe
from brainfm.recipe import PretrainRecipe

FEWEST = 10
"""Steps of the sources in a check: their learning rate rises and falls in no fewer."""


def main() -> None:
    """Pretrain, probe, print the tables."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=Path("runs/five_instruments"))
    chosen = arguments.parse_args()
    found = measured(Asked(chosen.out))
    (chosen.out / "scores.json").write_text(json.dumps(found, indent=1))
    print("\n".join(lines(found)))  # noqa: T201 - this is the command's output


def measured(asked: Asked) -> dict[str, Any]:
    """A probe of every instrument, and electrodes told from others."""
    torch.set_num_threads(1)
    plain = PretrainRecipe.load("demo")
    recipe = PretrainRecipe.load("demo", [f"train.steps={asked.steps(plain.train.steps)}"])
    checkpoint = pretrain(recipe, asked.out / "pretrain", quiet=True).outcome.out
    options = Options(seeds=1, classical="card", quiet=True)
    probes = []
    for card in asked.few(recipe.data.cards):
        modality = DataCard.load(card).modality
        tokens = recipe.signals[modality].tokenizer.kind
        probes.append(
            {"instrument": modality, "tokens": tokens, **portable(probe([checkpoint], card, options))}
        )
    steps = max(FEWEST, asked.steps(TOLD_AFTER))
    told = interpolation(PretrainRecipe.load("sources_eeg"), steps, quiet=True)
    return {"probes": probes, "told": told.figure.numbers, "people": told.people}


def lines(found: Found) -> list[str]:
    """Both tables."""
    rows = [
        [
            one["instrument"],
            one["tokens"],
            one["unit"],
            str(one["rows"][0]["n_test"]),
            cell(named(one, "untrained")),
            cell(named(one, "frozen")),
            cell(gap(one, "frozen − untrained"), "+.2f"),
            best_cell(one),
        ]
        for one in found["probes"]
    ]
    head = ["instrument", "tokens", "intervals over", "windows", "untrained", "frozen", "frozen − untrained"]
    told = [
        [str(shown), *(decimals(value, ".2f") for value in (a[0], b[0], a[1], b[1]))]
        for shown, a, b in zip(*(found["told"][key] for key in ("shown", "sources", "splines")), strict=True)
    ]
    words = (
        f"Electrodes that were not shown, of {found['people']} people who were not trained on, told from those shown: "
        "correlation, and squared error over power."
    )
    shown = ["electrodes shown", "sources, r", "splines, r", "sources, error", "splines, error"]
    return [*markdown([*head, "card's baseline"], rows), "", words, "", *markdown(shown, told)]


if __name__ == "__main__":
    main()
