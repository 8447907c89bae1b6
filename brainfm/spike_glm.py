"""Poisson regression of spike trains on their own past and that of others (Pillow et al. 2008, Nature 454, 995).

The classical model that a network of events must beat: each neuron's log-rate in every sample is a baseline, and filters of the
spikes of all neurons before it, made of raised cosines on a logarithmic axis. One `PoissonRegressor` a neuron. All samples with a
spike train it and a share of those without, each of which then weighs as many: the sum that is minimised is right on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from sklearn.linear_model import PoissonRegressor

Array = NDArray[np.float64]
Counts = NDArray[Any]
SILENT = 4_000
"""Samples without a spike that train, at most, of each stratum."""
SINCE = (0.005, 0.02, 0.1)
"""Seconds since the last spike of any neuron that part the strata: most samples are silent, and what is seldom is near spikes."""


@dataclass(frozen=True)
class SpikeGLM:
    """`counts` everywhere are (neuron, sample); what lies before the first sample is silence.

    `longest` seconds are how far filters reach; `penalty`, one or one for each neuron, is the precision of a Gaussian prior of
    the filters' coefficients where the filtered pasts have variance 1.
    """

    sfreq: float
    longest: float = 0.5
    filters: int = 7
    penalty: float | tuple[float, ...] = 10.0
    seed: int = 0

    def basis(self) -> Array:
        """(filter, sample) raised cosines over the samples before, the first one sample ago; each sums to 1."""
        lag = np.arange(1, round(self.longest * self.sfreq) + 1)
        along = np.log(lag + 1.0)
        centres = np.linspace(along[0], np.log(self.longest * self.sfreq / 1.5), self.filters)
        apart = (along - centres[:, None]) / (centres[1] - centres[0]) if self.filters > 1 else along[None]
        bumps = np.where(np.abs(apart) < 1, 0.5 * (1 + np.cos(np.pi * np.clip(apart, -1, 1))), 0.0)
        return np.asarray(bumps / bumps.sum(axis=1, keepdims=True))

    def design(self, counts: Counts, samples: NDArray[np.int64]) -> Array:
        """(sample, neuron · filter) the filtered past of these samples, in the order asked for."""
        basis = self.basis()
        rows = []
        for train in counts:
            fired = np.flatnonzero(train)
            rows.append(filtered(fired, train[fired], samples, basis))
        return np.concatenate(rows, axis=1)

    def fit(self, counts: Counts, samples: NDArray[np.int64]) -> "FittedGLM":
        """Of the rates in these samples, whose past may lie outside them."""
        rng = np.random.default_rng(self.seed)
        fired: NDArray[np.bool_] = np.asarray(counts.any(axis=0))
        quiet = samples[~fired[samples]]
        since = quiet - last_before(np.flatnonzero(fired), quiet)
        parts = [samples[fired[samples]]]
        weights = [np.ones(len(parts[0]))]
        stratum = np.searchsorted(np.array(SINCE) * self.sfreq, since)
        for one in np.unique(stratum):
            many = quiet[stratum == one]
            parts.append(np.sort(rng.choice(many, min(SILENT, len(many)), replace=False)))
            weights.append(np.full(len(parts[-1]), len(many) / len(parts[-1])))
        chosen, weight = np.concatenate(parts), np.concatenate(weights)
        x = self.design(counts, chosen)
        scale = np.maximum(x.std(axis=0), 1e-9)
        scaled = (x / scale).astype(np.float32)  # half the time, the same likelihoods to seven digits
        penalties = np.broadcast_to(self.penalty, len(counts))
        fits = [
            one_neuron(scaled, train, weight, float(penalty))
            for train, penalty in zip(counts[:, chosen], penalties, strict=True)
        ]
        coefficient = np.stack([one / scale for one, _ in fits])
        intercept = np.array([one for _, one in fits])
        return FittedGLM(self, coefficient, intercept, (x @ coefficient.T + intercept).max(axis=0))


def one_neuron(x: NDArray[np.float32], train: Counts, weight: Array, penalty: float) -> tuple[Array, float]:
    """Coefficients and intercept of one neuron's log-rate; one that never fires is taken to have fired half a time."""
    fired = float((train * weight).sum())
    if not fired:
        return np.zeros(x.shape[1]), float(np.log(0.5 / weight.sum()))
    # counts over their mean, whose likelihood is per spike then: the solver begins near the end
    unit = fired / weight.sum()
    found = PoissonRegressor(alpha=penalty / fired, solver="newton-cholesky", max_iter=50)
    with np.errstate(over="ignore", invalid="ignore"):  # a step so long that rates overflow is taken back
        found.fit(x, train / unit, weight * unit)
    return found.coef_.astype(np.float64), float(found.intercept_ + np.log(unit))


@dataclass(frozen=True)
class FittedGLM:
    """`coefficient` (neuron, neuron · filter) and `intercept` (neuron,) of the log-rates a sample.

    No rate is told that is above the highest in training (`ceiling`): one burst longer than any there would else cost more than
    all that was told well.
    """

    part: SpikeGLM
    coefficient: Array
    intercept: Array
    ceiling: Array

    def log_likelihood(self, counts: Counts, samples: NDArray[np.int64], at_once: int = 50_000) -> Array:
        """(sample, neuron) nats of how often each neuron fires in these samples, given all before them."""
        found = []
        for first in range(0, len(samples), at_once):
            part = samples[first : first + at_once]
            said = np.minimum(
                self.part.design(counts, part) @ self.coefficient.T + self.intercept, self.ceiling
            )
            true = counts[:, part].T
            found.append(true * said - np.exp(said) - gammaln(true + 1.0))
        return np.concatenate(found)

    def coupling(self, soonest: float = 0.001, latest: float = 0.01) -> Array:
        """(neuron, neuron) the mean of the filter from the column's neuron to the row's, from `soonest` to `latest` seconds."""
        basis = self.part.basis()
        lag = np.arange(1, basis.shape[1] + 1) / self.part.sfreq
        share = basis[:, (lag >= soonest - 1e-9) & (lag <= latest + 1e-9)].mean(axis=1)
        each = self.coefficient.reshape(len(self.coefficient), -1, len(basis))
        return np.asarray(each @ share)


def chosen(
    counts: Counts,
    samples: NDArray[np.int64],
    sfreq: float,
    penalties: Sequence[float] = (10.0, 100.0, 1000.0),
    longest: float = 0.5,
    seed: int = 0,
) -> FittedGLM:
    """The regressions whose penalties, each neuron's own, tell best what lies in the last fifth of the samples; fitted on all."""
    edge = len(samples) * 4 // 5
    made = [SpikeGLM(sfreq, longest, penalty=one, seed=seed) for one in penalties]
    inner = [
        one.fit(counts, samples[:edge]).log_likelihood(counts, samples[edge:]).sum(axis=0) for one in made
    ]
    best = tuple(float(penalties[row]) for row in np.argmax(inner, axis=0))
    return SpikeGLM(sfreq, longest, penalty=best, seed=seed).fit(counts, samples)


def last_before(at: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last of rising `at` before each sample, long ago where there is none."""
    place = np.searchsorted(at, samples)
    return np.where(place > 0, at[np.maximum(place, 1) - 1] if len(at) else 0, -(10**9))


def filtered(at: NDArray[np.int64], often: Counts, samples: NDArray[np.int64], basis: Array) -> Array:
    """(sample, filter) what filters make of spikes at `at` in these samples, a spike having its effect from the next on."""
    reach = basis.shape[1]
    first, last = np.searchsorted(at, samples - reach), np.searchsorted(at, samples)
    many = last - first
    row = np.repeat(np.arange(len(samples)), many)
    which = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + np.repeat(first, many)
    out = np.zeros((len(samples), len(basis)))
    lag = samples[row] - at[which] - 1
    for number, bump in enumerate(basis):
        out[:, number] = np.bincount(row, bump[lag] * often[which], minlength=len(samples))
    return out
