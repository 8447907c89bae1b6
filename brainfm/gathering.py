"""What the other processes hold of a step, with gradients: for losses that compare windows with each other."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Others:
    """The windows of a micro-batch in all processes, each of which must ask for the same at the same time.

    With more processes than windows some hold a window for company that another holds, too; it counts once.
    """

    counts: tuple[int, ...]
    """Windows in each process."""
    distinct: Int[Tensor, " distinct"]
    """Where each window stands first among those of all processes."""
    mine: Int[Tensor, " window"]
    """Which of the distinct ones each window here is."""

    @classmethod
    def of(cls, number: Int[Tensor, " window"]) -> "Others":
        """By each window's number in its step."""
        if processes() == 1:
            return cls.alone(number)
        counts = torch.zeros(processes(), dtype=torch.int64, device=number.device)
        counts[dist.get_rank()] = len(number)
        dist.all_reduce(counts)
        sizes = tuple(counts.tolist())
        found = rows_of_all(number, sizes)
        first = (found.unsqueeze(1) == found).long().argmax(dim=1)
        distinct = (first == torch.arange(len(found), device=found.device)).nonzero().squeeze(1)
        return cls(sizes, distinct, (number.unsqueeze(1) == found[distinct]).long().argmax(dim=1))

    @classmethod
    def alone(cls, number: Int[Tensor, " window"]) -> "Others":
        """The windows here and no others, whatever processes there are."""
        every = torch.arange(len(number), device=number.device)
        return cls((len(number),), every, every)

    def gathered(self, values: Float[Tensor, "window *rest"]) -> Float[Tensor, "distinct *rest"]:
        """What all distinct windows hold. The gradient of what any process makes of a window reaches the one that holds it."""
        if len(self.counts) == 1:
            return values
        every: Tensor = _Gather.apply(values, self.counts)
        return every[self.distinct]


def processes() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rows_of_all(values: Tensor, counts: tuple[int, ...]) -> Tensor:
    """The rows of all processes, of which they may hold different numbers, process after process."""
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    found = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(found, padded)
    return torch.cat([one[:count] for one, count in zip(found, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """`rows_of_all`; backwards, the gradients of all processes are summed and each takes those of its own rows."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts
        return rows_of_all(values.detach(), counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        rank = dist.get_rank()
        return total.split(ctx.counts)[rank], None
