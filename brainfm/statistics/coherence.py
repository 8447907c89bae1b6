"""How two rows go together frequency by frequency, from the cross-spectra of segments (`spectrum.segments`)."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from brainfm.statistics.spectrum import BANDS, mean_in, segments

Pairs = Float[Tensor, "batch row row2 band"]


def coherence(
    signal: Float[Tensor, "batch row time"], sfreq: float, ranges: dict[str, tuple[float, float]] = BANDS
) -> Pairs:
    """|S_ij| / √(S_ii S_jj), 0 to 1, the mean over the bins of each band (Nunez et al. 1997, unsquared)."""
    cross, frequency = cross_spectra(signal, sfreq)
    return mean_in(normalised(cross).abs().movedim(1, -1), frequency, ranges)


def imaginary_coherence(
    signal: Float[Tensor, "batch row time"], sfreq: float, ranges: dict[str, tuple[float, float]] = BANDS
) -> Pairs:
    """|Im S_ij| / √(S_ii S_jj), 0 to 1, the mean over the bins of each band (Nolte et al. 2004).

    What arrives at two rows at once, as by volume conduction, has none.
    """
    cross, frequency = cross_spectra(signal, sfreq)
    return mean_in(normalised(cross).imag.abs().movedim(1, -1), frequency, ranges)


def weighted_phase_lag(
    signal: Float[Tensor, "batch row time"], sfreq: float, ranges: dict[str, tuple[float, float]] = BANDS
) -> Pairs:
    """|mean Im X| / mean |Im X| over segments' cross-spectra X, 0 to 1, the mean over the bins of each band.

    The weighted phase lag index, wPLI (Vinck et al. 2011, eq. 8).
    """
    pieces, frequency = segments(signal, sfreq)
    lag, size = (torch.zeros(()) for _ in range(2))
    for piece in pieces.unbind(2):
        wave = piece.movedim(-1, 1).unsqueeze(-1)
        turned = (wave * wave.mH).imag
        lag, size = lag + turned, size + turned.abs()
    return mean_in((lag.abs() / size.clamp(min=1e-12)).movedim(1, -1), frequency, ranges)


def cross_spectra(
    signal: Float[Tensor, "batch row time"], sfreq: float
) -> tuple[Complex[Tensor, "batch frequency row row2"], Float[Tensor, " frequency"]]:
    """S_ij: the sum over segments of X_i times the conjugate of X_j."""
    pieces, frequency = segments(signal, sfreq)
    wave = pieces.permute(0, 3, 1, 2)
    return wave @ wave.mH, frequency


def normalised(
    cross: Complex[Tensor, "batch frequency row row2"],
) -> Complex[Tensor, "batch frequency row row2"]:
    """Coherency; zero where a row is silent."""
    power = cross.diagonal(dim1=-2, dim2=-1).real.clamp(min=1e-12).sqrt()
    return cross / (power.unsqueeze(-1) * power.unsqueeze(-2))
