"""The repeated layers of a network: what is recomputed, compiled or sharded one by one.

They are what lies in a list called `blocks`, in encoders and in objectives' decoders alike: most weights, most memory, most time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from brainfm.errors import BrainfmError


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The repeated layers inside a module, in order."""
    lists = [
        one
        for name, one in module.named_modules()
        if name.rpartition(".")[2] == "blocks" and isinstance(one, nn.ModuleList)
    ]
    return [block for one in lists for block in one]


def recompute(module: nn.Module) -> None:
    """Let every block forget what it computed and compute it again for the gradient (Chen et al. 2016, arXiv:1604.06174, §4.2).

    Memory for activations then grows with one block, not with all; a step takes about a third longer. The weights keep their
    names. Blocks must draw no random numbers, as here none does.
    """
    for block in blocks_of(module):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def compiling() -> Iterator[None]:
    """Within, what torch.compile can't do is said in one sentence: raises `BrainfmError`."""
    try:
        yield
    except Exception as error:  # its errors have no base class of their own
        if type(error).__module__.split(".")[:2] not in (["torch", "_inductor"], ["torch", "_dynamo"]):
            raise
        first = str(error).strip().splitlines()[0]
        raise BrainfmError(
            f"torch.compile failed ({first}); set train.compile=false, or give it a compiler that it can use"
        ) from error


def compile_blocks(module: nn.Module) -> None:
    """Compile every block in place by `torch.compile`, one by one: blocks of one shape share the work. Names stay."""
    for block in blocks_of(module):
        block.compile()
