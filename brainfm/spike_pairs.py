"""Which neurons fire after which, by the classical measures of pairs of spike trains."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cross_correlogram(
    counts: Array, sfreq: float, soonest: float = 0.001, latest: float = 0.01, far: float = 0.05
) -> Array:
    """(neuron, neuron) how much more often the row's neuron fires `soonest` to `latest` seconds after the column's than it does
    up to `far` seconds before and after, in standard deviations of a Poisson count (Perkel et al. 1967; 0 on the diagonal).

    `counts` is (neuron, sample). What makes both fire within `far` seconds is in both, what lasts longer is not told apart.
    """
    reach = round(far * sfreq)
    lags = np.arange(-reach, reach + 1)
    inside = (lags >= round(soonest * sfreq)) & (lags <= round(latest * sfreq))
    beside = ~inside & (np.abs(lags) > round(latest * sfreq))
    padded = np.pad(counts, ((0, 0), (reach, reach)))
    times = counts.shape[1]
    pairs = np.stack([padded[:, reach + lag : reach + lag + times] @ counts.T for lag in lags])
    found = pairs[inside].sum(axis=0)
    expected = pairs[beside].mean(axis=0) * inside.sum()
    score = (found - expected) / np.sqrt(np.maximum(expected, 1.0))
    np.fill_diagonal(score, 0.0)
    return np.asarray(score)


def lagged_partial_correlation(counts: Array, sfreq: float, latest: float = 0.01) -> Array:
    """(neuron, neuron) the partial correlation of the row's neuron now with the column's in the `latest` seconds before, given
    all others' in these seconds; 0 on the diagonal. `counts` is (neuron, sample)."""
    reach = round(latest * sfreq)
    total = np.cumsum(np.pad(counts, ((0, 0), (1, 0))), axis=1)
    past = (
        total[:, reach:-1] - total[:, : -reach - 1]
    ).T  # of the samples from `reach` on, that one left out
    now = counts[:, reach:].T
    past, now = past - past.mean(axis=0), now - now.mean(axis=0)
    precision = np.linalg.pinv(past.T @ past)
    weight = (precision @ (past.T @ now)).T  # of a least-squares fit of now on the past
    left = np.maximum(((now - past @ weight.T) ** 2).mean(axis=0), 1e-12)
    t = weight / np.sqrt(np.diag(precision) * left[:, None])
    found = t / np.sqrt(t**2 + len(now))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)
