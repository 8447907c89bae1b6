"""Is the difference of two rows more than chance over subjects? MOABB's tests, and Holm's correction over comparisons.

One number a subject and row; the test is one-sided, asking whether the first row is better (MOABB, `analysis.meta_analysis`;
Chevallier et al. 2024, section 2.5). Everything that scipy has is scipy's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

WILCOXON_FROM = 20
"""Subjects from which signed ranks are tested; below, signs are flipped."""
FLIPS = 10_000
"""Random flips; all 2ⁿ are made where there are no more than that, up to 13 subjects."""


@dataclass(frozen=True)
class Paired:
    """A paired comparison over `n` subjects: the one-sided p, and the standardised mean difference."""

    p: float
    effect: float
    n: int


def paired_test(better: Sequence[float], worse: Sequence[float], rng: np.random.Generator) -> Paired:
    """Whether `better` exceeds `worse`, one score of the same subjects each. NaN with fewer than two subjects.

    p stays inside (0, 1), as Stouffer's method needs.
    """
    gap = np.asarray(better, float) - np.asarray(worse, float)
    n = len(gap)
    if n < 2 or not np.isfinite(gap).all():
        return Paired(np.nan, np.nan, n)
    return Paired(_ranks(gap) if n >= WILCOXON_FROM else _flips(gap, rng), _effect(gap), n)


def _flips(gap: NDArray[np.float64], rng: np.random.Generator) -> float:
    """The share of sign flips whose mean is at least as large as that seen."""
    found = stats.permutation_test(
        (gap,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=FLIPS,
        vectorized=True,
        rng=rng,
    )
    return min(float(found.pvalue), 1 - 1 / min(2.0 ** len(gap), FLIPS))


def _ranks(gap: NDArray[np.float64]) -> float:
    """Wilcoxon's signed-rank test; without any difference neither side is the likelier."""
    if not gap.any():
        return 0.5
    p = float(stats.wilcoxon(gap, alternative="greater").pvalue)
    return float(np.clip(p, np.nextafter(0, 1), np.nextafter(1, 0)))


def _effect(gap: NDArray[np.float64]) -> float:
    """Mean over standard deviation of the differences; 0 for none, infinite for the same one in everybody."""
    if np.ptp(gap) == 0:
        return 0.0 if gap[0] == 0 else float(np.copysign(np.inf, gap[0]))
    return float(gap.mean() / gap.std(ddof=1))


def holm(p: Sequence[float]) -> list[float]:
    """p corrected for so many comparisons (Holm 1979); NaN stays NaN and is not counted."""
    values = np.asarray(p, float)
    order = np.flatnonzero(np.isfinite(values))[np.argsort(values[np.isfinite(values)], kind="stable")]
    out = np.full(len(values), np.nan)
    out[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return [float(one) for one in out]


def stouffer(tested: Sequence[Paired]) -> Paired:
    """Several datasets in one: Stouffer's p and the mean effect, each dataset weighing the root of its subjects."""
    known = [one for one in tested if np.isfinite(one.p)]
    n = sum(one.n for one in known)
    if not known:
        return Paired(np.nan, np.nan, n)
    weights = np.sqrt([one.n for one in known])
    p = stats.combine_pvalues([one.p for one in known], method="stouffer", weights=weights).pvalue
    effect = np.average([one.effect for one in known], weights=weights)
    return Paired(known[0].p if len(known) == 1 else float(p), float(effect), n)
