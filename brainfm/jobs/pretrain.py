"""Pretrain: cards → windows → tokens → a checkpoint that says what it saw."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from brainfm import shards
from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import AnyStream, Plan
from brainfm.errors import BrainfmError, DataError
from brainfm.feed import Micro
from brainfm.gather import gather, weights
from brainfm.held_out import HeldOut, kept_back
from brainfm.launch import is_main
from brainfm.learner import Learner, codecs_of, learner, teach
from brainfm.objectives import Loss
from brainfm.objectives.neurodynamics import NeurodynamicsLoss
from brainfm.recipe import PretrainRecipe
from brainfm.report import Section
from brainfm.run_folder import check_claim, load_memory, save_memory
from brainfm.train import Outcome, Run, train


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
        self.module.save_kept(folder)


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
    check_claim(out, run.claim)  # before anything is left there
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
