"""One process or several: how they find each other, agree to stop, and end when one of them is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from brainfm.errors import BrainfmError
from brainfm.precision import settled
from brainfm.recipe import Training

BROKEN = ("gloo", "NCCL", "onnection", "peer", "socket", "Socket")
"""Words by which torch says that a collective failed: gloo raises plain RuntimeErrors."""


class Stopped(BrainfmError):
    """The run was asked to stop and has written its checkpoint."""

    def __init__(self, signum: int, step: int, out: Path) -> None:
        super().__init__(
            f"stopped at step {step}; the checkpoint is written, run the same command again to go on in {out}"
        )
        self.signum = signum


class Alone(BrainfmError):
    """Another of the processes ended, and the step can't be finished without it."""


def accelerator_of(training: Training, out: Path, recipe: str, several: bool) -> Any:
    """Accelerate, set up for a run; `several` says that steps differ in which weights they use.

    Raises `BrainfmError` where the tracker that the run asks for is not installed.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # it refuses a process a second run of another precision
    tracked = training.log_with
    if tracked != "none" and find_spec(tracked) is None:
        raise BrainfmError(
            f"train.log_with={tracked} needs {tracked}; `pip install {tracked}`, or leave it at none: log.jsonl is always written"
        )
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # unless told, it takes several processes without one for strangers
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=several)],
        mixed_precision=settled(training.precision),
        log_with=None if tracked == "none" else tracked,
        project_dir=str(out),
    )
    if tracked != "none":
        accelerator.init_trackers("brainfm", config={"recipe": recipe})
    return accelerator


def is_main() -> bool:
    """Whether this process writes what a run leaves behind: one of several does."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def agreed(signum: int, accelerator: Any) -> int:
    """The signal that any process got: a scheduler may signal one, and all must stop at the same step."""
    if accelerator.num_processes == 1:
        return signum
    return int(accelerator.gather(torch.tensor([signum], device=accelerator.device)).max())


@contextmanager
def company(out: Path) -> Iterator[None]:
    """Within, a process that is lost ends the others with one sentence: raises `Alone`.

    No checkpoint is written then: processes may stand at different steps, and the last one is whole.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        yield
    except RuntimeError as error:
        if count == 1 or not any(word in str(error) for word in BROKEN):
            raise
        raise Alone(
            f"another of the {count} processes ended; what it said is above, if it said anything; "
            f"run the same command again to go on from the last checkpoint in {out}"
        ) from error


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
