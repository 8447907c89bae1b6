"""The one Accelerate loop. A run's state is its weights, its optimiser and its step, and nothing else.

Batches and masks are pure functions of (seed, step), so there is no sampler and no random state to save, and a run that was
killed gives the same losses to the bit when it is started again with the same recipe and folder.
"""

import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from brainfm.chance import Chance
from brainfm.checkpoint import latest
from brainfm.corpus import Share
from brainfm.errors import BrainfmError
from brainfm.files import write_folder
from brainfm.objectives import Loss
from brainfm.progress import bar
from brainfm.recipe import Training
from brainfm.run_folder import check_claim, claim, last_loss, load_state, save_state, trim_log

KEEP = 2  # checkpoints of a run that stay on disk


class Stopped(BrainfmError):
    """The run was asked to stop and has written its checkpoint."""

    def __init__(self, signum: int, step: int, out: Path) -> None:
        super().__init__(
            f"stopped at step {step}; the checkpoint is written, run the same command again to go on in {out}"
        )
        self.signum = signum


@dataclass(frozen=True)
class Micro:
    """A micro-batch: `count` of a step's `total` windows, from number `first` on."""

    content: Any
    first: int = 0
    count: int = 1
    total: int = 1

    @classmethod
    def of(cls, share: Share, content: Any) -> "Micro":
        """A piece of a plan's step; one that is there for company alone counts for nothing."""
        return cls(content, share.first, len(share.rows) if share.counted else 0, share.total)


class Task(Protocol):
    """What the loop trains: a module with a loss, and the batches of every step."""

    @property
    def module(self) -> nn.Module:
        """What is trained and checkpointed."""

    def item(self, step: int, part: int, parts: int) -> Micro:
        """One micro-batch, made again identically whenever it is asked for; runs in a loader worker."""

    def loss(self, module: nn.Module, content: Any, chance: Chance) -> Loss:
        """The loss of one micro-batch: of its windows each, and the mean over them."""

    def save(self, folder: Path) -> None:
        """Write what users load (weights, config, manifest) into an empty folder."""


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
    several: bool = False
    """Whether steps differ in which weights they use, as those of several instruments do."""


def train(run: Run) -> Outcome:
    """Train to the last step, from the newest checkpoint of `run.out` if there is one.

    Raises `Stopped` after SIGINT or SIGTERM, once the checkpoint is written, and `CheckpointError` where `run.out` belongs to
    another run.
    """
    began = time.monotonic()
    check_claim(run.out, run.identity)
    accelerator = accelerator_of(run)
    if accelerator.is_main_process:
        claim(run.out, run.identity, run.recipe)
    run.task.module.to(accelerator.device)
    optimizer = optimizer_of(run)
    newest = latest(run.out)
    first = load_state(newest, run.task.module, optimizer) if newest else 0
    accelerator.wait_for_everyone()  # all have read the folder
    if accelerator.is_main_process:
        trim_log(run.out, first)
    module, optimizer = accelerator.prepare(run.task.module, optimizer)
    loss = last_loss(run.out)
    quiet = run.quiet or not accelerator.is_main_process
    with stop_signals() as stop, bar("training", run.training.steps, first, quiet=quiet) as tick:
        for step, items in steps_from(run, accelerator, first):
            loss = one_step(run, accelerator, module, optimizer, step, items)
            tick(f"loss {loss:.3f}")
            done = step + 1
            stopping = agreed(stop(), accelerator)
            if done % run.training.save_every == 0 or done == run.training.steps or stopping:
                save(run, accelerator, optimizer, done)
            if stopping and done < run.training.steps:
                raise Stopped(stopping, done, run.out)
    accelerator.wait_for_everyone()  # for the process that writes the last checkpoint
    for tracker in accelerator.trackers:
        tracker.finish()
    last = latest(run.out)
    assert last is not None  # the last step always writes one
    return Outcome(run.out, last, run.training.steps, loss, time.monotonic() - began)


def accelerator_of(run: Run) -> Any:
    """Accelerate, set up for this run. Raises `BrainfmError` where the tracker that it asks for is not installed."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # it refuses a process a second run of another precision
    tracked = run.training.log_with
    if tracked != "none" and find_spec(tracked) is None:
        raise BrainfmError(
            f"train.log_with={tracked} needs {tracked}; `pip install {tracked}`, or leave it at none: log.jsonl is always written"
        )
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # unless told, it takes several processes without one for strangers
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=run.several)],
        mixed_precision=run.training.precision,
        log_with=None if tracked == "none" else tracked,
        project_dir=str(run.out),
    )
    if tracked != "none":
        accelerator.init_trackers("brainfm", config={"recipe": run.recipe})
    return accelerator


def agreed(signum: int, accelerator: Any) -> int:
    """The signal that any process got: a scheduler may signal one, and all must stop at the same step."""
    if accelerator.num_processes == 1:
        return signum
    return int(accelerator.gather(torch.tensor([signum], device=accelerator.device)).max())


def one_step(
    run: Run, accelerator: Any, module: nn.Module, optimizer: Any, step: int, items: list[Micro]
) -> float:
    """Forward and backward over the micro-batches, clip, update, log. Returns the weighted loss.

    Each window of the step weighs the same, whichever process and micro-batch it lies in.
    """
    scale = schedule(step, run.training)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * scale
    told = Told()
    for number, item in enumerate(items):
        last = number == len(items) - 1
        quiet: AbstractContextManager[None] = nullcontext() if last else accelerator.no_sync(module)
        with quiet:
            loss = run.task.loss(module, item.content, Chance(run.seed, step, first=item.first))
            share = item.count / item.total
            # data-parallel wrappers take the mean over processes, and the shares of all add up to one
            accelerator.backward(loss.total * share * accelerator.num_processes)
        told.add(loss, share)
    total, parts = told.over(accelerator)
    if not math.isfinite(total):
        raise BrainfmError(
            f"the loss became {total} at step {step + 1}; lower train.learning_rate or look at the data"
        )
    norm = float(accelerator.clip_grad_norm_(module.parameters(), run.training.clip))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    record = {
        "step": step + 1,
        "loss": total,
        **parts,
        "gradient_norm": norm,
        "learning_rate": run.training.learning_rate * scale,
    }
    if accelerator.is_main_process:
        with (run.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    accelerator.log({name: value for name, value in record.items() if name != "step"}, step=step + 1)
    return total


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


def is_main() -> bool:
    """Whether this process writes what a run leaves behind: one of several does."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


class _Items(Dataset[Any]):
    """Every micro-batch of one process, by number."""

    def __init__(self, task: Task, accumulate: int, processes: int, process: int) -> None:
        self.task, self.accumulate, self.processes, self.process = task, accumulate, processes, process

    def __getitem__(self, index: int) -> Micro:
        step, micro = divmod(index, self.accumulate)
        parts = self.accumulate * self.processes
        return self.task.item(step, micro * self.processes + self.process, parts)


def steps_from(run: Run, accelerator: Any, first: int) -> Iterator[tuple[int, list[Micro]]]:
    """Each step from `first` with its micro-batches, read ahead by the loader's workers."""
    accumulate = run.training.accumulate
    items = _Items(run.task, accumulate, accelerator.num_processes, accelerator.process_index)
    numbers = range(first * accumulate, run.training.steps * accumulate)
    loader = iter(
        DataLoader(
            items,
            batch_size=None,
            sampler=numbers,
            num_workers=run.training.workers,
            collate_fn=as_it_is,
            worker_init_fn=leave_signals,
        )
    )
    for step in range(first, run.training.steps):
        yield step, [to_device(next(loader), accelerator.device) for _ in range(accumulate)]


def as_it_is(item: Any) -> Any:
    """Items are batches already."""
    return item


def leave_signals(_worker: int) -> None:
    """A terminal or a scheduler signals the whole group: the loop alone decides when to stop, and needs its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def to_device(micro: Micro, device: torch.device) -> Micro:
    """A micro-batch on the device: a batch or tensor, or a tuple of them."""
    content = micro.content
    moved = tuple(part.to(device) for part in content) if isinstance(content, tuple) else content.to(device)
    return replace(micro, content=moved)


def optimizer_of(run: Run) -> torch.optim.Optimizer:
    """AdamW; norms, biases and single vectors are not decayed; `run.rates` scales or freezes by name."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in run.task.module.named_parameters():
        scale = next((rate for prefix, rate in run.rates.items() if name.startswith(prefix)), 1.0)
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decay = run.training.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    rate = run.training.learning_rate
    settings = [
        {"params": parameters, "lr": rate * scale, "peak": rate * scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(settings, lr=rate, betas=(0.9, 0.95), fused=True)


def save(run: Run, accelerator: Any, optimizer: Any, done: int) -> None:
    """Write a checkpoint whole: what users load, and what going on needs. Then drop those before the last `KEEP`."""
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return

    def write(folder: Path) -> None:
        run.task.save(folder)
        save_state(folder, run.task.module, getattr(optimizer, "optimizer", optimizer))

    write_folder(run.out / "checkpoints" / f"step-{done:08d}", write)
    for old in sorted((run.out / "checkpoints").glob("step-*[0-9]"))[:-KEEP]:
        shutil.rmtree(old)


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Turn SIGINT and SIGTERM into a question that the loop asks between steps; 0 means go on."""
    received = [0]

    def note(signum: int, _frame: Any) -> None:
        received[0] = signum

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
