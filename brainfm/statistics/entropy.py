"""How regular a signal is: sample and permutation entropy."""

import math
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor


def sample_entropy(
    signal: Float[Tensor, "batch row time"], order: int = 2, tolerance: float = 0.2
) -> Float[Tensor, "batch row"]:
    """−log(A / B) in nats: how surely stretches that are alike stay so (Richman & Moorman 2000).

    B pairs of stretches of `order` samples stay within `tolerance` standard deviations of each other, and A of them one sample
    longer. Where no longer pair is alike, A counts as one: the most that so short a signal can tell. All pairs are compared, so
    the cost grows with the square of the length.
    """
    n_rows, n_times = signal.shape[:2].numel(), signal.shape[-1]
    wave = signal.flatten(0, 1).T.contiguous()  # time first: a lag is then a shift of one block of memory
    wave = wave / wave.std(dim=0, correction=0).clamp(min=1e-12)
    n_starts = n_times - order
    alike, longer = (torch.zeros(n_starts, n_rows, dtype=torch.int16, device=signal.device) for _ in range(2))
    for lag in range(1, n_starts):
        near = (wave[lag:] - wave[:-lag]).abs_() <= tolerance
        kept = n_starts - lag
        same = near[:kept]
        for step in range(1, order):
            same = same & near[step : kept + step]
        alike[:kept] += same
        longer[:kept] += same & near[order : kept + order]
    found, lasting = (count.sum(dim=0).clamp(min=1).double() for count in (alike, longer))
    return (found / lasting).log().to(signal.dtype).unflatten(0, signal.shape[:2])


def permutation_entropy(
    signal: Float[Tensor, "batch row time"], order: int = 3, delay: int = 1
) -> Float[Tensor, "batch row"]:
    """Entropy of the orders in which `order` samples, `delay` apart, lie; 1 if all are as frequent (Bandt & Pompe 2002).

    Over its largest value, log(order!). Equal samples count as rising.
    """
    last = signal.shape[-1] - delay * (order - 1)
    taken = [signal[..., delay * step : delay * step + last] for step in range(order)]
    pattern = torch.zeros_like(taken[0], dtype=torch.long)
    pairs = list(combinations(range(order), 2))
    for place, (early, late) in enumerate(pairs):  # which of each two is larger says the whole order
        pattern += (taken[early] > taken[late]).long() << place
    count = signal.new_zeros(*signal.shape[:-1], 2 ** len(pairs))
    share = count.scatter_add_(-1, pattern, torch.ones_like(taken[0])) / last
    return -torch.xlogy(share, share).sum(dim=-1) / math.log(math.factorial(order))
