"""What a window is like: numbers of each row (a sensor, or what stands for several), of pairs of rows, and of the window.

A target for pooled features. Without some window-level target frozen features are weak: REVE loses about 10 points of a
linear probe (El Ouahidi et al. 2025, ablation), DeeperBrain 4 to 7 (arXiv 2601.06134). `FIELD`, `BLOOD`, `SPIKES` and
`TRACKS` are the table of what there is, block by block; a recipe chooses blocks by name. One file an idea beside this one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from brainfm.errors import RecipeError
from brainfm.statistics.blood import connectivity, slow_amplitude
from brainfm.statistics.coherence import coherence, imaginary_coherence, weighted_phase_lag
from brainfm.statistics.compression import lempel_ziv
from brainfm.statistics.entropy import permutation_entropy, sample_entropy
from brainfm.statistics.fields import PLACES, SUMMARY, slopes
from brainfm.statistics.firing import fano, intervals, rate, spike_correlation
from brainfm.statistics.memory import Memory
from brainfm.statistics.phase import NESTED, phase_amplitude, phase_locking
from brainfm.statistics.shape import hjorth
from brainfm.statistics.spectrum import BANDS, LINES, SLOW, band_power, fall

Signal = Float[Tensor, "batch row time"]


@dataclass(frozen=True)
class Block:
    """Statistics that are computed together and weigh as one."""

    names: Sequence[str]
    of: Callable[[Signal, float], Tensor]
    """(signal, hertz) to (batch, row, name), or of pairs to (batch, row, row, name), symmetric."""
    pairs: bool = False
    slow: bool = False
    """Whether it is worth being remembered (`memory`); of rows only."""


def powers(ranges: dict[str, tuple[float, float]]) -> Block:
    """Log power in these bands."""
    return Block(tuple(ranges), lambda signal, sfreq: band_power(signal, sfreq, ranges).log())


def by_band(word: str, of: Callable[[Signal, float], Tensor]) -> Block:
    """A statistic of pairs in each of `BANDS`."""
    return Block(tuple(f"{word} {band}" for band in BANDS), of, pairs=True)


def shares(signal: Signal, sfreq: float) -> Float[Tensor, "batch row band"]:
    """The share of each band's power among `BANDS`, as wide as they are; their sum is 1."""
    width = torch.tensor([high - low for low, high in BANDS.values()], device=signal.device)
    power = band_power(signal, sfreq, BANDS) * width
    return power / power.sum(dim=-1, keepdim=True)


HJORTH = Block(("mobility", "complexity"), lambda signal, _: hjorth(signal))
FIELD: Mapping[str, Block] = {
    "power": powers(BANDS),
    "shares": Block(tuple(f"{band} share" for band in BANDS), shares),
    "lines": powers(LINES),
    "hjorth": HJORTH,
    "exponent": Block(("exponent", "offset"), fall),
    "entropy": Block(("sample entropy",), lambda signal, _: sample_entropy(signal).unsqueeze(-1), slow=True),
    "orders": Block(("permutation entropy",), lambda signal, _: permutation_entropy(signal).unsqueeze(-1)),
    "lempel_ziv": Block(("Lempel-Ziv",), lambda signal, _: lempel_ziv(signal).unsqueeze(-1), slow=True),
    # skewed: most indices are near zero
    "coupling": Block(
        tuple(NESTED), lambda signal, sfreq: (phase_amplitude(signal, sfreq) + 1e-4).log(), slow=True
    ),
    "locking": by_band("locking", phase_locking),
    "coherence": by_band("coherence", coherence),
    "imaginary": by_band("imaginary", imaginary_coherence),
    "lag": by_band("lag", weighted_phase_lag),
}
"""EEG, MEG, intracranial EEG, and what has no table of its own."""
BLOOD: Mapping[str, Block] = {
    "power": powers(SLOW),
    "hjorth": HJORTH,
    "alff": Block(("ALFF", "fALFF"), slow_amplitude),
    "connectivity": Block(("connectivity",), lambda signal, _: connectivity(signal), pairs=True),
}
"""fMRI."""
SPIKES: Mapping[str, Block] = {
    "power": powers(BANDS),
    "hjorth": HJORTH,
    "rate": Block(("rate",), rate),
    "fano": Block(("Fano factor",), fano),
    "intervals": Block(("mean interval", "variation"), intervals),
    "correlation": Block(("correlation",), spike_correlation, pairs=True),
}
"""Counts in bins."""
TRACKS: Mapping[str, Block] = {
    "power": powers(BANDS),
    "hjorth": HJORTH,
    "level": Block(("level",), lambda signal, _: signal.mean(dim=-1, keepdim=True)),
}
"""What went with the brain: where someone is says something by itself."""
TABLES = {"fmri": BLOOD, "spikes": SPIKES, "behaviour": TRACKS}
USUAL = ("power", "lines", "hjorth", "rate", "level")
"""What is asked for unless a recipe says otherwise."""


def blocks(modality: str, of: Sequence[str] = USUAL) -> dict[str, Block]:
    """Those of the blocks named that a modality has, in the order of its table.

    Raises `RecipeError` where it has none of them.
    """
    table = TABLES.get(modality, FIELD)
    found = {name: block for name, block in table.items() if name in of}
    if not found:
        raise RecipeError(f"{modality} has none of the statistics {', '.join(of)}; it has {', '.join(table)}")
    return found


def known_blocks() -> list[str]:
    """The names of the blocks of all modalities, sorted."""
    return sorted({name for table in (FIELD, *TABLES.values()) for name in table})


def row_names(modality: str, of: Sequence[str] = USUAL) -> tuple[str, ...]:
    """What `row_statistics` gives."""
    return tuple(name for block in blocks(modality, of).values() if not block.pairs for name in block.names)


def row_statistics(
    signal: Signal, sfreq: float, modality: str, of: Sequence[str] = USUAL, memory: Memory | None = None
) -> Float[Tensor, "batch row statistic"]:
    """The statistics `row_names` of every row alone; slow ones come from the memory where it has them."""
    signal, parts = signal.float(), [signal.new_zeros(*signal.shape[:2], 0)]
    for name, block in blocks(modality, of).items():
        if not block.pairs:
            remembering = memory if block.slow else None
            parts.append(
                remembering(name, block.of, signal, sfreq) if remembering else block.of(signal, sfreq)
            )
    return torch.cat(parts, dim=-1)


def pair_names(modality: str, of: Sequence[str] = USUAL) -> tuple[str, ...]:
    """What `pair_statistics` gives."""
    return tuple(name for block in blocks(modality, of).values() if block.pairs for name in block.names)


def pair_statistics(
    signal: Signal, sfreq: float, modality: str, of: Sequence[str] = USUAL
) -> Float[Tensor, "batch pair statistic"]:
    """The statistics `pair_names` of every two rows, in the order of `pairs_of`."""
    parts = [block.of(signal.float(), sfreq) for block in blocks(modality, of).values() if block.pairs]
    first, second = pairs_of(signal.shape[1], signal.device)
    if not parts:
        return signal.new_zeros(len(signal), len(first), 0)
    return torch.cat(parts, dim=-1)[:, first, second]


def pairs_of(rows: int, device: torch.device) -> Int[Tensor, "two pair"]:
    """Every two rows once, the first before the second."""
    return torch.triu_indices(rows, rows, offset=1, device=device)


def window_names(modality: str, of: Sequence[str] = USUAL) -> tuple[str, ...]:
    """What `row_fields` and then `pair_fields` give."""
    rows = tuple(f"{name}_{place}" for name in row_names(modality, of) for place in PLACES)
    return rows + tuple(f"{name}_{word}" for name in pair_names(modality, of) for word in SUMMARY)


def row_fields(
    statistics: Float[Tensor, "batch sensor statistic"],
    position: Float[Tensor, "batch sensor 3"],
    located: Bool[Tensor, "batch sensor"],
) -> Float[Tensor, "batch field"]:
    """The same for any montage: each statistic's mean and its slopes over the head."""
    return slopes(statistics, position.float(), located).flatten(1)


def pair_fields(statistics: Float[Tensor, "batch pair statistic"]) -> Float[Tensor, "batch field"]:
    """The same for any montage: each statistic's mean and spread over pairs, as DeeperBrain's of locking; zeros without pairs."""
    count = max(1, statistics.shape[1])
    mean = statistics.sum(dim=1) / count
    spread = ((statistics - mean.unsqueeze(1)).square().sum(dim=1) / count).sqrt()
    return torch.stack([mean, spread], dim=-1).flatten(1)
