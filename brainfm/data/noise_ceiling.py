"""How much of a response a perfect model could explain: NSD's noise ceiling (Allen et al. 2022, Methods, "Noise ceiling").

The ceiling is one on explained variance (R²). The largest correlation that a perfect model reaches is its root,
√(NC / 100): to divide an r by NC, or an R² by its root, is a common mistake.
"""

import numpy as np
from numpy.typing import NDArray

from brainfm.data.seen import Seen
from brainfm.errors import DataError


def noise_signal_ratio(seen: Seen, repeats: int = 3) -> NDArray[np.float64]:
    """(voxel,) ncsnr, the spread of the signal over that of the noise, by pictures that were seen `repeats` times or more.

    Responses are standardised within sessions first (over all trials), so that their whole variance is 1: what varies between
    repeats is noise, the rest signal. Of a picture with more trials the first `repeats` count, so that all weigh the same.
    """
    if (seen.repeats > 1).any():
        raise DataError(f"{seen.who}: a noise ceiling needs single trials, not their means")
    if repeats < 2:
        raise DataError("a noise ceiling needs pictures that were seen at least twice")
    if seen.statistics is None:
        seen = seen.standardised("session_all")
    order = np.argsort(seen.picture, kind="stable")
    _, first, count = np.unique(seen.picture[order], return_index=True, return_counts=True)
    enough = count >= repeats
    if not enough.any():
        raise DataError(f"{seen.who}: no picture was seen {repeats} times")
    rows = order[first[enough][:, None] + np.arange(repeats)]
    noise = seen.response[rows].astype(np.float64).var(axis=1, ddof=1).mean(axis=0)
    signal = np.clip(1 - noise, 0, None)
    return np.asarray(np.sqrt(signal / np.where(noise > 0, noise, np.inf)))


def noise_ceiling(ncsnr: NDArray[np.float64], trials: float) -> NDArray[np.float64]:
    """(voxel,) percent of the variance of a mean over so many trials that is signal: 100 · ncsnr² / (ncsnr² + 1 / trials)."""
    return np.asarray(100 * ncsnr**2 / (ncsnr**2 + 1 / trials))


def mixed_noise_ceiling(ncsnr: NDArray[np.float64], repeats: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same for rows that are means over different numbers of trials: the mean of 1 / trials takes its place."""
    return noise_ceiling(ncsnr, 1 / float(np.mean(1 / repeats)))


def highest_correlation(ceiling: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest Pearson r under a ceiling in percent of explained variance."""
    return np.asarray(np.sqrt(ceiling / 100))
