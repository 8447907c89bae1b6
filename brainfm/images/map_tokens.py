"""Feature maps of several scales as one list of tokens of one width, and back (Brain-IT, arXiv:2510.25976, low-level head).

A map that is narrower than the widest one by a factor f is read in patches of 2 × 2 (f = 8 side by side, then twice; f = 4
overlapping) or repeated, so that VGG-16's five stages of 112 pixels give 56² + 55² + 28² + 14² + 7² tokens of 512.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brainfm.errors import DataError

Shape = tuple[int, int, int]
"""(channel, height, width) of a map."""


def plan(channels: int, width: int) -> tuple[int, int, int]:
    """(side of a patch, step from patch to patch, how often it is repeated) for a map of `channels` to give tokens of `width`.

    Raises `DataError` where the widths don't fit.
    """
    factor, rest = divmod(width, channels)
    if rest:
        raise DataError(f"maps of {channels} channels can't be tokens of {width}: no whole multiple")
    if factor >= 8 and factor % 4 == 0:
        return 2, 2, factor // 4
    return (2, 1, 1) if factor == 4 else (1, 1, factor)


def counts(shapes: Sequence[Shape]) -> list[int]:
    """How many tokens each map gives."""
    width = shapes[-1][0]
    found = []
    for channels, high, wide in shapes:
        side, step, _ = plan(channels, width)
        found.append(((high - side) // step + 1) * ((wide - side) // step + 1))
    return found


def to_tokens(
    maps: Sequence[Float[Tensor, "batch _ _ _"]],
) -> Float[Tensor, "batch token width"]:
    """Tokens as wide as the last map, map after map, each row by row."""
    width = maps[-1].shape[1]
    tokens = []
    for one in maps:
        side, step, times = plan(one.shape[1], width)
        patches = F.unfold(one, side, stride=step) if side > 1 else one.flatten(2)
        tokens.append(patches.repeat(1, times, 1).transpose(1, 2))
    return torch.cat(tokens, dim=1)


def to_maps(tokens: Float[Tensor, "batch token width"], shapes: Sequence[Shape]) -> list[Tensor]:
    """The maps of these shapes whose tokens are nearest to these: what occurs several times in them is averaged.

    Raises `DataError` where tokens and shapes don't fit.
    """
    number = counts(shapes)
    if tokens.shape[1:] != (sum(number), shapes[-1][0]):
        raise DataError(
            f"{tokens.shape[1]} tokens of {tokens.shape[2]} are not the {sum(number)} of {shapes[-1][0]} of these maps"
        )
    maps = []
    for part, (channels, high, wide) in zip(tokens.split(number, dim=1), shapes, strict=True):
        side, step, times = plan(channels, shapes[-1][0])
        mean = part.transpose(1, 2).unflatten(1, (times, -1)).mean(dim=1)
        if side == 1:
            maps.append(mean.unflatten(2, (high, wide)))
            continue
        summed, covered = (F.fold(x, (high, wide), side, stride=step) for x in (mean, torch.ones_like(mean)))
        maps.append(summed / covered.clamp(min=1))
    return maps
