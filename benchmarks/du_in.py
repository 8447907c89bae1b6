"""Do tokens of many contacts, a choice of contacts, and told codes help to decode words? Du-IN's claims, on simulated people.

Zheng et al. 2024 (arXiv:2405.11459, tables 1 to 3) say yes to all three. Here `finetune/du_in.yaml` on one block of time of each
of eight simulated people, a network for each, as theirs have; the contacts are chosen by the other blocks. Pretraining sees these
blocks of all people, unlabelled, and the contacts that were chosen. One command, resumable:

    python benchmarks/du_in.py --out runs/du_in

`--long` adds networks of three seeds each.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, command
from claims import Claim, found, lines
from numpy.typing import NDArray

from brainfm.adaptation.full import Full
from brainfm.data.leaks import Fold
from brainfm.data.modalities import owner
from brainfm.evaluation import Evaluation
from brainfm.jobs.finetune import Bench, started
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.tokenize import train_codes
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.narrowed import left_out
from brainfm.panel import Panel
from brainfm.recipe import FinetuneRecipe, PretrainRecipe, TokenizeRecipe
from brainfm.tasks import laid_out

BLOCK, BLOCKS = 2, 5
"""Which fifth of each session tests."""
FEW, LESS = 0.33, ", a third of the labels"
"""Share of the training windows whose labels a decoder has where labels are few."""
SINGLE = [
    "sensors=null",
    "train.steps=150",
    "network.signals.seeg.tokenizer={kind: named_patch, seconds: 0.25, sfreq: 128.0}",
    "head={kind: mlp, pool: time}",
]
"""Every contact has tokens of its own, each of twice the time so that there are not too many, and its name; the head has the mean
over contacts at each moment. They learn their training windows by heart in half of the steps, which take four times as long."""


def main() -> None:
    """Train what is not trained yet, print a table."""
    command(__doc__, "du_in", measured, lines, "steps and people", measured_long)


def measured(asked: Asked) -> dict[str, Any]:
    """The claims, by one network for each person and arm."""
    return claims(asked, (0,), [])


def measured_long(asked: Asked) -> dict[str, Any]:
    """The same by three, and with a third of the labels."""
    return claims(asked, (0, 1, 2), [("it does where labels are few", f"pretrained{LESS}", f"scratch{LESS}")])


def claims(asked: Asked, seeds: tuple[int, ...], more: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Each claim as a paired difference over people."""
    torch.set_num_threads(1)
    task = Words(asked)
    several = {
        "single contacts": [task.scratch(SINGLE, seed) for seed in seeds],
        "all contacts": [task.first(seed) for seed in seeds],
        "chosen contacts": [task.scratch([], seed) for seed in seeds],
    }
    several["pretrained"] = [task.after_codes(True, seed, few=False) for seed in seeds]
    if more:
        several[f"pretrained{LESS}"] = [task.after_codes(True, seed, few=True) for seed in seeds]
        several[f"scratch{LESS}"] = [task.after_codes(False, seed, few=True) for seed in seeds]
    on = f"simulated_words, {task.evaluation.unit}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"

    def claim(says: str, better: str, worse: str) -> Claim:
        rows = [task.evaluation.row(name, several[name]).score for name in (better, worse)]
        gap = task.evaluation.difference(better, several[better], worse, several[worse])
        return Claim(
            says, on, f"{better} {rows[0]:.3f}, {worse} {rows[1]:.3f}", (gap.score, gap.low, gap.high)
        )

    return found(
        [
            claim("tokens of all contacts beat tokens of single ones", "all contacts", "single contacts"),
            claim(
                "contacts chosen inside the training fold beat all contacts",
                "chosen contacts",
                "all contacts",
            ),
            claim("to have told hidden codes beats training from scratch", "pretrained", "chosen contacts"),
            *(claim(*one) for one in more),
        ]
    )


class Words:
    """The task, one block of each person held out, and what is trained for it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        recipe = self.recipe([])
        whole = laid_out(recipe, started(recipe, None))
        self.evaluation: Evaluation = replace(whole, folds=asked.few(whole.folds[BLOCK::BLOCKS]))

    def recipe(self, changes: list[str]) -> FinetuneRecipe:
        """The recipe with some things changed."""
        return self.asked.shortened(FinetuneRecipe.load("du_in", changes))

    def bench(self, recipe: FinetuneRecipe, start: BrainFM) -> Bench:
        """Everything that the people's networks share."""
        return Bench.of(recipe, Panel.of([start], self.evaluation), self.asked.out)

    def scratch(self, changes: list[str], seed: int) -> Probabilities:
        """Out-of-fold predictions of networks that start from nothing."""
        recipe = self.recipe(changes)
        bench = self.bench(recipe, started(recipe, None))
        name = "single" if changes else "chosen"
        return self.predicted(
            bench, lambda number, fold: self.trained(bench, fold.train, seed, f"{name}-{seed}-{number}")
        )

    def first(self, seed: int) -> Probabilities:
        """Those of the decoders by which contacts are chosen: they hear all."""
        recipe = self.recipe(["sensors=null"])
        bench = self.bench(recipe, started(recipe, None))
        folder = f"chosen-{seed}-{{}}/all-sensors"
        return self.predicted(
            bench, lambda number, fold: self.trained(bench, fold.train, seed, folder.format(number))
        )

    def trained(self, bench: Bench, rows: NDArray[np.int64], seed: int, name: str) -> BrainFM:
        """One network, trained once."""
        recipe = bench.recipe
        start = bench.model if recipe.network is None else BrainFM.fresh(bench.model.config, seed)
        return bench.train(start, Full(), rows, seed, self.asked.out / name)

    def predicted(self, bench: Bench, network: Callable[[int, Fold], BrainFM]) -> Probabilities:
        """What each fold's network says of the windows that it never saw."""

        def predict(number: int, fold: Fold) -> Probabilities:
            model = network(number, fold)
            return model.probabilities(bench.stream(model), fold.test)

        return self.evaluation.out_of_fold(predict)

    @cached_property
    def without(self) -> list[str]:
        """The contacts that no decoder of seed 0 chose, by name."""
        recipe = self.recipe([])
        bench, names = self.bench(recipe, started(recipe, None)), []
        for number, fold in enumerate(self.evaluation.folds):
            model = self.trained(bench, fold.train, 0, f"chosen-0-{number}")
            person = self.evaluation.recordings[self.evaluation.windows.recording[fold.test[0]]]
            ids = bench.stream(model, fold.test).batch(np.array([0])).identity[0].tolist()
            contacts = person.signal("seeg").sensors.name
            quiet = left_out(model, "seeg")
            names += [
                f"{owner(person, 'seeg')}/{name}"
                for name, one in zip(contacts, ids, strict=True)
                if one in quiet
            ]
        return names

    @property
    def corpus(self) -> str:
        """What pretraining sees: all but the blocks that test, and a second on either side."""
        held = []
        for fold in self.evaluation.folds:
            start = self.evaluation.windows.start[fold.test]
            person = self.evaluation.recordings[self.evaluation.windows.recording[fold.test[0]]]
            first, last = start.min() - 1, start.max() + self.evaluation.windows.seconds + 1
            held.append(f"'{person.subject}@{max(first, 0.0):.2f}-{last:.2f}'")
        return f"data={{cards: [simulated_words], hold_out: {{simulated_words: [{', '.join(held)}]}}}}"

    @cached_property
    def pretrained(self) -> Path:
        """A codec of the chosen contacts, and the run that told its codes."""
        codec, run = self.asked.out / "codec", self.asked.out / "codes"
        without = f"[{', '.join(self.without)}]"
        codes = TokenizeRecipe.load("codes_du_in", [self.corpus, f"tokenizer.without={without}"])
        train_codes(self.asked.shortened(codes), codec, quiet=True)
        changes = [self.corpus, f"signals.seeg.tokenizer.without={without}", f"codecs.seeg={codec}"]
        pretrain(self.asked.shortened(PretrainRecipe.load("du_in", changes)), run, quiet=True)
        return run

    def after_codes(self, pretrained: bool, seed: int, few: bool) -> Probabilities:
        """Networks that hear the chosen contacts, from the pretrained weights or from nothing, with all labels or a third."""
        recipe = self.recipe(["network=null", "sensors=null"])
        model = started(recipe, self.pretrained)
        bench = self.bench(recipe, model if pretrained else model.twin(seed))
        name = f"{'pretrained' if pretrained else 'scratch'}{'-few' if few else ''}-{seed}"

        def network(number: int, fold: Fold) -> BrainFM:
            rows = fold.train[: round(FEW * len(fold.train))] if few else fold.train
            return self.trained(bench, rows, seed, f"{name}-{number}")

        return self.predicted(bench, network)


if __name__ == "__main__":
    main()
