"""What a window is like as a whole: band powers, where on the head they lie, and Hjorth's descriptors.

A target for the pooled features. Without some window-level target frozen features are weak: REVE loses about 10 points of a
linear probe (El Ouahidi et al. 2025, ablation), DeeperBrain 4 to 7 (arXiv 2601.06134).
"""

import torch
from jaxtyping import Bool, Float
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
RANGES = {"fmri": SLOW, "spikes": BANDS, "behaviour": BANDS}
"""Modalities with bands of their own; the others have those of fields."""
LEVELS = {"spikes": ("rate",), "behaviour": ("level",)}
"""Modalities whose mean says something: how often a neuron fires, where someone is."""
PLACES = ("mean", "x", "y", "z")


def ranges(modality: str) -> dict[str, tuple[float, float]]:
    """The bands of a modality, in hertz."""
    return RANGES.get(modality, BANDS | LINES)


def sensor_names(modality: str) -> tuple[str, ...]:
    """What `sensor_statistics` gives."""
    return (*ranges(modality), "mobility", "complexity", *LEVELS.get(modality, ()))


def window_names(modality: str) -> tuple[str, ...]:
    """What `window_statistics` gives."""
    return tuple(f"{name}_{place}" for name in sensor_names(modality) for place in PLACES)


def sensor_statistics(
    signal: Float[Tensor, "batch sensor time"], sfreq: float, modality: str
) -> Float[Tensor, "batch sensor statistic"]:
    """`sensor_names` for every sensor alone, all but a level as logarithms.

    A band above the Nyquist frequency gives the last bin's power.
    """
    signal = signal.float()
    parts = [band_power(signal, sfreq, ranges(modality)).log(), hjorth(signal)]
    if modality == "spikes":
        parts.append((signal.mean(dim=-1, keepdim=True) * sfreq + 0.1).log())
    elif modality == "behaviour":
        parts.append(signal.mean(dim=-1, keepdim=True))
    return torch.cat(parts, dim=-1)


def window_statistics(
    statistics: Float[Tensor, "batch sensor statistic"],
    position: Float[Tensor, "batch sensor 3"],
    located: Bool[Tensor, "batch sensor"],
) -> Float[Tensor, "batch field"]:
    """The fields of `window_names`, the same for any montage: each statistic's mean and its slopes over the head."""
    return slopes(statistics, position.float(), located).flatten(1)


def band_power(
    signal: Float[Tensor, "batch sensor time"], sfreq: float, ranges: dict[str, tuple[float, float]]
) -> Float[Tensor, "batch sensor band"]:
    """Power in each band per sensor, from one Hann-windowed periodogram; never zero."""
    window = torch.hann_window(signal.shape[-1], device=signal.device)
    centred = signal - signal.mean(dim=-1, keepdim=True)
    density = torch.fft.rfft(centred * window).abs().square() / (window.square().sum() * sfreq)
    frequency = torch.fft.rfftfreq(signal.shape[-1], 1 / sfreq).to(signal.device)
    bands = [density[..., _bins(frequency, low, high)].mean(dim=-1) for low, high in ranges.values()]
    return torch.stack(bands, dim=-1) + 1e-8


def _bins(frequency: Tensor, low: float, high: float) -> Tensor:
    """The bins of a band; the nearest one where a short window resolves none."""
    inside = (frequency >= low) & (frequency < high)
    if not inside.any():
        inside[(frequency - (low + high) / 2).abs().argmin()] = True
    return inside


def slopes(
    power: Float[Tensor, "batch sensor statistic"],
    position: Float[Tensor, "batch sensor 3"],
    located: Bool[Tensor, "batch sensor"],
    ridge: float = 0.1,
) -> Float[Tensor, "batch statistic 4"]:
    """Mean over sensors, and the slope along x, y and z per 0.1 m: a ridge regression on position.

    The ridge keeps slopes near zero along directions that the montage does not cover.
    """
    here = located.float().unsqueeze(-1)
    count = here.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (position - (position * here).sum(dim=1, keepdim=True) / count) * here / 0.1
    mean = power.mean(dim=1, keepdim=True)
    gram = centred.transpose(1, 2) @ centred / count + ridge * torch.eye(3, device=power.device)
    slope = torch.linalg.solve(gram, centred.transpose(1, 2) @ ((power - mean) * here) / count)
    return torch.cat([mean, slope], dim=1).transpose(1, 2)


def hjorth(signal: Float[Tensor, "batch sensor time"]) -> Float[Tensor, "batch sensor 2"]:
    """Logarithms of mobility and complexity (Hjorth 1970), per sample, not per second."""
    first = signal.diff(dim=-1)
    second = first.diff(dim=-1)
    v0, v1, v2 = (x.var(dim=-1) + 1e-8 for x in (signal, first, second))
    mobility = (v1 / v0).sqrt()
    return torch.stack([mobility.log(), ((v2 / v1).sqrt() / mobility).log()], dim=-1)
