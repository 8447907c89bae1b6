"""At which scale should places be told, at which hidden, and what should hidden tokens be taught? BaRISTA's claims, simulated.

Oganesian et al. 2025 (arXiv:2512.12135, table 1) tell a contact's place and hide places at the scale of a channel, a parcel or
a lobe, each by itself. Here `pretrain/barista.yaml` with one thing changed, eight simulated people to pretrain on, and as a
question whether somebody speaks, asked of sixteen others by a linear probe of frozen features, each left out in turn. One
command, resumable:

    python benchmarks/barista.py --out runs/barista

`--long` fills in all nine pairs of scales and the other targets, three seeds each.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from arms import first
from asked import Asked, command
from claims import Claim, found, lines
from score_tables import decimals, markdown

from brainfm.data.cards import DataCard
from brainfm.evaluation import Evaluation
from brainfm.jobs.pretrain import pretrain
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import Panel, default_pool
from brainfm.recipe import PretrainRecipe

CARD = "simulated_talk"
SCALES = ("channel", "parcel", "lobe")
TELLS, HIDES = "signals.seeg.tokenizer.scale", "mask.scale"
LATENT = "objectives.latent_prediction"
FULL = "parcel, channel"
ARMS: dict[str, list[str]] = {
    **{
        f"{tells}, {hides}": [f"{TELLS}={tells}", f"{HIDES}={hides}"]
        for tells, hides in product(SCALES, SCALES)
    },
    "teacher's latents": [f"{LATENT}.of=encoder"],
    "no teacher": [f"{LATENT}.of=encoder", f"{LATENT}.teacher=none", "train.average=0.0"],
}
"""What is told and what is hidden; and other targets of the published pair."""
SHORT = (FULL, "channel, channel", "lobe, channel")


def main() -> None:
    """Pretrain what is not pretrained yet, print a table."""
    command(__doc__, "barista", measured, lines, "steps and seeds", measured_long)


def measured(asked: Asked) -> dict[str, Any]:
    """The claims, by one seed of each arm."""
    return found(claims(*probed(asked, SHORT, (0,))))


def claims(evaluation: Evaluation, predictions: Mapping[str, Sequence[Probabilities]]) -> list[Claim]:
    """What can be said of the arms that were run."""
    seeds = len(predictions[FULL])
    on = f"{CARD}, {evaluation.unit}, {seeds} seed{'s' * (seeds > 1)}"

    def claim(says: str, better: str, worse: str) -> Claim:
        rows = [evaluation.row(name, predictions[name]) for name in (better, worse)]
        gap = evaluation.difference(better, predictions[better], worse, predictions[worse])
        return Claim(
            says,
            on,
            f"{better} {rows[0].score:.3f}, {worse} {rows[1].score:.3f}",
            (gap.score, gap.low, gap.high),
        )

    several = [
        ("pretraining helps: frozen features beat the untrained network's", FULL, "untrained"),
        ("a place told by parcel beats one told by channel", FULL, "channel, channel"),
        ("a place told by parcel beats one told by lobe", FULL, "lobe, channel"),
        ("a teacher (a running mean of the weights) beats none", FULL, "no teacher"),
        ("its tokens are a better target than its latents", FULL, "teacher's latents"),
    ]
    return [claim(*one) for one in several if one[2] in predictions]


def measured_long(asked: Asked) -> dict[str, Any]:
    """The claims by three seeds of each arm, and beside them the score of every pair of scales with its interval."""
    evaluation, predictions = probed(asked, list(ARMS), (0, 1, 2))
    return found(claims(evaluation, predictions), table(evaluation, predictions))


def table(evaluation: Evaluation, predictions: Mapping[str, Sequence[Probabilities]]) -> list[str]:
    """Rows: how places are told; columns: how they are hidden."""

    def cell(name: str) -> str:
        row = evaluation.row(name, predictions[name])
        return f"{decimals(row.score)} [{decimals(row.low)}, {decimals(row.high)}]"

    body = [[tells, *(cell(f"{tells}, {hides}") for hides in SCALES)] for tells in SCALES]
    head = ["told by", *(f"hidden by {hides}" for hides in SCALES)]
    return [
        *markdown(head, body),
        "",
        f"Untrained {cell('untrained')}; AUROC, intervals over {evaluation.unit}.",
    ]


def probed(
    asked: Asked, arms: Sequence[str], seeds: Sequence[int]
) -> tuple[Evaluation, dict[str, list[Probabilities]]]:
    """Out-of-fold predictions of every arm and of the untrained network, on the people whom none saw."""
    evaluation = Evaluation.of(DataCard.load(CARD))
    predictions: dict[str, list[Probabilities]] = {}
    torch.set_num_threads(1)
    for arm in arms:
        models = [BrainFM.from_pretrained(trained(asked, arm, seed)) for seed in asked.few(seeds)]
        panel = first(Panel.of(models, evaluation), asked.folds)
        pool = default_pool(panel.evaluation, models[0])
        predictions[arm] = [panel.frozen(seed, "ridge", pool) for seed in panel.models]
        if arm == FULL:
            predictions["untrained"] = [panel.untrained(seed, "ridge", pool) for seed in panel.models]
    return panel.evaluation, predictions


def trained(asked: Asked, arm: str, seed: int) -> Path:
    """The folder of an arm's run, made once."""
    folder = asked.out / "-".join([*arm.replace(",", "").replace("'", "").split(), str(seed)])
    recipe = PretrainRecipe.load("barista", [f"seed={seed}", *ARMS[arm]])
    pretrain(asked.shortened(recipe), folder, quiet=True)
    return folder


if __name__ == "__main__":
    main()
