"""The health of a codebook in plain numbers and words: what is used, what it says of the signal, and which size would fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ENOUGH = 10
"""Tokens for each code, at least, for its usage to be told from chance."""


@dataclass(frozen=True)
class Usage:
    """How often the codes of one quantizer occurred. `perplexity` is how many equally frequent codes would say as much."""

    codes: int
    used: int
    perplexity: float

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Self:
        """From how often each code occurred, (code,)."""
        share = counts[counts > 0] / max(1, counts.sum())
        return cls(len(counts), len(share), float(np.exp(-(share * np.log(share)).sum())))

    @property
    def usage(self) -> float:
        """Share of the codes that occurred."""
        return self.used / self.codes

    @property
    def dead(self) -> int:
        """Codes that never occurred."""
        return self.codes - self.used


@dataclass(frozen=True)
class Health:
    """What codes say of windows, and how they are used there; `on` says which windows."""

    quantizers: tuple[Usage, ...]
    tokens: int
    correlation: float
    """Pearson's r of a row's signal and its reconstruction over a window, the mean over rows and windows."""
    spectral_error: float
    """Sum of the absolute differences of a row's amplitude spectra over the sum of its own: 0 perfect, 1 silence."""
    bits_per_second: float
    """What the codes take for one sensor, at log2 of their number each."""
    threshold: float
    on: str
    advice: str = ""

    @property
    def worst(self) -> Usage:
        """The quantizer of which the smallest share is used."""
        return min(self.quantizers, key=lambda one: one.usage)

    @property
    def ok(self) -> bool:
        """Whether every quantizer is used enough."""
        return self.worst.usage >= self.threshold

    @property
    def json(self) -> dict[str, Any]:
        """What `tokenize --json` prints; usage and perplexity are those of the least used quantizer."""
        head = {"usage": self.worst.usage, "perplexity": self.worst.perplexity}
        dead = sum(one.dead for one in self.quantizers)
        return {**head, "dead": dead, **asdict(self), "ok": self.ok}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Self:
        """The health that `json` describes."""
        names = ("tokens", "correlation", "spectral_error", "bits_per_second", "threshold", "on", "advice")
        quantizers = tuple(Usage(**one) for one in found["quantizers"])
        return cls(quantizers, **{name: found[name] for name in names})


def advice(health: Health, of_size: Callable[[int], str]) -> str:
    """One sentence on the size; `of_size` says how a recipe asks for so many codes."""
    worst = health.worst
    said = f"{worst.used} of {worst.codes} codes are used ({worst.usage:.0%}) on {health.on}"
    if len(health.quantizers) > 1:
        said += f", by quantizer {health.quantizers.index(worst) + 1} of {len(health.quantizers)}"
    if not health.ok:
        few = health.tokens < ENOUGH * worst.codes
        more = f"look at more than these {health.tokens} tokens, " if few else ""
        return (
            f"{said}, under the {health.threshold:.0%} that the recipe asks for: take "
            f"{of_size(fitting(worst, health.threshold))}, {more}or train longer or on more recordings"
        )
    if worst.usage > 0.95 and worst.perplexity > 0.5 * worst.codes:
        more = of_size(2 * worst.codes)
        return (
            f"{said}, evenly (perplexity {worst.perplexity:.0f}): {more} would say more, if the error matters"
        )
    mostly = ", though a few codes say most tokens" if worst.perplexity < 0.1 * worst.codes else ""
    return f"{said}, perplexity {worst.perplexity:.1f}: the size fits{mostly}"


def fitting(usage: Usage, threshold: float) -> int:
    """The largest power of two of which as many codes as occurred now would be the share asked for."""
    return max(2, 2 ** int(np.log2(max(2.0, usage.used / max(threshold, 1e-3)))))


def correlations(held: NDArray[np.floating], told: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's r of each row, (row, time) twice -> (row,): NaN where the signal is constant, 0 where only its copy is."""
    a = held - held.mean(axis=-1, keepdims=True)
    b = told - told.mean(axis=-1, keepdims=True)
    power, other = (a.astype(np.float64) ** 2).sum(-1), (b.astype(np.float64) ** 2).sum(-1)
    r = (a * b).sum(-1, dtype=np.float64) / np.sqrt(np.maximum(power * other, 1e-300))
    return np.where(constant(held), np.nan, np.where(constant(told), 0.0, r))


def constant(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which rows hold one value throughout, but for rounding."""
    return np.asarray(np.ptp(rows, axis=-1) <= 1e-6 * np.abs(rows).max(axis=-1, initial=0.0))


def spectral_errors(
    held: NDArray[np.floating], told: NDArray[np.floating], spectra: bool = False
) -> NDArray[np.float64]:
    """`Health.spectral_error` of each row, the mean left out; NaN where the signal is constant.

    With `spectra` the rows are amplitudes already, which are compared as they are.
    """
    a, b = (rows.astype(np.float64) if spectra else spectrum(rows) for rows in (held, told))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(a - b).sum(-1) / a.sum(-1)
    return np.where(constant(held), np.nan, error)


def spectrum(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Amplitude spectra of rows less their means, under a Hann window: (row, time) -> (row, frequency)."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return np.asarray(np.abs(np.fft.rfft(centred * np.hanning(rows.shape[-1] + 1)[:-1]))[..., 1:])


def capacity(sizes: Sequence[int], seconds: float) -> float:
    """Bits per second of one row of tokens of `seconds` each."""
    return float(np.log2(np.array(sizes, np.float64)).sum() / seconds)
