"""Neuroformer (Antoniades et al. 2024, arXiv:2311.00136): what of it holds with our parts, on one rat and on simulated circuits.

    python benchmarks/neuroformer.py --out runs/neuroformer

Three pretrainings on the rat (the whole recipe, without the contrastive term, spikes alone) and one on simulated circuits. What
is said of likelihoods, connections and labels is measured in `neuroformer_likelihood.py`, `neuroformer_circuits.py` and here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import claims
import numpy as np
import torch
from asked import Asked, command
from claims import Claim
from neuroformer_circuits import circuits
from neuroformer_likelihood import HELD_OUT, likelihoods
from numpy.typing import NDArray

from brainfm.adaptation.full import Full
from brainfm.jobs.finetune import SCRATCH, Bench
from brainfm.jobs.pretrain import pretrain
from brainfm.metrics import OF_VALUES, Probabilities, paired_difference
from brainfm.model import BrainFM
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe, PretrainRecipe
from brainfm.tasks import laid_out

KNOWN = 985.0
"""Seconds of the recording in which the rat's place is known: all arms train on the same."""
BLOCK = 20.0
"""Seconds that are drawn together for an interval."""
ARMS: dict[str, list[str]] = {
    "whole": [],
    "without-contrastive": ["objectives.contrastive.weight=0.0"],
    "spikes-alone": [
        "signals={spikes: {prepare: [{kind: bin_counts, seconds: 0.001}], seconds: 4.0, stride: 1.0, "
        "tokenizer: {kind: spike_events, seconds: 0.1, sfreq: 1000.0}}}",
        "together=[]",
        "objectives.contrastive.weight=0.0",
        f"data.hold_out={{spk_nelpy_ca1: [{', '.join(repr(one) for one in (*HELD_OUT, f'@{KNOWN:g}-1969'))}]}}",
    ],
}
SHARES = (0.01, 0.1, 1.0)
ROWS = ("full", "scratch", "frozen", "untrained")


def measured(asked: Asked) -> dict[str, Any]:
    """Every claim."""
    torch.set_num_threads(1)
    runs = {arm: trained(asked, arm) for arm in ARMS}
    return claims.found([*likelihoods(asked, runs), *circuits(asked), *few_labels(asked, runs)])


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table of claims."""
    return claims.lines(found)


def trained(asked: Asked, arm: str) -> Path:
    """The run of an arm, which goes on where it stopped."""
    whole = PretrainRecipe.load("neuroformer", ARMS[arm])
    steps = f"train.steps={asked.steps(whole.train.steps)}"
    pretrain(PretrainRecipe.load("neuroformer", [*ARMS[arm], steps]), asked.out / arm, quiet=True)
    return asked.out / arm


def few_labels(asked: Asked, runs: Mapping[str, Path]) -> list[Claim]:
    """The rat's place from a second of spikes, with few labels, by a network that saw spikes alone; what seeing places adds."""
    found = []
    for share in asked.few(SHARES):
        said, true, block = decoded(asked, runs["spikes-alone"], share, ROWS)
        on = f"spk_nelpy_ca1, 3 stretches, {len(set(block))} blocks, {share:.0%} of the labels, pretrained on spikes alone"
        words = {"full": "fine-tuned", "frozen": "frozen"}
        for ours, other in (("full", "scratch"), ("frozen", "untrained")):
            says = f"pretrained ({words[ours]}) tells the place better than {other}"
            found.append(compared(says, on, (ours, said[ours]), (other, said[other]), true, block))
    for share in asked.few(SHARES[1:]):
        frozen = {arm: decoded(asked, run, share, ("frozen",)) for arm, run in runs.items()}
        on = f"spk_nelpy_ca1, 3 stretches, {share:.0%} of the labels, frozen"
        for ours, other, says in (
            ("whole", "without-contrastive", "the contrastive term helps to tell the place"),
            (
                "whole",
                "spikes-alone",
                "behaviour in pretraining (places, no labels told) helps to tell the place",
            ),
        ):
            (a, true, block), (b, _, _) = frozen[ours], frozen[other]
            found.append(compared(says, on, (ours, a["frozen"]), (other, b["frozen"]), true, block))
    return found


def decoded(
    asked: Asked, run: Path, share: float, rows: Sequence[str]
) -> tuple[dict[str, Probabilities], NDArray[np.float64], NDArray[np.int64]]:
    """What each row says of the tested windows, what is so, and the block of time of each."""
    given = [f"labelled={share}"]
    recipe = FinetuneRecipe.load("neuroformer", given)
    recipe = FinetuneRecipe.load("neuroformer", [*given, f"train.steps={asked.steps(recipe.train.steps)}"])
    model = BrainFM.from_pretrained(run)
    panel = Panel.of([model], laid_out(recipe, model))
    bench = Bench.of(recipe, panel, asked.out / "decoders" / f"{run.name}-{share:g}")
    ways = {
        "full": lambda: bench.out_of_fold("full", Full(), 0, lambda _: None),
        "scratch": lambda: bench.out_of_fold(SCRATCH, Full(), 0, lambda _: None),
        "frozen": lambda: panel.frozen(0, "ridge", "mean"),
        "untrained": lambda: panel.untrained(0, "ridge", "mean"),
    }
    evaluation = panel.evaluation
    true = evaluation.targets.value[evaluation.tested]  # type: ignore[attr-defined] # a target was asked for
    start = evaluation.windows.start[evaluation.tested]
    return {row: ways[row]() for row in rows}, true, (start // BLOCK).astype(np.int64)


def compared(
    says: str,
    on: str,
    ours: tuple[str, Probabilities],
    other: tuple[str, Probabilities],
    true: NDArray[np.float64],
    block: NDArray[np.int64],
) -> Claim:
    """By how much R² is higher, over blocks of time."""
    metric, rng = OF_VALUES["r2"], np.random.default_rng(0)
    gap = paired_difference(metric, [ours[1]], [other[1]], true, block, rng)
    figure = ", ".join(f"{name} R² {metric(said, true):.2f}" for name, said in (ours, other))
    return Claim(says, on, figure, (gap.score, gap.low, gap.high))


if __name__ == "__main__":
    command(__doc__, "neuroformer", measured, lines, "steps, circuits and shares of labels")
