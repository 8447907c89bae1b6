"""How neurons fire, from counts in bins: rate, Fano factor, intervals between spikes, and who fires with whom."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brainfm.statistics.blood import correlation

WIDE = 0.1
"""Seconds of the bins in which counts are compared (Fano factor, correlation): of the order of a neuron's mean interval."""


def rate(count: Float[Tensor, "batch row time"], sfreq: float) -> Float[Tensor, "batch row 1"]:
    """Logarithm of the rate in hertz, 0.1 Hz added so that silence has one."""
    return (count.mean(dim=-1, keepdim=True) * sfreq + 0.1).log()


def fano(
    count: Float[Tensor, "batch row time"], sfreq: float, seconds: float = WIDE
) -> Float[Tensor, "batch row 1"]:
    """Logarithm of variance over mean of the counts in bins of `seconds` (Fano 1947); 0 for a Poisson process, and for silence.

    A tenth of a spike is added to both, so that rare spikes say little.
    """
    wide = widened(count, sfreq, seconds)
    ratio = (wide.var(dim=-1, keepdim=True) + 0.1) / (wide.mean(dim=-1, keepdim=True) + 0.1)
    return ratio.log()


def intervals(count: Float[Tensor, "batch row time"], sfreq: float) -> Float[Tensor, "batch row 2"]:
    """Logarithm of the mean interval in seconds, and the intervals' coefficient of variation (1 for a Poisson process).

    Spikes of one bin lie evenly in it. With no interval the mean is the window's length; with fewer than two the variation is 1.
    """
    whole = count.round().clamp(min=0)
    share = 0.5 / whole.clamp(min=1)  # from a bin's edge to its first spike, in bins
    place = torch.arange(count.shape[-1], device=count.device).expand(count.shape)
    latest = torch.where(whole > 0, place, -1).cummax(dim=-1).values
    before = F.pad(latest, (1, -1), value=-1)  # the last bin before this one that has a spike
    gap = place - before - 1 + share + share.gather(-1, before.clamp(min=0))
    gap = gap * ((whole > 0) & (before >= 0))
    inside = (whole - 1).clamp(min=0)  # intervals between spikes of one bin, each 1 / whole of it
    number = (whole.sum(dim=-1) - 1).clamp(min=0)
    total = (gap + inside * 2 * share).sum(dim=-1)
    squares = (gap.square() + inside * (2 * share).square()).sum(dim=-1)
    mean = torch.where(number > 0, total / number.clamp(min=1), float(count.shape[-1]))
    spread = (
        (squares / number.clamp(min=1) - mean.square()).clamp(min=0) * number / (number - 1).clamp(min=1)
    ).sqrt()
    variation = torch.where(number > 1, spread / mean, 1.0)
    return torch.stack([(mean / sfreq).log(), variation], dim=-1)


def spike_correlation(
    count: Float[Tensor, "batch row time"], sfreq: float, seconds: float = WIDE
) -> Float[Tensor, "batch row row2 1"]:
    """Pearson's r of two neurons' counts in bins of `seconds` (Cohen & Kohn 2011); 0 where one is silent."""
    return correlation(widened(count, sfreq, seconds)).unsqueeze(-1)


def widened(
    count: Float[Tensor, "batch row time"], sfreq: float, seconds: float
) -> Float[Tensor, "batch row wide"]:
    """Counts in bins of about `seconds`, at least three of them; what is left at the end is dropped."""
    several = max(1, min(round(seconds * sfreq), count.shape[-1] // 3))
    kept = count.shape[-1] // several * several
    return count[..., :kept].unflatten(-1, (-1, several)).sum(dim=-1)
