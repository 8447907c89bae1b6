"""Weights that are divided over processes (FSDP2, torch's `fully_shard`), and whole again where they are saved.

Blocks are gathered one by one while they compute, the rest of the network around them. Computation is as without
shards (autocast decides the precision, sums of gradients stay in float32), so the losses are those of data parallelism.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from brainfm.blocks import blocks_of
from brainfm.errors import BrainfmError


def wanted() -> bool:
    """Whether the launcher asked for shards: `accelerate launch` says so in the environment, torchrun's user may.

    Raises `BrainfmError` for the first version of FSDP, whose checkpoints have no names.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise BrainfmError("only FSDP2 is supported; write `fsdp_version: 2` (pretrain/launch/fsdp2.yaml)")
    return True


def shard(module: nn.Module, device: torch.device, processes: int) -> None:
    """Divide a module's weights over all processes, each block by itself. Raises `BrainfmError` for a single number."""
    for name, parameter in module.named_parameters():
        if not parameter.ndim:
            raise BrainfmError(f"the parameter {name} is a single number, which FSDP2 can't divide: use DDP")
    mesh = init_device_mesh(device.type, (processes,))
    for part in (*blocks_of(module), module):
        # the outermost too, which torch leaves whole after a forward without a backward: names must always mean shards
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards. All processes must ask for the same tensors in the same order."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, shape: Tensor) -> Tensor:
    """This process's shards of a whole tensor, divided as `shape` is; the tensor itself where that is whole."""
    value = value.to(shape.device)
    if not isinstance(shape, DTensor):
        return value
    return distribute_tensor(value, shape.device_mesh, shape.placements, src_data_rank=None)


def quiet(module: nn.Module, accelerator: Any) -> AbstractContextManager[None]:
    """Within, processes do not share their gradients: more micro-batches of the step follow."""
    return _own_gradients(module) if isinstance(module, FSDPModule) else accelerator.no_sync(module)


@contextmanager
def _own_gradients(module: FSDPModule) -> Iterator[None]:
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def clip(module: nn.Module, largest: float) -> float:
    """Shrink the gradient to a norm of at most `largest`; its norm before."""
    return float(whole(nn.utils.clip_grad_norm_(module.parameters(), largest)))
