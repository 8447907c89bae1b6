"""A mel spectrogram: how loud a sound is in bands as wide as the ear's (Défossez et al. 2023 match brains to 120 of them)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.sound import mel_spectrogram
from brainfm.sounds import Sound


class Mel(Sound):
    """Logarithms of amplitudes in `bands`, 100 times a second."""

    rate: ClassVar[float] = 100.0

    bands: int = Field(default=20, ge=1)

    def hear(self, sounds: Sequence[NDArray[np.float32]], rate: float) -> list[NDArray[np.float32]]:
        return [mel_spectrogram(sound, rate, self.bands).astype(np.float32) for sound in sounds]
