"""Region masks: all tokens of an anatomical region, so that an area must be told from other areas."""

import torch
from jaxtyping import Int
from torch import Tensor

from brainfm.chance import Chance
from brainfm.masks import ShareMask, hide_least, rank
from brainfm.tokens import Hidden, Tokens


class Region(ShareMask):
    """Hide regions, as the sensors' labels name them, for the whole window, until the share is reached.

    Regions differ in size and windows must hide the same count, so the last region keeps some of its sensors, whole ones. A
    sensor in no region is a region of its own.
    """

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        batch, n = tokens.time.shape
        device = tokens.time.device
        region = rank(chance.uniform(batch, tokens.rows).to(device)).gather(1, regions(tokens))
        row = rank(region * tokens.rows + chance.uniform(batch, tokens.rows).to(device) * tokens.rows)
        tie = chance.uniform(batch, n).to(device)
        return hide_least(row.gather(1, tokens.sensor) + tie, tokens, self.whole(tokens, tokens.rows))


def regions(tokens: Tokens) -> Int[Tensor, "batch row"]:
    """A number for the region of each row of tokens, the same for rows of one region of a window, from 0."""
    of_row = torch.zeros(
        len(tokens.time), tokens.rows, dtype=tokens.region.dtype, device=tokens.region.device
    )
    of_row = of_row.scatter(1, tokens.sensor, tokens.region)
    own = torch.arange(1, tokens.rows + 1, device=of_row.device)  # labels are hashes: none is so small
    ordered, order = torch.where(of_row == 0, own, of_row).sort(dim=1)
    new = torch.nn.functional.pad(ordered.diff(dim=1) != 0, (1, 0))
    return torch.zeros_like(order).scatter(1, order, new.cumsum(dim=1))
