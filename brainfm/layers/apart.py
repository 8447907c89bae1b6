"""How far what is told lies from what was held: the losses of codecs, each on whole rows."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Apart = Callable[[Tensor, Tensor], Tensor]
"""From told and held rows, (row, time) each, to one number."""


def correlation(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> Float[Tensor, ""]:
    """exp(−r) with Pearson's r of each row (BrainOmni, Xiao et al. 2025, §3.2): 0.37 where told perfectly, 1 where not at all."""
    a, b = (x - x.mean(dim=-1, keepdim=True) for x in (told, held))
    r = (a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-6)
    return torch.exp(-r).mean()


def amplitude(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> Float[Tensor, ""]:
    """How far log amplitudes are apart (LaBraM, eq. 5), under a Hann window."""
    a, b = hann(told, held)
    loud = (a.real.square() + a.imag.square() + 1e-12).sqrt()
    return F.l1_loss(torch.log1p(loud), torch.log1p(b.abs()))


def phase(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> Float[Tensor, ""]:
    """How far phases are apart (LaBraM, eq. 5; BrainOmni, §3.2), under a Hann window.

    As sine and cosine, so that they have no edge, each weighing as much as its frequency is loud: that of nothing is noise.
    """
    a, b = hann(told, held)
    loud, loud_told = b.abs(), (a.real.square() + a.imag.square() + 1e-12).sqrt()
    share = loud / loud.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    apart = 1 - (a.real * b.real + a.imag * b.imag) / (loud_told * loud.clamp(min=1e-6))
    return (share * apart).sum(dim=-1).mean()


def amplitude_l1(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the amplitudes themselves, orthonormal, under a Hamming window (BrainOmni, §3.2)."""
    a, b = hamming(told, held)
    return F.l1_loss((a.real.square() + a.imag.square() + 1e-12).sqrt(), b.abs())


def angle_l1(told: Float[Tensor, "row time"], held: Float[Tensor, "row time"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the phases in radians (BrainOmni, §3.2), not unwrapped: −π and π are far apart there."""
    a, b = hamming(told, held)
    return F.l1_loss(torch.atan2(a.imag, a.real + 1e-12), torch.atan2(b.imag, b.real + 1e-12))


APART: Mapping[str, Apart] = {
    "signal": F.smooth_l1_loss,
    "l1": F.l1_loss,
    "squared": F.mse_loss,
    "correlation": correlation,
    "amplitude": amplitude,
    "phase": phase,
    "amplitude_l1": amplitude_l1,
    "angle_l1": angle_l1,
}
"""By the name that recipes give them."""
OF_WAVES = frozenset({"amplitude", "phase", "amplitude_l1", "angle_l1"})
"""Those that take a spectrum of the row, so that it must be a waveform."""


def hann(*rows: Float[Tensor, "row time"]) -> tuple[Tensor, ...]:
    """Spectra under a Hann window of unit power."""
    window = torch.hann_window(rows[0].shape[-1], periodic=True, device=rows[0].device)
    window = window / window.square().sum().sqrt().clamp(min=1e-6)
    return tuple(torch.fft.rfft(x.float() * window) for x in rows)


def hamming(*rows: Float[Tensor, "row time"]) -> tuple[Tensor, ...]:
    """Orthonormal spectra under a Hamming window."""
    window = torch.hamming_window(rows[0].shape[-1], periodic=True, device=rows[0].device)
    return tuple(torch.fft.rfft(x.float() * window, norm="ortho") for x in rows)
