"""What do LaBraM's, CBraMod's, REVE's and DeeperBrain's choices make of the same people in equally many steps?

One command, resumable, some minutes on a core; with --long two seeds of three times as many steps:

    python benchmarks/anchors.py --out runs/anchors

Each recipe has two blocks of width 96 here and 300 steps of 16 windows; LaBraM's codec is trained first, on the same people.
Scores are balanced accuracies of a ridge on frozen features, intervals over the eight people whom no pretraining saw. It is a
test of whether the recipes learn, not of who is best: they are small, and the people are simulated.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arms import Arms, Probed, untrained
from asked import Asked, command
from claims import Claim, found, lines

from brainfm.jobs.tokenize import train_codes
from brainfm.recipe import PretrainRecipe, TokenizeRecipe

CARD = "simulated_eeg"
ANCHORS: dict[str, str] = {
    "LaBraM": "labram",
    "CBraMod": "cbramod",
    "REVE": "reve",
    "DeeperBrain": "deeperbrain",
}
"""Recipes of `pretrain/`."""
NO_SUMMARY = "REVE, no summary"
STEPS, SEEDS, LONG_SEEDS = 300, (0,), (0, 1)
WITH_CODEC = "LaBraM"
"""Is told codes; those of a check, which has too few steps for good ones, are taken as they are."""


def main() -> None:
    """Train what is not trained yet, print the table."""
    command(__doc__, "anchors", measured, lines, "steps and systems", measured_long, tuple(ANCHORS))


def measured(asked: Asked, of: str | None = None) -> dict[str, Any]:
    """One seed; of one system, or of all side by side."""
    return claims(asked, SEEDS, STEPS, of)


def measured_long(asked: Asked, of: str | None = None) -> dict[str, Any]:
    """Two seeds of three times as many steps."""
    return claims(replace(asked, out=asked.out / "long"), LONG_SEEDS, 3 * STEPS, of)


def claims(asked: Asked, seeds: Sequence[int], steps: int, of: str | None = None) -> dict[str, Any]:
    """Whether each learns anything, and whether REVE's vector of the window helps."""
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    names = [of] if of is not None else asked.few(list(ANCHORS))
    names += [NO_SUMMARY] if asked.limit is None and "REVE" in names else []
    codec = asked.out / "codec"
    if WITH_CODEC in names:
        check = [] if asked.limit is None else [f"train.steps={asked.limit}", "codes.usage=0.0"]
        train_codes(TokenizeRecipe.load("codes_labram", ["train.precision=no", *check]), codec, quiet=True)
    arms = Arms({name: partial(recipe, name, codec, asked.steps(steps)) for name in names}, seeds, asked.out)
    probed = Probed(arms, CARD, "sensor", names, names, asked.folds)
    on = f"{CARD}, 8 people, {len(seeds)} seed{'s' * (len(seeds) > 1)}, {asked.steps(steps)} steps"
    told = [
        against(f"{name}: frozen features beat the untrained network's", on, probed, name, untrained(name))
        for name in names
        if name != NO_SUMMARY
    ]
    if NO_SUMMARY in names:
        says = "REVE: telling patches from one vector of the window, too, helps"
        told.append(against(says, on, probed, "REVE", NO_SUMMARY))
    return found(told)


def recipe(name: str, codec: Path, steps: int, seed: int) -> PretrainRecipe:
    """A system's recipe with as many steps as all have."""
    sets = [f"seed={seed}", "train.precision=no", f"train.steps={steps}"]
    if name == WITH_CODEC:
        sets.append(f"codecs={json.dumps({'eeg': str(codec)})}")
    if name == NO_SUMMARY:
        sets.append("objectives.masked_patches.summary=0.0")
    return PretrainRecipe.load(ANCHORS[name.partition(",")[0]], sets)


def against(says: str, on: str, probed: Probed, of: str, minus: str) -> Claim:
    """One row less another, paired over people."""
    gap, row, other = probed.gap(of, minus), probed.row(of), probed.row(minus)
    figure = f"{row.score:.3f} [{row.low:.3f}, {row.high:.3f}]; {minus} {other.score:.3f}"
    return Claim(says, on, figure, (gap.score, gap.low, gap.high))


if __name__ == "__main__":
    main()
