"""Where in frequency a signal's power lies: broad bands, narrow lines, and how fast it falls."""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
LINES = {f"{low}-{low + 2} Hz": (float(low), low + 2.0) for low in range(1, 45, 2)}
"""Two hertz each: with broad bands alone, pretraining forgets which frequency a steady-state response has."""
SLOW = {
    "slow-5": (0.01, 0.027),
    "slow-4": (0.027, 0.073),
    "slow-3": (0.073, 0.198),
    "slow-2": (0.198, 0.25),
}
"""Of the blood's oxygen (Zuo et al. 2010, after Buzsáki & Draguhn 2004)."""
FALL = (2.0, 40.0)
"""Hertz over which the fall of the spectrum is measured: above usual high-passes, below the mains and its filters."""
SEGMENT = 1.0
"""Seconds of a segment over which spectra are averaged."""
REWEIGHTED = 8
"""Times that the line through a spectrum is fitted: from then on it moves by less than a hundredth."""


def band_power(
    signal: Float[Tensor, "batch sensor time"], sfreq: float, ranges: dict[str, tuple[float, float]]
) -> Float[Tensor, "batch sensor band"]:
    """Power in each band per sensor, from one Hann-windowed periodogram; never zero.

    In the signal's unit squared per hertz, half of it at negative frequencies. A band above the Nyquist frequency gives the
    nearest bin's power.
    """
    window = torch.hann_window(signal.shape[-1], device=signal.device)
    centred = signal - signal.mean(dim=-1, keepdim=True)
    density = torch.fft.rfft(centred * window).abs().square() / (window.square().sum() * sfreq)
    return mean_in(density, frequencies(signal.shape[-1], sfreq, signal.device), ranges) + 1e-8


def frequencies(n_times: int, sfreq: float, device: torch.device) -> Float[Tensor, " frequency"]:
    """The frequencies in hertz of a real Fourier transform of `n_times` samples."""
    return torch.fft.rfftfreq(n_times, 1 / sfreq, device=device)


def mean_in(
    values: Float[Tensor, "*shape frequency"],
    frequency: Float[Tensor, " frequency"],
    ranges: dict[str, tuple[float, float]],
) -> Float[Tensor, "*shape band"]:
    """The mean over the bins of each band."""
    chosen = torch.stack([bins(frequency, low, high) for low, high in ranges.values()], dim=-1).to(
        values.dtype
    )
    return values @ (chosen / chosen.sum(dim=0))


def bins(frequency: Float[Tensor, " frequency"], low: float, high: float) -> Bool[Tensor, " frequency"]:
    """The bins from `low` up to `high`; the nearest one where a short window resolves none."""
    inside = (frequency >= low) & (frequency < high)
    if not inside.any():
        inside[(frequency - (low + high) / 2).abs().argmin()] = True
    return inside


def segments(
    signal: Float[Tensor, "batch sensor time"], sfreq: float, seconds: float = SEGMENT
) -> tuple[Complex[Tensor, "batch sensor segment frequency"], Float[Tensor, " frequency"]]:
    """Fourier coefficients of Hann-windowed segments that overlap by half (Welch 1967), and their frequencies.

    A segment is at most half of the window, so that there are three at least.
    """
    length = max(2, min(round(seconds * sfreq), signal.shape[-1] // 2))
    pieces = signal.unfold(-1, length, max(1, length // 2))
    taper = torch.hann_window(length, periodic=False, device=signal.device)
    centred = pieces - pieces.mean(dim=-1, keepdim=True)
    return torch.fft.rfft(centred * taper), frequencies(length, sfreq, signal.device)


def fall(signal: Float[Tensor, "batch sensor time"], sfreq: float) -> Float[Tensor, "batch sensor 2"]:
    """Exponent x and offset b of a spectrum that falls as 10^b / f^x over `FALL`, rhythms standing out of it left aside.

    The line through log power over log frequency (Donoghue et al. 2020, "fixed" mode). Where they fit the rhythms, peaks weigh
    less here: a weight 1 / (1 + (r/s)²) for a residual r above the line, s their median size, fitted again `REWEIGHTED` times.
    The power is that of a segment, scaled as `band_power`'s.
    """
    pieces, frequency = segments(signal, sfreq)
    taper = torch.hann_window(2 * (len(frequency) - 1), periodic=False, device=signal.device)
    power = pieces.abs().square().mean(dim=2) / (taper.square().sum() * sfreq)
    inside = bins(frequency, FALL[0], min(FALL[1], 0.4 * sfreq)) & (frequency > 0)
    if inside.sum() < 3:
        inside = frequency > 0
    x, y = frequency[inside].log10(), (power[..., inside] + 1e-8).log10()
    weight = torch.ones_like(y)
    for _ in range(REWEIGHTED):
        total = weight.sum(dim=-1, keepdim=True)
        from_x = x - (weight * x).sum(dim=-1, keepdim=True) / total
        slope = (weight * from_x * y).sum(-1, keepdim=True) / (weight * from_x.square()).sum(-1, keepdim=True)
        offset = (weight * (y - slope * x)).sum(dim=-1, keepdim=True) / total
        residual = y - slope * x - offset
        size = residual.abs().median(dim=-1, keepdim=True).values.clamp(min=1e-4)
        weight = 1 / (1 + (residual.clamp(min=0) / size).square())
    return torch.cat([-slope, offset], dim=-1)
