"""A run's folder: whose it is, its log, and the state that it goes on from."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from brainfm.average import Average
from brainfm.checkpoint import checkpoints, step_of
from brainfm.errors import CheckpointError
from brainfm.files import link, remove_folder, write_file, write_json, write_text
from brainfm.shards import like, whole

IDENTITY = "identity.json"
STATE = "training.safetensors"
MEMORY = "statistics.safetensors"
ADAM = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of each parameter
HELD_OUT = "held_out.json"
BEST = "best"


def check_claim(out: Path, identity: Mapping[str, str]) -> None:
    """Raise `CheckpointError`, naming what differs, where the folder is another run's."""
    path = out / IDENTITY
    if not path.exists():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name, value in identity.items() if found.get(name) != value]
    if differing:
        raise CheckpointError(
            f"{out} belongs to a run of another {' and '.join(differing)}; "
            "choose another --out, or remove it to start again"
        )


def claim(out: Path, identity: Mapping[str, str], recipe: str) -> None:
    """Make the run's folder and say whose it is. The recipe is written anew: what does not decide losses may change."""
    write_text(out / "recipe.yaml", recipe)
    write_json(out / IDENTITY, dict(identity))


def state_of(
    module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None, keep: bool = True
) -> dict[str, Tensor]:
    """What going on needs, whole and in memory: weights, their running mean, and the optimiser's state, all by name.

    Where weights are sharded all processes must ask; those that do not `keep` it get none of it.
    """
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.values.items()}
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for parameter, state in optimizer.state.items():
        tensors |= {f"{part}.{names[id(parameter)]}": state[part] for part in ADAM}
    found = {}
    for name, value in tensors.items():
        gathered = whole(value.detach())
        if keep:
            found[name] = gathered.cpu().contiguous()
    return found


def write_state(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write what going on needs to a checkpoint's folder."""
    save_file(dict(state), folder / STATE)


def shown(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that users load: the running mean where there is one, and with it the buffers as they are."""
    last = {
        name.removeprefix("module."): value for name, value in state.items() if name.startswith("module.")
    }
    return {name: state.get(f"average.{name}", value) for name, value in last.items()}


def load_state(
    checkpoint: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None = None,
) -> int:
    """Load a checkpoint, shards or none, whatever it was written by; the number of steps that it had taken."""
    tensors = read_state(checkpoint)
    own = module.state_dict()
    given = {
        name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")
    }
    module.load_state_dict(
        {name: like(value, own[name]) if name in own else value for name, value in given.items()}
    )
    for name, parameter in module.named_parameters():
        if f"step.{name}" in tensors:  # one that never had a gradient has no state
            moments = {part: like(tensors[f"{part}.{name}"], parameter) for part in ADAM[1:]}
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"].to(parameter.device), **moments}
        if average is not None:
            average.values[name] = like(tensors[f"average.{name}"], parameter)
    return step_of(checkpoint)


def read_state(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's state. Raises `CheckpointError` where the file is damaged."""
    path = checkpoint / STATE
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} can't be read ({error}); remove {checkpoint} to go on from what is before it"
        ) from None


def write_held_out(folder: Path, loss: float) -> None:
    """Keep with a checkpoint its loss on the windows that are not trained on."""
    write_json(folder / HELD_OUT, {"held_out": loss})


def tidy(out: Path, keep: int) -> None:
    """Point `checkpoints/best` at the checkpoint with the lowest held-out loss, and leave it and the last `keep` alone.

    What is removed loses its name first, so that whenever this is stopped nothing half is taken for a checkpoint.
    """
    folder = out / "checkpoints"
    scores = {
        path: json.loads((path / HELD_OUT).read_text(encoding="utf-8"))["held_out"]
        for path in checkpoints(out)
        if (path / HELD_OUT).exists()
    }
    best = min(scores, key=lambda path: scores[path]) if scores else None
    if best is not None:
        link(folder / BEST, best)
    for old in checkpoints(out)[:-keep]:
        if old != best:
            remove_folder(old)
    for left in folder.glob("*.writing"):
        remove_folder(left)


def trim_log(out: Path, done: int) -> None:
    """Leave the log at the checkpoint: the steps after it are taken again."""
    log = out / "log.jsonl"
    write_text(log, "".join(json.dumps(row) + "\n" for row in read_log(log) if row["step"] <= done))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def save_memory(out: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep what was slow to compute of the corpus's windows."""
    write_file(out / MEMORY, lambda passing: save_arrays(dict(arrays), passing))


def load_memory(out: Path) -> dict[str, NDArray[Any]]:
    """What was kept; nothing where there is no such file, or where it was damaged: it is computed again."""
    try:
        return load_arrays(out / MEMORY)
    except (OSError, SafetensorError):
        return {}


def last_loss(out: Path) -> float:
    """The loss of the last logged step: what a run that had already ended reports."""
    rows = read_log(out / "log.jsonl")
    return rows[-1]["loss"] if rows else math.nan
