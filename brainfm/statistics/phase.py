"""Phases of rhythms: how two rows keep step, and how a fast rhythm's size follows a slow one's phase."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from brainfm.statistics.spectrum import BANDS, bins, frequencies

NESTED = {
    "theta-gamma": ("theta", "gamma"),
    "alpha-gamma": ("alpha", "gamma"),
    "beta-gamma": ("beta", "gamma"),
}
"""Whose phase, and whose size (DeeperBrain's three, arXiv 2601.06134)."""
BINS = 18
"""Of phase, 20 degrees each (Tort et al. 2010)."""


def analytic(
    signal: Float[Tensor, "batch row time"], sfreq: float, ranges: dict[str, tuple[float, float]]
) -> Complex[Tensor, "batch band row time"]:
    """The analytic signal of each band: positive frequencies outside it set to zero, those inside doubled (Gabor 1946)."""
    n_batch, n_rows, n_times = signal.shape
    spectrum = torch.fft.fft(signal - signal.mean(dim=-1, keepdim=True))
    frequency = frequencies(n_times, sfreq, signal.device)
    kept = spectrum.new_zeros(n_batch, len(ranges), n_rows, n_times)
    for place, (low, high) in enumerate(ranges.values()):
        inside = bins(frequency, low, high).nonzero()[:, 0]
        part = slice(int(inside[0]), int(inside[-1]) + 1)
        kept[:, place, :, part] = 2 * spectrum[..., part]
    return torch.fft.ifft(kept)


def phase_locking(
    signal: Float[Tensor, "batch row time"], sfreq: float, ranges: dict[str, tuple[float, float]] = BANDS
) -> Float[Tensor, "batch row row2 band"]:
    """|mean over time of exp(i(φ_i − φ_j))| in each band, 0 to 1 (Lachaux et al. 1999; over time, Mormann et al. 2000).

    Volume conduction and a common reference raise it. A silent row keeps step with none.
    """
    turning = analytic(signal, sfreq, ranges).sgn()
    return ((turning @ turning.mH).abs() / signal.shape[-1]).movedim(1, -1)


def phase_amplitude(
    signal: Float[Tensor, "batch row time"], sfreq: float
) -> Float[Tensor, "batch row nesting"]:
    """The modulation index of each of `NESTED`, 0 to 1 (Tort et al. 2010, eq. 1 to 4).

    The mean size of the fast rhythm in each of `BINS` bins of the slow one's phase, made to sum to 1; how far (Kullback-Leibler)
    it is from flat, over log `BINS`.
    """
    names = list(dict.fromkeys(name for pair in NESTED.values() for name in pair))
    wave = dict(
        zip(names, analytic(signal, sfreq, {name: BANDS[name] for name in names}).unbind(1), strict=True)
    )
    return torch.stack([modulation(wave[slow], wave[fast].abs()) for slow, fast in NESTED.values()], dim=-1)


def modulation(
    slow: Complex[Tensor, "batch row time"], size: Float[Tensor, "batch row time"]
) -> Float[Tensor, "batch row"]:
    """The modulation index of a size by a slow rhythm's phase. Phases that never occur weigh nothing."""
    which = ((slow.angle() / (2 * math.pi) + 0.5) * BINS).long().clamp(0, BINS - 1)
    empty = size.new_zeros(*size.shape[:-1], BINS)
    total = empty.scatter_add(-1, which, size)
    count = empty.scatter_add(-1, which, torch.ones_like(size))
    mean = total / count.clamp(min=1)
    share = mean / mean.sum(dim=-1, keepdim=True).clamp(min=1e-12)
    entropy = -torch.xlogy(share, share).sum(dim=-1)
    return (1 - entropy / math.log(BINS)).clamp(0, 1)
