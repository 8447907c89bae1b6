"""Region masks: all tokens of an anatomical region, so that an area must be told from other areas."""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from brainfm.chance import Chance
from brainfm.errors import DataError
from brainfm.masks import ShareMask, hide_least, rank
from brainfm.tokens import Hidden, Tokens


class Region(ShareMask):
    """Hide regions, as the sensors' labels name them, for the whole window, until the share is reached.

    Regions differ in size and windows must hide the same count, so the last region keeps some of its sensors, whole ones. A
    sensor in no region is a region of its own. At which `scale` places are hidden is one choice, at which a tokenizer tells
    them (`regions`) another (Oganesian et al. 2025, arXiv:2512.12135, §3.3).
    """

    scale: Literal["channel", "parcel", "lobe"] = "parcel"

    def draw(self, tokens: Tokens, chance: Chance) -> Hidden:
        batch, n = tokens.time.shape
        device = tokens.time.device
        region = rank(chance.uniform(batch, tokens.rows).to(device)).gather(1, self.places(tokens))
        row = rank(region * tokens.rows + chance.uniform(batch, tokens.rows).to(device) * tokens.rows)
        tie = chance.uniform(batch, n).to(device)
        return hide_least(row.gather(1, tokens.sensor) + tie, tokens, self.whole(tokens, tokens.rows))

    def places(self, tokens: Tokens) -> Int[Tensor, "batch row"]:
        """A number for the place of each row at the mask's scale. Raises `DataError` where tokens do not say their lobe."""
        if self.scale == "channel":
            return torch.arange(tokens.rows, device=tokens.time.device).expand(len(tokens.time), -1)
        if self.scale == "parcel":
            return numbered(tokens.region, tokens)
        if tokens.lobe is None:
            raise DataError(
                "the mask region hides lobes, and these tokens say none; take scale: parcel, or a tokenizer that knows them: "
                "regions or patch"
            )
        return numbered(tokens.lobe, tokens)


def numbered(label: Int[Tensor, "batch token"], tokens: Tokens) -> Int[Tensor, "batch row"]:
    """A number for the label of each row, the same for rows of one label of a window, from 0."""
    of_row = torch.zeros(len(tokens.time), tokens.rows, dtype=label.dtype, device=label.device)
    of_row = of_row.scatter(1, tokens.sensor, label)
    own = torch.arange(1, tokens.rows + 1, device=of_row.device)  # labels are hashes: none is so small
    ordered, order = torch.where(of_row == 0, own, of_row).sort(dim=1)
    new = torch.nn.functional.pad(ordered.diff(dim=1) != 0, (1, 0))
    return torch.zeros_like(order).scatter(1, order, new.cumsum(dim=1))
