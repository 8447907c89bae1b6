"""What fMRI at rest is described by: how large its slow fluctuations are, and which places fluctuate together."""

import torch
from jaxtyping import Float
from torch import Tensor

from brainfm.statistics.spectrum import bins, frequencies

SLOW_RANGE = (0.01, 0.08)
"""Hertz (Zang et al. 2007)."""


def slow_amplitude(signal: Float[Tensor, "batch row time"], sfreq: float) -> Float[Tensor, "batch row 2"]:
    """Logarithms of ALFF and fALFF.

    ALFF: the mean over `SLOW_RANGE` of the square root of the power spectrum (Zang et al. 2007), in the signal's unit. fALFF: the
    share of that range in the sum of such roots over all frequencies but zero (Zou et al. 2008).
    """
    n_times = signal.shape[-1]
    amplitude = 2 * torch.fft.rfft(signal - signal.mean(dim=-1, keepdim=True)).abs() / n_times
    slow = amplitude[..., bins(frequencies(n_times, sfreq, signal.device), *SLOW_RANGE)]
    share = slow.sum(dim=-1) / amplitude[..., 1:].sum(dim=-1).clamp(min=1e-8)
    return torch.stack([(slow.mean(dim=-1) + 1e-4).log(), (share + 1e-4).log()], dim=-1)


def connectivity(signal: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch row row2 1"]:
    """Functional connectivity: the inverse hyperbolic tangent of Pearson's r of two rows (Fisher 1915), |r| up to 0.999."""
    return correlation(signal).clamp(-0.999, 0.999).atanh().unsqueeze(-1)


def correlation(signal: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch row row2"]:
    """Pearson's r of two rows; zero where one is constant."""
    centred = signal - signal.mean(dim=-1, keepdim=True)
    unit = centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return unit @ unit.mT
