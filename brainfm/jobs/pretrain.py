"""Pretrain: cards → windows → tokens → a checkpoint that says what it saw."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call

from brainfm import shards
from brainfm.average import Average
from brainfm.batch import Batch
from brainfm.chance import Chance, entropy
from brainfm.codec import Codec
from brainfm.corpus import AnyStream, Plan, Stream, Together
from brainfm.data.cards import DataCard
from brainfm.data.preprocess import fit, has, prepare
from brainfm.data.recording import Recording
from brainfm.data.store import Store, open_store
from brainfm.data.windows import Windows, measured, place, without
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import BrainfmError, DataError
from brainfm.feed import Micro
from brainfm.held_out import HeldOut, kept_back
from brainfm.launch import is_main
from brainfm.manifest import Manifest
from brainfm.masks import Mask
from brainfm.model import BrainFM, BrainFMConfig, seeded
from brainfm.objectives import Loss, Shapes
from brainfm.objectives.neurodynamics import NeurodynamicsLoss
from brainfm.recipe import Corpus, PretrainRecipe, SignalRecipe, Simultaneous, span
from brainfm.report import Section
from brainfm.run_folder import check_claim, load_memory, save_memory
from brainfm.tokens import Tokens
from brainfm.train import Outcome, Run, train
from brainfm.view import Piece, View

FITTED_ON = 512  # windows that the corpus's statistics are learnt from
FEWEST = 8  # events of a window that is trained on


class Learner(nn.Module):
    """The model, the mask and the objectives under one forward, as data-parallel wrappers want it."""

    def __init__(self, model: BrainFM, mask: Mask, objectives: Mapping[str, tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.model, self.mask = model, mask
        self.weights = {name: weight for name, (weight, _) in objectives.items()}
        self.objectives = nn.ModuleDict({name: module for name, (_, module) in objectives.items()})
        self.teacher: Callable[[Batch], Tokens] | None = None
        """Set by whoever keeps a running mean of the weights."""

    def forward(self, batches: tuple[Batch, ...], chance: Chance) -> Loss:
        view = self.view(batches, chance)
        own = {name: loss for piece in view.pieces for name, loss in piece.tokenized.losses.items()}
        asked = [self.objectives[name](view) * weight for name, weight in self.weights.items()]
        loss = sum(asked, start=Loss(own, dict.fromkeys(own, 1.0)))
        if not any(loss.weights.values()):
            raise DataError(
                f"no objective has anything to learn from windows of {' and '.join(one.modality for one in batches)}; "
                "add one that has, such as masked_patches"
            )
        return loss

    def view(self, batches: tuple[Batch, ...], chance: Chance) -> View:
        """What the objectives are shown of these windows."""
        tokenized = [
            self.model.tokenize(batch, chance.shared if self.training else None) for batch in batches
        ]
        hidden = self.mask.draw_together([one.tokens for one in tokenized], chance)
        pieces = tuple(map(Piece, batches, tokenized, hidden))
        return View(pieces, self.model.encoder, chance, self.teacher)


def teach(learner: nn.Module, average: Average) -> None:
    """Let a learner's objectives ask for the tokens of whole windows by the running mean of its weights, without a gradient."""
    assert isinstance(learner, Learner)  # it is what this file trains
    model = learner.model

    @torch.no_grad()
    def teacher(batch: Batch) -> Tokens:
        tokens: Tokens = functional_call(model, average.part("model."), (batch,))
        return tokens

    learner.teacher = teacher


@dataclass
class Pretraining:
    """What the training loop needs to know of a pretraining run."""

    plan: Plan
    module: Learner

    def item(self, step: int, part: int, parts: int) -> Micro:
        share = self.plan.piece(step, part, parts)
        return Micro.of(share, share.stream.batches(share.rows))

    def loss(self, module: nn.Module, content: tuple[Batch, ...], chance: Chance) -> Loss:
        loss: Loss = module(content, chance)
        return loss

    def save(self, folder: Path) -> None:
        self.module.model.save_pretrained(folder)


@dataclass(frozen=True)
class Pretrained:
    """How the run ended, and the pictures of it for a report."""

    outcome: Outcome
    sections: list[Section]


def pretrain(chosen: PretrainRecipe, out: Path, quiet: bool = False, limit: int | None = None) -> Pretrained:
    """Run a recipe to its end, or on from where it stopped, and report; `limit` keeps that many recordings of each card."""
    from brainfm.jobs.predictability import predictable
    from brainfm.jobs.reporting import losses, pictures, texts, write

    codecs = codecs_of(chosen.codecs)  # a wrong one is told before hours of preparation
    recipe, streams, manifest = gather(chosen, limit)
    settings = recipe.train
    streams, kept = hold_back(streams, settings.hold_back, settings.batch)
    plan = Plan(streams, settings.batch, recipe.seed, settings.tokens, weights(recipe.data))
    task = Pretraining(plan, learner(recipe, streams, codecs))
    identity = {"recipe": chosen.hash, "data": manifest.digest}
    for modality, codec in codecs.items():
        manifest += codec.manifest  # who was seen through its codes was seen
        identity[f"{modality} codec"] = codec.digest
    task.module.model.manifest = manifest
    needed = [name for name, part in recipe.objectives.items() if part.weight and part.needs_teacher]
    if needed and shards.wanted():
        raise BrainfmError(
            f"{needed[0]} is told by the running mean of the weights, which can't run in shards; "
            "start it with pretrain/launch/ddp.yaml"
        )
    run = Run(
        task,
        settings,
        recipe.seed,
        out,
        recipe.text,
        identity,
        quiet,
        several=differ(streams),
        held_out=kept,
        teach=teach if needed else None,
    )
    check_claim(out, identity)  # before anything is left there
    with remembered(task.module, out):
        outcome = train(run)
    if not is_main():
        return Pretrained(outcome, [])
    parts = [part for stream_ in streams.values() for part in stream_.parts]
    drawn = [picture for part in parts for picture in pictures(task.module, part, recipe.seed)]
    told = [table for part in parts for table in predictable(task.module, part, recipe.seed)]
    sections = [*losses(out), *told, *drawn, texts(recipe, recipe.data.cards)]
    write("Pretraining", sections, out, recipe)
    return Pretrained(outcome, sections)


def hold_back(
    streams: dict[str, AnyStream], share: float, batch: int
) -> tuple[dict[str, AnyStream], HeldOut | None]:
    """The streams without about this share of their windows, and these. Raises `DataError` where no stream can spare any."""
    if not share:
        return streams, None
    parted = {name: kept_back(stream_, round(1 / share)) for name, stream_ in streams.items()}
    back = {name: test for name, (_, test) in parted.items() if test is not None}
    if not back:
        raise DataError(
            f"no recording is long enough to keep train.hold_back={share:g} of it back; take a larger share, or 0"
        )
    return {name: rest for name, (rest, _) in parted.items()}, HeldOut(back, batch)


def differ(streams: Mapping[str, AnyStream]) -> bool:
    """Whether steps may use different weights: those of other instruments, or of those that a step hides."""
    return sum(len(one.parts) for one in streams.values()) > 1


@contextmanager
def remembered(module: Learner, out: Path) -> Iterator[None]:
    """What is slow to compute of windows is known from the run's folder, and left there however the run ends."""
    memories = [one.memory for one in module.objectives.values() if isinstance(one, NeurodynamicsLoss)]
    for memory in memories:
        if kept := load_memory(out):
            memory.restore(kept)
    try:
        yield
    finally:
        for memory in memories:
            if memory.known and is_main():
                save_memory(out, memory.arrays())


def weights(data: Corpus) -> dict[str, float]:
    """Each dataset's weight, by the name that its recordings carry."""
    return (
        {DataCard.load(name).name: data.weights.get(Path(name).stem, 1.0) for name in data.cards}
        if data.weights
        else {}
    )


def gather(
    recipe: PretrainRecipe, limit: int | None = None
) -> tuple[PretrainRecipe, dict[str, AnyStream], Manifest]:
    """Read and prepare the corpus. The recipe comes back with what its steps learnt from these recordings."""
    streams: dict[str, AnyStream] = {}
    signals: dict[str, SignalRecipe] = {}
    manifest = Manifest()
    store = open_store(recipe.data.store) if recipe.data.store else None
    raw, _ = corpus(recipe.data, limit, store)
    ready: dict[str, dict[int, Recording]] = {}
    for modality, settings in recipe.signals.items():
        which = [number for number, one in enumerate(raw) if has(one, settings.prepare, modality)]
        recordings = [raw[number] for number in which]
        if not recordings:
            raise DataError(
                f"the cards {', '.join(recipe.data.cards)} hold no {modality} recording to train on"
            )
        manifest += entered(recordings, modality, recipe.signals)
        done = store.done(settings.prepare, modality) if store else 0
        steps = [*settings.prepare[:done], *fit(settings.prepare[done:], recordings, modality)]
        signals[modality] = settings.model_copy(update={"prepare": steps})
        prepared = prepare(recordings, steps[done:], modality)
        ready[modality] = dict(zip(which, prepared, strict=True))
    for one in recipe.together:
        both = joined(one, signals, ready)
        streams["+".join(one.modalities)] = both
    for modality, found in ready.items():
        if found:
            streams[modality] = cut(list(found.values()), signals[modality], modality)
    return recipe.model_copy(update={"signals": signals}), streams, manifest


def entered(recordings: Sequence[Recording], modality: str, trained: Collection[str]) -> Manifest:
    """What these recordings add to the manifest when this modality of them is trained on.

    One that lacks the modality, which is made of a track, is known by a signal of the brain: by one that is `trained` on and
    entered anyway, else by its first.
    """
    own = [one for one in recordings if modality in one.signals]
    alone = [one for one in recordings if not one.signals.keys() & trained]
    found = [Manifest.of([one], next(iter(one.signals)), with_labels=False) for one in alone if one.signals]
    return sum(found, Manifest.of(own, modality, with_labels=False))


def joined(
    one: Simultaneous, signals: Mapping[str, SignalRecipe], ready: dict[str, dict[int, Recording]]
) -> Together:
    """The windows of the recordings that hold all these instruments, which are taken out of `ready`.

    They are cut where the slowest instrument has its samples. Raises `DataError` where no recording holds all, or no window fits.
    """
    words = " and ".join(one.modalities)
    shared = sorted(set.intersection(*(set(ready[name]) for name in one.modalities)))
    if not shared:
        raise DataError(f"no recording holds {words} at once; remove that from together")
    seconds = one.seconds or max(signals[name].seconds for name in one.modalities)
    recordings = {name: [ready[name].pop(number) for number in shared] for name in one.modalities}
    slowest = min(one.modalities, key=lambda name: recordings[name][0].signal(name).sfreq)
    windows = Sliding(seconds=seconds, stride=one.stride)(recordings[slowest], slowest, [])
    windows = allowed(windows, recordings[slowest])
    streams = tuple(
        Stream(name, recordings[name], windows, signals[name].prepare, signals[name].tokenizer)
        for name in one.modalities
    )
    left = without(windows, np.all([fits(stream_) for stream_ in streams], axis=0), f"not whole in {words}")
    if not len(left):
        raise DataError(f"no window of {seconds:g} s lies in {words} at once; shorten together.seconds")
    return Together(tuple(replace(stream_, windows=left) for stream_ in streams))


def fits(stream_: Stream) -> NDArray[np.bool_]:
    """(window,) whether the window lies whole in its recording, all of it was measured, and it holds events enough where it is
    of events."""
    signals = [recording.signal(stream_.modality) for recording in stream_.recordings]
    table = stream_.windows
    inside = np.array(
        [
            place(signals[row], start, table.seconds) is not None
            for row, start in zip(table.recording, table.start, strict=True)
        ],
        dtype=bool,
    )
    there = np.flatnonzero(inside)
    inside[there] &= measured(stream_.recordings, table.rows(there), stream_.modality)
    if stream_.ragged:
        inside[there] &= replace(stream_, windows=table.rows(there)).lengths >= FEWEST
    return inside


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
            spans = [span(place_) for place_ in sorted(places)]
            if None in spans:
                out.append(recording)
            else:
                kept.append(replace(recording, kept_out=tuple(one for one in spans if one)))
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
    """Recordings, prepared, and every whole window in them; the first `done` steps are behind them already."""
    return cut(prepare(recordings, settings.prepare[done:], modality), settings, modality)


def cut(prepared: Sequence[Recording], settings: SignalRecipe, modality: str) -> Stream:
    """Prepared recordings and every whole window in them."""
    windows = allowed(
        Sliding(seconds=settings.seconds, stride=settings.stride)(prepared, modality, []), prepared
    )
    if not len(windows):
        raise DataError(
            f"no recording is as long as a window of {settings.seconds:g} s; shorten signals.{modality}.seconds"
        )
    windows = without(windows, measured(prepared, windows, modality), "not measured throughout")
    if not len(windows):
        raise DataError(f"{modality} was measured throughout no window; shorten signals.{modality}.seconds")
    found = Stream(modality, prepared, windows, settings.prepare, settings.tokenizer)
    return with_enough(found) if found.ragged else found


def allowed(windows: Windows, recordings: Sequence[Recording]) -> Windows:
    """The windows that touch nothing that is kept out; the others are counted as dropped."""
    stop = windows.start + windows.seconds
    touching = np.zeros(len(windows), bool)
    for index, recording in enumerate(recordings):
        for start, end in recording.kept_out:
            touching |= (windows.recording == index) & (windows.start < end) & (stop > start)
    return without(windows, ~touching, "held out")


def with_enough(stream_: Stream) -> Stream:
    """A stream of events less the windows that hold too few to hide some and see others; these are counted as dropped."""
    enough = stream_.lengths >= FEWEST
    if not enough.any():
        raise DataError(f"no window of {stream_.modality} holds {FEWEST} events; lengthen it")
    return replace(stream_, windows=without(stream_.windows, enough, f"fewer than {FEWEST} events"))


def learner(
    recipe: PretrainRecipe, streams: Mapping[str, AnyStream], codecs: Mapping[str, Codec] | None = None
) -> Learner:
    """The untrained network of the recipe's seed, its objectives fitted to the corpus's statistics.

    `codecs` are those that the recipe names, if they have been loaded already.
    """
    parts = [part for stream_ in streams.values() for part in stream_.parts]
    model = BrainFM.fresh(met(BrainFMConfig.of(recipe), parts), recipe.seed)
    for codec in (codecs_of(recipe.codecs) if codecs is None else codecs).values():
        model.attach(codec)
    patches = {name: signal.tokenizer.times for name, signal in model.signals.items()}
    codes = {name: codec.sizes for name, codec in model.codecs.items()}
    objectives = {}
    asked = {name: part for name, part in recipe.objectives.items() if part.weight}
    for number, (name, part) in enumerate(asked.items()):
        with seeded(entropy(recipe.seed, 1, number)):
            objectives[name] = (part.weight, part.build(Shapes(model.width, patches, codes)))
    with torch.no_grad():
        sampled = [(batch, model.tokenize(batch)) for part in parts for batch in sample(part, recipe.seed)]
        for _, module in objectives.values():
            if hasattr(module, "fit"):
                module.fit(sampled)
    return Learner(model, recipe.mask, objectives)


def codecs_of(folders: Mapping[str, str]) -> dict[str, Codec]:
    """The codecs of these folders, by modality.

    Raises `CheckpointError` where one is missing or did not pass, and `DataError` where it is another modality's.
    """
    found = {modality: Codec.load(folder) for modality, folder in folders.items()}
    for modality, codec in found.items():
        if codec.modality != modality:
            raise DataError(f"codecs.{modality}: {folders[modality]} holds a codec for {codec.modality}")
    return found


def met(config: BrainFMConfig, streams: Iterable[Stream]) -> BrainFMConfig:
    """The config of a network that knows the sensors of these streams; its first weights then follow from the seed alone."""
    scout = BrainFM.fresh(config, 0)
    for stream_ in streams:
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
