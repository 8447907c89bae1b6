"""Pretraining arms that differ in one thing, trained on one corpus that is read once, and probed on people whom none saw.

Beside `brainfm pretrain` this leaves out the report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.codec import Codec
from brainfm.corpus import AnyStream, Plan, Stream
from brainfm.data.cards import DataCard
from brainfm.data.preprocess import prepare
from brainfm.evaluation import Evaluation
from brainfm.gather import corpus, gather, stream, weights
from brainfm.jobs.pretrain import Pretraining
from brainfm.learner import Learner, codecs_of, learner
from brainfm.manifest import Manifest
from brainfm.metrics import Probabilities
from brainfm.panel import Panel
from brainfm.pooling import Pool
from brainfm.recipe import PretrainRecipe
from brainfm.scores import Difference, Row
from brainfm.train import Run, train

Arm = Callable[[int], PretrainRecipe]
"""The recipe of an arm with this seed."""


@dataclass
class Arms:
    """Arms by name. Those that prepare their signals alike share what was read."""

    of: Mapping[str, Arm]
    seeds: Sequence[int]
    out: Path
    read: dict[str, tuple[PretrainRecipe, dict[str, AnyStream], Manifest]] = field(default_factory=dict)

    @cached_property
    def learners(self) -> dict[str, list[Learner]]:
        """Every arm with every seed, trained to its end; seed by seed, so that what a stop leaves is a whole comparison."""
        found: dict[str, list[Learner]] = {name: [] for name in self.of}
        for seed in self.seeds:
            for name, arm in self.of.items():
                found[name].append(self.trained(arm(seed), self.folder(name, seed)))
        return found

    def folder(self, name: str, seed: int) -> Path:
        """Where a run is."""
        return self.out / f"{name.replace(',', '').replace(' ', '-')}-seed-{seed}"

    def gathered(self, recipe: PretrainRecipe) -> tuple[PretrainRecipe, dict[str, AnyStream], Manifest]:
        """The recipe with what its steps learnt, the streams, and what is in them."""
        sections = recipe.model_dump(mode="json", include={"data", "signals"})
        if (key := str(sections)) not in self.read:
            self.read[key] = gather(recipe)
        known, streams, manifest = self.read[key]
        return recipe.model_copy(update={"signals": known.signals}), streams, manifest

    def trained(self, chosen: PretrainRecipe, out: Path) -> Learner:
        """As `jobs.pretrain.pretrain` trains it."""
        recipe, streams, manifest = self.gathered(chosen)
        codecs: dict[str, Codec] = codecs_of(chosen.codecs)
        net = learner(recipe, streams, codecs)
        identity = {"recipe": chosen.hash, "data": manifest.digest}
        for modality, codec in codecs.items():
            manifest += codec.manifest
            identity[f"{modality} codec"] = codec.digest
        net.model.manifest = manifest
        settings = recipe.train
        plan = Plan(streams, settings.batch, recipe.seed, settings.tokens, weights(recipe.data))
        train(Run(Pretraining(plan, net), settings, recipe.seed, out, recipe.text, identity, quiet=True))
        net.model.eval()
        return net.eval()

    def unseen(self, name: str, modality: str) -> Stream:
        """The windows of the people whom an arm did not train on, prepared as it prepares them."""
        recipe, _, _ = self.gathered(self.of[name](self.seeds[0]))
        _, out = corpus(recipe.data)
        signal = recipe.signals[modality]
        return stream(prepare(out, signal.prepare, modality), signal, modality)


@dataclass
class Probed:
    """Out-of-fold predictions of arms, and of what an arm was before its training, by a ridge on frozen features."""

    arms: Arms
    card: str
    pool: Pool
    names: Sequence[str]
    twins: Sequence[str] = ()
    """Arms that stand beside themselves untrained."""
    folds: int | None = None
    """At most so many; a check needs no more."""
    evaluation: Evaluation = field(init=False)
    predictions: dict[str, list[Probabilities]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        whole = evaluation_of(self.card)
        seeds = self.arms.seeds
        for name in self.names:
            panel = first(Panel.of([one.model for one in self.arms.learners[name]], whole), self.folds)
            self.evaluation = panel.evaluation
            self.predictions[name] = [panel.frozen(seed, "ridge", self.pool) for seed in seeds]
            if name in self.twins:
                self.predictions[untrained(name)] = [
                    panel.untrained(seed, "ridge", self.pool) for seed in seeds
                ]

    def row(self, name: str) -> Row:
        """An arm's score with its interval over people."""
        return self.evaluation.row(name, self.predictions[name])

    def gap(self, of: str, minus: str) -> Difference:
        """How much more one arm scores than another, paired over people and seeds."""
        return self.evaluation.difference(of, self.predictions[of], minus, self.predictions[minus])


def first(panel: Panel, folds: int | None) -> Panel:
    """A panel that is asked so many folds at most, of those that its checkpoints may judge; all where None."""
    few = replace(panel.evaluation, folds=panel.evaluation.folds[:folds])
    return replace(panel, evaluation=few)


@cache
def evaluation_of(card: str) -> Evaluation:
    """A card's task laid out, once for all that is asked of it."""
    return Evaluation.of(DataCard.load(card))


def untrained(name: str) -> str:
    """The row of an arm before its training."""
    return f"{name}, untrained"


def over_people(values: NDArray[np.float64], seed: int = 0, n: int = 2000) -> tuple[float, float, float]:
    """The mean of one number a person, with the 95 % interval over people drawn anew (percentile bootstrap)."""
    rng = np.random.default_rng([seed, 7])
    drawn = values[rng.integers(0, len(values), (n, len(values)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
