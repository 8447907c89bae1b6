"""Pretrain: cards → windows → tokens → a checkpoint that says what it saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from brainfm.objectives.masked_patches import waves
from brainfm.recipe import Corpus, PretrainRecipe, SignalRecipe
from brainfm.report import Section
from brainfm.train import Outcome, Run, entropy, is_main, train

FITTED_ON = 512  # windows that the corpus's statistics are learnt from
FEWEST = 8  # events of a window that is trained on


class Learner(nn.Module):
    """The model, the mask and the objective under one forward, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM, mask: Mask, objective: nn.Module) -> None:
        super().__init__()
        self.model, self.mask, self.objective = model, mask, objective

    def forward(self, batch: Batch, generator: torch.Generator) -> Loss:
        tokenized = self.model.tokenize(batch, generator)
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
    outcome = train(
        Run(task, recipe.train, recipe.seed, out, recipe.text, identity, quiet, several=len(streams) > 1)
    )
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
    raw, _ = corpus(recipe.data, limit, store)
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


def corpus(
    data: Corpus, limit: int | None = None, store: Store | None = None
) -> tuple[list[Recording], list[Recording]]:
    """The recordings of all cards, raw or from a store, and those held out.

    Raises `DataError` where a held-out place is in no card.
    """
    kept: list[Recording] = []
    out: list[Recording] = []
    for name in data.cards:
        card = DataCard.load(name)
        recordings, every = recordings_of(card, limit, store)
        held = [data.held(card.name, one.subject, one.session, one.run) for one in recordings]
        unread = [data.held(card.name, *place) for place in every[len(held) :]]
        if unknown := set(data.hold_out.get(card.name, [])).difference(*held, *unread):
            raise DataError(
                f"data.hold_out: {card.name} has no recording of {', '.join(sorted(unknown))}; "
                f"its subjects are {', '.join(sorted({one.subject for one in recordings}))}"
            )
        for recording, places in zip(recordings, held, strict=True):
            (out if places else kept).append(recording)
    return kept, out


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
    found = Stream(modality, prepared, windows, settings.prepare, settings.tokenizer.ragged)
    return with_enough(found) if found.ragged else found


def with_enough(stream_: Stream) -> Stream:
    """A stream of events less the windows that hold too few to hide some and see others; these are counted as dropped."""
    enough = np.flatnonzero(stream_.lengths >= FEWEST)
    if not len(enough):
        raise DataError(f"no window of {stream_.modality} holds {FEWEST} events; lengthen it")
    windows = stream_.windows.rows(enough)
    if few := len(stream_.windows) - len(enough):
        windows = replace(windows, dropped={**windows.dropped, f"fewer than {FEWEST} events": few})
    return replace(stream_, windows=windows)


def learner(recipe: PretrainRecipe, streams: dict[str, Stream]) -> Learner:
    """The untrained network of the recipe's seed, its objective fitted to the corpus's statistics."""
    model = BrainFM.fresh(met(BrainFMConfig.of(recipe), streams), recipe.seed)
    patches = {name: signal.tokenizer.times for name, signal in model.signals.items()}
    with seeded(entropy(recipe.seed, 1)):
        objective = recipe.objective.build(model.width, patches)
    sampled = [batch for stream_ in streams.values() for batch in sample(stream_, recipe.seed)]
    with torch.no_grad():
        objective.fit([(batch, waves(batch, model.tokenize(batch))) for batch in sampled])
    return Learner(model, recipe.mask, objective)


def met(config: BrainFMConfig, streams: dict[str, Stream]) -> BrainFMConfig:
    """The config of a network that knows the sensors of these streams; its first weights then follow from the seed alone."""
    scout = BrainFM.fresh(config, 0)
    for stream_ in streams.values():
        scout.adopt(stream_)
    return scout.config


def sample(stream_: Stream, seed: int) -> list[Batch]:
    """Random windows of a stream, layout by layout, `FITTED_ON` at most."""
    rng = np.random.default_rng([seed, 2])
    share = min(1.0, FITTED_ON / len(stream_.windows))
    return [
        stream_.batch(rng.choice(rows, size=max(1, round(share * len(rows))), replace=False))
        for rows in stream_.layouts
    ]
