"""POYO (Azabou et al. 2023, arXiv:2310.16046): what of it holds with our parts, for the place of one rat.

    python benchmarks/poyo.py --out runs/poyo

The same windows (1 s, every quarter second), targets and five blocks of time with a gap for all; every network is trained from
nothing in each fold. For neurons that a decoder has not met, the same recording is read under another name, so its neurons
are new: the decoder is trained on the first 600 s, labels are told of some windows from 602 to 790 s, 793 to 985 s are tested.
Intervals are over blocks of 20 s.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import claims
import numpy as np
import torch
from arms import first
from asked import Asked, command
from claims import Claim
from numpy.typing import NDArray

from brainfm import folders
from brainfm.adaptation.full import Full
from brainfm.adaptation.sensors import Sensors
from brainfm.data.leaks import Fold
from brainfm.jobs.finetune import SCRATCH, Bench, started
from brainfm.metrics import OF_VALUES, Probabilities, paired_difference
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe
from brainfm.regressors.bayesian import Bayesian
from brainfm.regressors.wiener import Wiener
from brainfm.tasks import laid_out

BLOCK = 20.0
COUNTS = [
    "network={signals: {spikes: {prepare: [{kind: bin_counts, seconds: 0.025}], seconds: 1.0, "
    "tokenizer: {kind: spike_counts, seconds: 0.25, sfreq: 40.0}}}, encoder: {kind: transformer, depth: 2, width: 64, heads: 2}}",
    "head={kind: linear, pool: all}",
]
POSSM = "possm"
"""The arm of another system, which has claims of its own."""
ARMS = {
    "poyo": [],
    "counts": COUNTS,
    "own stretch": ["network.encoder.across=false"],
    "no moment": ["head={kind: attentive}"],
    POSSM: ["network.encoder={kind: recurrent, seconds: 0.05, latents: 1, depth: 1, width: 64, heads: 2}"],
}
PAIRS = (
    ("single spikes tell the place better than a Wiener filter of counts", "poyo", "wiener"),
    ("than the field's own Bayesian decoder", "poyo", "bayesian"),
    ("than a transformer of counts", "poyo", "counts"),
    ("latents that read the whole window help", "poyo", "own stretch"),
    ("a query that stands at its moment helps", "poyo", "no moment"),
    ("a recurrent core tells the place better than a Wiener filter of counts", POSSM, "wiener"),
    ("a recurrent core tells it better than latents that see the whole window", POSSM, "poyo"),
)
"""What is said, and which of two arms must be ahead for it."""
BASE, TOLD, TESTED = (0.0, 600.0), (602.0, 790.0), (793.0, 985.0)
"""Seconds of the recording that the decoder, its new neurons and the test see."""
AGAIN = "spk_nelpy_again"


def measured(asked: Asked, of: str | None = None) -> dict[str, Any]:
    """Every claim, or those about `poyo` or `possm` alone."""
    torch.set_num_threads(1)
    more = [] if of == POSSM else new_neurons(asked)
    return claims.found([*side_by_side(asked, of), *more])


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table of claims."""
    return claims.lines(found)


def recipe_of(asked: Asked, changes: list[str]) -> FinetuneRecipe:
    """The tiny recipe with these changes, of as many steps as are asked for."""
    whole = FinetuneRecipe.load("poyo", changes)
    return FinetuneRecipe.load("poyo", [*changes, f"train.steps={asked.steps(whole.train.steps)}"])


def side_by_side(asked: Asked, of: str | None) -> list[Claim]:
    """Single spikes beside counts, and what latents and moments add."""
    told: dict[str, Probabilities] = {}
    pairs = [pair for pair in PAIRS if of is None or pair[1] == of]
    for arm in [arm for arm in ARMS if any(arm in pair for pair in pairs)]:
        changes = ARMS[arm]
        recipe = recipe_of(asked, changes)
        model = started(recipe, None)
        panel = first(Panel.of([model], laid_out(recipe, model)), asked.folds)
        bench = Bench.of(recipe, panel, asked.out / arm.replace(" ", "-"))
        told[arm] = bench.out_of_fold(SCRATCH, Full(), 0, lambda _: None)
    evaluation = panel.evaluation
    told["wiener"] = evaluation.baseline(Wiener(bins=4))
    told["bayesian"] = evaluation.baseline(Bayesian())
    on = f"spk_nelpy_ca1, {len(evaluation.tested)} windows, {len(evaluation.folds)} folds"
    return [compared(says, on, told, ours, other, evaluation) for says, ours, other in pairs]


def new_neurons(asked: Asked) -> list[Claim]:
    """A decoder meets neurons that it does not know: their vectors alone are learnt, or all of it, or a network from nothing."""
    recipe = recipe_of(asked, [])
    model = started(recipe, None)
    panel = Panel.of([model], laid_out(recipe, model))
    bench = Bench.of(recipe, panel, asked.out / "known")
    rows = np.flatnonzero(during(panel.evaluation, BASE))
    decoder = bench.train(model, Full(), rows, 0, asked.out / "known" / "base")
    changes = [f"card={again(asked.out)}", "network=null", f"train.steps={recipe.train.steps}"]
    fresh = FinetuneRecipe.load("poyo", changes)
    evaluation = laid_out(fresh, decoder)
    told_, tested_ = (np.flatnonzero(during(evaluation, seconds)) for seconds in (TOLD, TESTED))
    later = replace(evaluation, folds=[Fold(told_, tested_, "later")])
    new = Bench.of(fresh, Panel.of([decoder], later), asked.out / "new")
    ways = {"sensors": Sensors(), "all": Full(), SCRATCH: Full()}
    told = {name: new.out_of_fold(name, way, 0, lambda _: None) for name, way in ways.items()}
    on = f"spk_nelpy_ca1 under another name, {len(told_)} labelled windows, {len(tested_)} tested"
    tested = new.panel.evaluation
    return [
        compared("vectors of new neurons alone tell more than a network from nothing", on, told, "sensors", SCRATCH, tested),
        compared("all weights tell more than a network from nothing", on, told, "all", SCRATCH, tested),
        compared("vectors alone tell more than all weights", on, told, "sensors", "all", tested),
    ]  # fmt: skip


def again(out: Path) -> Path:
    """The card of the same recording under another name."""
    out.mkdir(parents=True, exist_ok=True)
    text = folders.find("data_cards", "spk_nelpy_ca1", ".md").read_text(encoding="utf-8")
    (out / f"{AGAIN}.md").write_text(text, encoding="utf-8")
    return out / f"{AGAIN}.md"


def during(evaluation: Any, seconds: tuple[float, float]) -> NDArray[np.bool_]:
    """(window,) whether it lies between these seconds."""
    start = evaluation.windows.start
    return np.asarray((start >= seconds[0]) & (start + evaluation.windows.seconds <= seconds[1]))


def compared(
    says: str, on: str, told: Mapping[str, Probabilities], ours: str, other: str, evaluation: Any
) -> Claim:
    """By how much R² is higher, over blocks of time."""
    metric, tested = OF_VALUES["r2"], evaluation.tested
    true = evaluation.targets.value[tested]
    block = (evaluation.windows.start[tested] // BLOCK).astype(np.int64)
    gap = paired_difference(metric, [told[ours]], [told[other]], true, block, np.random.default_rng(0))
    figure = ", ".join(f"{name} R² {metric(told[name], true):.2f}" for name in (ours, other))
    return Claim(says, on, figure, (gap.score, gap.low, gap.high))


if __name__ == "__main__":
    command(__doc__, "poyo", measured, lines, "steps and shares of labels", of=("poyo", POSSM))
