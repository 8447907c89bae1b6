"""A backward temporal response function: what was heard, told linearly from what sensors say a while later.

(Crosse et al. 2016, The multivariate temporal response function (mTRF) toolbox, Front. Hum. Neurosci. 10:604, equation 8.)
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.preprocess import Step
from brainfm.data.preprocess.band_pass import BandPass
from brainfm.data.preprocess.robust_scale import RobustScale
from brainfm.errors import DataError
from brainfm.regressors import Regressor
from brainfm.ridge import Ridge


class Trf(Regressor):
    """Ridge from every sensor at `lags` equal delays to the features of each of `times` steps of a window, alike at all of them.

    `first` and `last`, in seconds, say which delays: from the middle of a step in the window, so that a target with a `lag` of
    its own shifts both. What lies outside a window counts as 0. With `apart` each person has a regression of their own, as is
    usual.
    """

    times: int = Field(ge=1, description="steps of the target in a window")
    lags: int = Field(default=10, ge=1)
    first: float = -0.1
    last: float = 0.3
    low: float = Field(default=1.0, gt=0, description="hertz, the band that is listened to")
    high: float = Field(default=15.0, gt=0)
    clip: float | None = Field(default=20.0, gt=0, description="of the scaled sensors, before the filter")
    apart: bool = True

    @property
    def by_subject(self) -> bool:
        return self.apart

    def steps(self) -> Sequence[Step]:
        scale = RobustScale(scope="recording", per="sensor", clip=self.clip)
        return (scale, BandPass(low=self.low, high=self.high))

    def build(self, sfreq: float) -> "BackwardResponse":
        return BackwardResponse(self, sfreq)


class BackwardResponse:
    """See `Trf`."""

    def __init__(self, part: Trf, sfreq: float) -> None:
        self.part, self.sfreq, self.ridge = part, sfreq, Ridge()

    def fit(
        self, signal: NDArray[np.float64], target: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> Self:
        """Raises `DataError` where the targets are not those of so many steps."""
        times = self.part.times
        if target.shape[1] % times:
            raise DataError(
                f"{target.shape[1]} numbers can't be those of {times} steps; say `times` as the target does"
            )
        self.ridge.fit(
            self._lagged(signal), target.reshape(len(target) * times, -1), np.repeat(groups, times)
        )
        return self

    def predict(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.ridge.predict(self._lagged(signal)).reshape(len(signal), -1)

    def _lagged(self, signal: NDArray[np.float64]) -> NDArray[np.float32]:
        """(window · step, sensor · lag) what each sensor said at each delay from each step."""
        part, samples = self.part, signal.shape[2]
        middle = (np.arange(part.times) + 0.5) * samples / part.times
        delay = np.linspace(part.first, part.last, part.lags) * self.sfreq
        at = np.round(middle[:, None] + delay).astype(int)
        inside = (at >= 0) & (at < samples)
        taken = signal[:, :, np.clip(at, 0, samples - 1)] * inside
        return taken.transpose(0, 2, 1, 3).reshape(len(signal) * part.times, -1).astype(np.float32)
