"""The one Accelerate loop. A run's state is its weights, their running mean, its optimiser and its step, and nothing else.

Batches and masks are pure functions of (seed, step), so there is no sampler and no random state to save, and a run that was
killed gives the same losses to the bit when it is started again with the same recipe and folder. However many processes and
micro-batches divide a step, its windows and masks are the same, and its loss within rounding.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from brainfm import shards
from brainfm.average import Average
from brainfm.blocks import compile_blocks, compiling, recompute
from brainfm.chance import Chance
from brainfm.checkpoint import latest
from brainfm.errors import BrainfmError
from brainfm.feed import Feed, Micro, Source
from brainfm.files import write_folder
from brainfm.launch import Stopped, accelerator_of, agreed, company, stop_signals
from brainfm.objectives import Loss
from brainfm.precision import settled
from brainfm.progress import bar
from brainfm.recipe import Training
from brainfm.run_folder import (
    check_claim,
    claim,
    last_loss,
    load_state,
    shown,
    state_of,
    tidy,
    trim_log,
    write_held_out,
    write_state,
)

HELD_OUT = 3  # among the numbers of a chance: it draws for windows that are not trained on


class Task(Source, Protocol):
    """What the loop trains: a module with a loss, and the batches of every step."""

    @property
    def module(self) -> nn.Module:
        """What is checkpointed. It is trained itself, or a copy of it whose weights it is given where they are saved."""

    def loss(self, module: nn.Module, content: Any, chance: Chance) -> Loss:
        """The loss of one micro-batch: of its windows each, and the mean over them."""

    def save(self, folder: Path) -> None:
        """Write what users load (weights, config, manifest) into an empty folder."""


class HeldOut(Source, Protocol):
    """Windows that are not trained on, in batches that `item` calls steps."""

    @property
    def batches(self) -> int:
        """How many batches there are."""

    @property
    def windows(self) -> int:
        """How many windows they hold."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    out: Path
    checkpoint: Path
    steps: int
    loss: float
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """What `pretrain --json` prints."""
        loss = self.loss if math.isfinite(self.loss) else None  # a run that had ended, its log removed
        numbers = {"steps": self.steps, "loss": loss, "seconds": round(self.seconds, 2)}
        return {"out": str(self.out), **numbers, "checkpoint": str(self.checkpoint)}


@dataclass
class Run:
    """One run's fixed surroundings."""

    task: Task
    training: Training
    seed: int
    out: Path
    recipe: str
    """For people: the text that stands in the run's folder."""
    identity: Mapping[str, str]
    """For the claim of the folder: what decides the losses (recipe, data, start), by name."""
    quiet: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    """Parameter-name prefix → multiple of the learning rate; 0 freezes."""
    undecayed: Collection[str] = ()
    """Names of parameters of two axes that are not decayed, as vectors are not."""
    several: bool = False
    """Whether steps differ in which weights they use, as those of several instruments do."""
    held_out: HeldOut | None = None
    """What every checkpoint is judged by."""
    teach: Callable[[nn.Module, Average], None] | None = None
    """Told, before the first step, what will be trained and where the running mean of its weights is."""

    @property
    def claim(self) -> dict[str, str]:
        """What the folder is claimed by: its identity, and the precision, which a machine may decide."""
        return {**self.identity, "precision": settled(self.training.precision)}


@dataclass
class Network:
    """What is trained: `bare` under its own names, `wrapped` as its forward is called, and what goes with its weights."""

    bare: nn.Module
    wrapped: nn.Module
    optimizer: Any
    average: Average | None
    apart: bool
    """Whether it is a copy: the task's own module stays plain, on its device, whole, and wears what users load."""

    def state(self, accelerator: Any) -> dict[str, Tensor]:
        """What going on needs, in the main process; empty in others."""
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        return state_of(self.bare, inner, self.average, keep=accelerator.is_main_process)


def train(run: Run) -> Outcome:
    """Train to the last step, from the newest checkpoint of `run.out` if there is one.

    Raises `Stopped` after SIGINT or SIGTERM, once the checkpoint is written, `Alone` where another process was lost, and
    `CheckpointError` where `run.out` belongs to another run.
    """
    began = time.monotonic()
    check_claim(run.out, run.claim)
    sharded = shards.wanted()
    with company(run.out), compiling():
        accelerator = accelerator_of(run.training, run.out, run.recipe, run.several)
        if accelerator.is_main_process:
            claim(run.out, run.claim, run.recipe)
        network, first = network_of(run, accelerator, sharded and accelerator.num_processes > 1)
        accelerator.wait_for_everyone()  # all have read the folder
        if accelerator.is_main_process:
            trim_log(run.out, first)
            tidy(run.out, run.training.keep)
        loss = loop(run, accelerator, network, first)
        finish(run, accelerator, network)
    last = latest(run.out)
    assert last is not None  # the last step always writes one
    return Outcome(run.out, last, run.training.steps, loss, time.monotonic() - began)


def network_of(run: Run, accelerator: Any, sharded: bool) -> tuple[Network, int]:
    """What is trained, as the newest checkpoint left it, and the steps that were taken."""
    settings = run.training
    apart = bool(settings.average or settings.checkpointing or settings.compile or sharded)
    bare = copy.deepcopy(run.task.module) if apart else run.task.module
    bare.to(accelerator.device)
    if settings.checkpointing:
        recompute(bare)
    if settings.compile:
        compile_blocks(bare)
    if sharded:
        shards.shard(bare, accelerator.device, accelerator.num_processes)
    optimizer = optimizer_of(run, bare)
    average = Average(bare, settings.average) if settings.average else None
    newest = latest(run.out)
    first = load_state(newest, bare, optimizer, average) if newest else 0
    if run.teach is not None and average is not None:
        run.teach(bare, average)
    wrapped, prepared = (bare, optimizer) if sharded else accelerator.prepare(bare, optimizer)
    return Network(bare, wrapped, prepared, average, apart), first


def loop(run: Run, accelerator: Any, network: Network, first: int) -> float:
    """Take the steps from `first` on; the loss of the last one."""
    loss = last_loss(run.out)
    settings, main = run.training, accelerator.is_main_process
    feed = Feed(
        run.task,
        settings.steps,
        settings.accumulate,
        settings.workers,
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.device,
    )
    with stop_signals() as stop, bar("training", settings.steps, first, quiet=run.quiet or not main) as tick:
        for step, items in feed.after(first):
            record = one_step(run, accelerator, network, step, items)
            loss, done = record["loss"], step + 1
            tick(f"loss {loss:.3f}")
            due = done % settings.save_every == 0 or done == settings.steps
            stopping = agreed(stop(), accelerator)
            if due and run.held_out is not None:  # one that is asked to stop may have little time
                record["held_out"] = held_out_loss(run, accelerator, network, run.held_out, step)
            log(run, accelerator, record)
            if due or stopping:
                save(run, accelerator, network, done, record.get("held_out"))
            if stopping and done < settings.steps:
                raise Stopped(stopping, done, run.out)
    return loss


def finish(run: Run, accelerator: Any, network: Network) -> None:
    """Leave the task's own module with the weights that were saved last, and close what was opened."""
    if network.apart:
        state = network.state(accelerator)
        if accelerator.is_main_process:
            run.task.module.load_state_dict(shown(state))
    accelerator.wait_for_everyone()  # for the process that writes the last checkpoint
    for tracker in accelerator.trackers:
        tracker.finish()


def one_step(run: Run, accelerator: Any, network: Network, step: int, items: list[Micro]) -> dict[str, float]:
    """Forward and backward over the micro-batches, clip, update. Returns what is logged.

    Each window of the step weighs the same, whichever process and micro-batch it lies in.
    """
    scale = schedule(step, run.training)
    for group in network.optimizer.param_groups:
        group["lr"] = group["peak"] * scale
    told = Told()
    for number, item in enumerate(items):
        last = number == len(items) - 1
        more: AbstractContextManager[None] = (
            nullcontext() if last else shards.quiet(network.wrapped, accelerator)
        )
        with more:
            with accelerator.autocast():
                loss = run.task.loss(network.wrapped, item.content, Chance(run.seed, step, first=item.first))
            share = item.count / item.total
            # data-parallel wrappers take the mean over processes, and the shares of all add up to one
            accelerator.backward(loss.total * share * accelerator.num_processes)
        told.add(loss, share)
    total, parts = told.over(accelerator)
    refuse_no_number(total, step)
    norm = shards.clip(network.wrapped, run.training.clip)
    network.optimizer.step()
    network.optimizer.zero_grad(set_to_none=True)
    if network.average is not None:
        network.average.update(network.bare, step + 1)
    return {
        "step": step + 1,
        "loss": total,
        **parts,
        "gradient_norm": norm,
        "learning_rate": run.training.learning_rate * scale,
    }


def refuse_no_number(loss: float, step: int) -> None:
    """Raise `BrainfmError` for a loss that is no number: the weights are lost."""
    if not math.isfinite(loss):
        raise BrainfmError(
            f"the loss became {loss} at step {step + 1}; lower train.learning_rate or look at the data"
        )


@torch.no_grad()
def held_out_loss(run: Run, accelerator: Any, network: Network, held_out: HeldOut, step: int) -> float:
    """The loss, as in training, of windows that are not trained on, by the weights that users load; masks are always the same."""
    worn = nullcontext() if network.average is None else network.average.worn(network.bare)
    sum_ = torch.zeros((), device=accelerator.device)
    with worn, accelerator.autocast():
        for number in range(held_out.batches):
            item = held_out.item(number, accelerator.process_index, accelerator.num_processes)
            chance = Chance(run.seed, number, HELD_OUT, first=item.first)
            told = run.task.loss(network.bare, item.to(accelerator.device).content, chance)
            sum_ += told.total.float() * item.count
    loss = float(accelerator.reduce(sum_, "sum")) / held_out.windows
    refuse_no_number(loss, step)
    return loss


def log(run: Run, accelerator: Any, record: Mapping[str, float]) -> None:
    """Write a step's line."""
    if accelerator.is_main_process:
        with (run.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    values = {name: value for name, value in record.items() if name != "step"}
    accelerator.log(values, step=int(record["step"]))


def schedule(step: int, training: Training) -> float:
    """Share of the peak rate: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017)."""
    rise = max(1, round(training.warm_up * training.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, training.steps - rise)))


class Told:
    """A step's loss and its parts, summed over micro-batches where they were computed, to be asked for once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums: Tensor | None = None

    def add(self, loss: Loss, share: float) -> None:
        """A micro-batch that holds this share of the step's windows."""
        self.names = ["loss", *loss.parts]
        values = share * torch.stack([one.detach().float() for one in (loss.total, *loss.parts.values())])
        self.sums = values if self.sums is None else self.sums + values

    def over(self, accelerator: Any) -> tuple[float, dict[str, float]]:
        """The loss and its parts over all processes."""
        assert self.sums is not None  # a step has a micro-batch
        sums = self.sums if accelerator.num_processes == 1 else accelerator.reduce(self.sums, "sum")
        total, *parts = sums.tolist()
        return total, dict(zip(self.names[1:], parts, strict=True))


def optimizer_of(run: Run, module: nn.Module) -> torch.optim.Optimizer:
    """AdamW; norms, biases and single vectors are not decayed; `run.rates` scales or freezes by name."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in module.named_parameters():
        scale = next((rate for prefix, rate in run.rates.items() if name.startswith(prefix)), 1.0)
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decayed = parameter.ndim > 1 and name not in run.undecayed
            decay = run.training.weight_decay if decayed else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    rate = run.training.learning_rate
    settings = [
        {"params": parameters, "lr": rate * scale, "peak": rate * scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(settings, lr=rate, betas=(0.9, 0.95), fused=True)


def save(run: Run, accelerator: Any, network: Network, done: int, held_out: float | None = None) -> None:
    """Write a checkpoint whole: what users load, and what going on needs. Then drop those that are not to be kept."""
    state = network.state(accelerator)
    if not accelerator.is_main_process:
        return
    if network.apart:
        run.task.module.load_state_dict(shown(state))

    def write(folder: Path) -> None:
        run.task.save(folder)
        write_state(folder, state)
        if held_out is not None:
            write_held_out(folder, held_out)

    write_folder(run.out / "checkpoints" / f"step-{done:08d}", write)
    tidy(run.out, run.training.keep)
