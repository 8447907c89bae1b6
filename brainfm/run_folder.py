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

from brainfm.checkpoint import step_of
from brainfm.errors import CheckpointError
from brainfm.files import write_file, write_json, write_text

IDENTITY = "identity.json"
STATE = "training.safetensors"
MEMORY = "statistics.safetensors"
ADAM = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of each parameter


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


def save_state(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write module and optimiser to a checkpoint's folder."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for parameter, state in optimizer.state.items():
        tensors |= {f"{part}.{names[id(parameter)]}": state[part] for part in ADAM}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, folder / STATE)


def load_state(checkpoint: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint into module and optimiser; the number of steps that it had taken."""
    tensors = read_state(checkpoint)
    weights = {name: value for name, value in tensors.items() if name.startswith("module.")}
    module.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    for name, parameter in module.named_parameters():
        if f"step.{name}" in tensors:  # one that never had a gradient has no state
            optimizer.state[parameter] = {
                part: tensors[f"{part}.{name}"].to(parameter.device) for part in ADAM
            }
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
