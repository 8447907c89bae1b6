"""Pretrain: cards → windows → tokens → a checkpoint that says what it saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from brainfm.batch import Batch
from brainfm.corpus import Plan, Stream
from brainfm.data.cards import DataCard
from brainfm.data.preprocess import fit, prepare
from brainfm.data.recording import Recording
from brainfm.data.store import Store, open_store
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.manifest import Manifest
from brainfm.masks import Mask
from brainfm.model import BrainFM, BrainFMConfig, seeded
from brainfm.objectives import Loss
from brainfm.recipe import PretrainRecipe, SignalRecipe
from brainfm.report import Section
from brainfm.train import Outcome, Run, entropy, is_main, train

FITTED_ON = 512  # windows that the corpus's statistics are learnt from


class Learner(nn.Module):
    """The model, the mask and the objective under one forward, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM, mask: Mask, objective: nn.Module) -> None:
        super().__init__()
        self.model, self.mask, self.objective = model, mask, objective

    def forward(self, batch: Batch, generator: torch.Generator) -> Loss:
        tokenized = self.model.tokenize(batch)
        hidden = self.mask.draw(tokenized.tokens, generator)
        return self.objective(batch, tokenized, self.model.encoder, hidden)


@dataclass
class Pretraining:
    """What the training loop needs to know of a pretraining run."""

    plan: Plan
    module: Learner

    def item(self, step: int, part: int, parts: int) -> Batch:
        stream_, rows = self.plan.piece(step, part, parts)
        return stream_.batch(rows)

    def loss(self, module: nn.Module, item: Batch, generator: torch.Generator) -> Loss:
        return module(item, generator)

    def save(self, folder: Path) -> None:
        self.module.model.save_pretrained(folder)


@dataclass(frozen=True)
class Pretrained:
    """How the run ended, and the pictures of it for a report."""

    outcome: Outcome
    sections: list[Section]


def pretrain(chosen: PretrainRecipe, out: Path, quiet: bool = False, limit: int | None = None) -> Pretrained:
    """Run a recipe to its end, or on from where it stopped, and report; `limit` keeps that many recordings of each card."""
    from brainfm.jobs.reporting import losses, pictures, texts, write

    recipe, streams, manifest = gather(chosen, limit)
    task = Pretraining(Plan(streams, recipe.train.batch, recipe.seed), learner(recipe, streams))
    task.module.model.manifest = manifest
    identity = {"recipe": chosen.hash, "data": manifest.digest}
    outcome = train(Run(task, recipe.train, recipe.seed, out, recipe.text, identity, quiet))
    if not is_main():
        return Pretrained(outcome, [])
    drawn = [
        picture for stream_ in streams.values() for picture in pictures(task.module, stream_, recipe.seed)
    ]
    sections = [*losses(out), *drawn, texts(recipe, recipe.data.cards)]
    write("Pretraining", sections, out, recipe)
    return Pretrained(outcome, sections)


def gather(
    recipe: PretrainRecipe, limit: int | None = None
) -> tuple[PretrainRecipe, dict[str, Stream], Manifest]:
    """Read and prepare the corpus. The recipe comes back with what its steps learnt from these recordings."""
    streams: dict[str, Stream] = {}
    signals: dict[str, SignalRecipe] = {}
    manifest = Manifest()
    store = open_store(recipe.data.store) if recipe.data.store else None
    raw = corpus(recipe, limit, store)
    for modality, settings in recipe.signals.items():
        recordings = [recording for recording in raw if modality in recording.signals]
        if not recordings:
            raise DataError(
                f"the cards {', '.join(recipe.data.cards)} hold no {modality} recording to train on"
            )
        manifest += Manifest.of(recordings, modality, with_labels=False)
        done = store.done(settings.prepare, modality) if store else 0
        steps = [*settings.prepare[:done], *fit(settings.prepare[done:], recordings, modality)]
        signals[modality] = settings.model_copy(update={"prepare": steps})
        streams[modality] = stream(recordings, signals[modality], modality, done)
    return recipe.model_copy(update={"signals": signals}), streams, manifest


def corpus(recipe: PretrainRecipe, limit: int | None = None, store: Store | None = None) -> list[Recording]:
    """The recordings of all cards, raw or from a store, less those held out.

    Raises `DataError` where a held-out place is in no card.
    """
    kept = []
    for name in recipe.data.cards:
        card = DataCard.load(name)
        recordings, every = recordings_of(card, limit, store)
        held = [recipe.data.held(card.name, one.subject, one.session, one.run) for one in recordings]
        unread = [recipe.data.held(card.name, *place) for place in every[len(held) :]]
        if unknown := set(recipe.data.hold_out.get(card.name, [])).difference(*held, *unread):
            raise DataError(
                f"data.hold_out: {card.name} has no recording of {', '.join(sorted(unknown))}; "
                f"its subjects are {', '.join(sorted({one.subject for one in recordings}))}"
            )
        kept += [recording for recording, places in zip(recordings, held, strict=True) if not places]
    return kept


def recordings_of(
    card: DataCard, limit: int | None, store: Store | None
) -> tuple[list[Recording], list[tuple[str, str, str]]]:
    """A card's first recordings, from a store where one is given, and the places (subject, session, run) of all."""
    if store is not None:
        stored = store.recordings(card.name)
        return stored[:limit], [(one.subject, one.session, one.run) for one in stored]
    entries = card.entries()
    return card.recordings(limit, entries), [(one.subject, one.session, one.run) for one in entries]


def stream(recordings: Sequence[Recording], settings: SignalRecipe, modality: str, done: int = 0) -> Stream:
    """Prepared recordings and every whole window in them; the first `done` steps are behind them already."""
    prepared = prepare(recordings, settings.prepare[done:], modality)
    windows = Sliding(seconds=settings.seconds, stride=settings.stride)(prepared, modality, [])
    if not len(windows):
        raise DataError(
            f"no recording is as long as a window of {settings.seconds:g} s; shorten signals.{modality}.seconds"
        )
    return Stream(modality, prepared, windows, settings.prepare)


def learner(recipe: PretrainRecipe, streams: dict[str, Stream]) -> Learner:
    """The untrained network of the recipe's seed, its objective fitted to the corpus's statistics."""
    model = BrainFM.fresh(BrainFMConfig.of(recipe), recipe.seed)
    patches = {name: signal.tokenizer.times for name, signal in model.signals.items()}
    with seeded(entropy(recipe.seed, 1)):
        objective = recipe.objective.build(model.width, patches)
    objective.fit([batch for stream_ in streams.values() for batch in sample(stream_, recipe.seed)])
    return Learner(model, recipe.mask, objective)


def sample(stream_: Stream, seed: int) -> list[Batch]:
    """Random windows of a stream, layout by layout, `FITTED_ON` at most."""
    rng = np.random.default_rng([seed, 2])
    share = min(1.0, FITTED_ON / len(stream_.windows))
    return [
        stream_.batch(rng.choice(rows, size=max(1, round(share * len(rows))), replace=False))
        for rows in stream_.layouts
    ]
