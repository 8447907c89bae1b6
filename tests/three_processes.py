"""One of three processes that compare windows with each other: a file of its own, since each imports it anew."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from brainfm.gathering import Others
from brainfm.layers.gaussian import far_from_gaussian

ROWS = {0: (0, 3), 1: (3, 5), 2: (3, 5)}
"""The windows of each of three processes; the third has none of its own and repeats the second's for company."""
SHARE = {0: 3 / 5, 1: 2 / 5, 2: 0.0}


def vectors(generator: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Five windows as two instruments see them, and a weight that both share."""
    drawn = torch.Generator().manual_seed(generator)
    return torch.randn(2, 5, 4, generator=drawn), torch.randn(4, 3, generator=drawn)


def compared(x: torch.Tensor, weight: torch.Tensor, others: Others) -> torch.Tensor:
    """A loss that compares windows: contrastive beside how far all are from Gaussian."""
    a, b = F.normalize(x[0] @ weight, dim=-1), F.normalize(x[1] @ weight, dim=-1)
    directions = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    gaussian = far_from_gaussian(others.gathered(x[0] @ weight), directions)
    return F.cross_entropy(5 * a @ others.gathered(b).T, others.mine) + gaussian


def process(rank: int, port: int, out: str) -> None:
    """One of three: its share of the loss and of the gradient, as the training loop takes them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=3)
    x, weight = vectors()
    first, last = ROWS[rank]
    weight = weight.requires_grad_()
    loss = compared(x[:, first:last], weight, Others.of(torch.arange(first, last)))
    (loss * SHARE[rank] * 3).backward()
    assert weight.grad is not None
    total = torch.cat([weight.grad.flatten() / 3, (loss.detach() * SHARE[rank])[None]])
    dist.all_reduce(total)
    if rank == 0:
        torch.save(total, out)
    dist.destroy_process_group()
