"""Sound as numbers a brain could follow: a mel spectrogram, and sound cut at the borders of what was said."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

FRAME = 0.025
"""Seconds of sound under one spectrum."""
SILENT = 1e-5
"""Amplitude that counts as none, where 1 is the loudest that a file can hold."""


def mel_spectrogram(
    sound: NDArray[np.floating], rate: float, bands: int = 40, every: float = 0.01, highest: float = 8000.0
) -> NDArray[np.float64]:
    """(time, band) natural logarithms of the amplitude in bands of equal width in mel, one spectrum `every` seconds.

    Spectrum n is centred on n · `every`; what lies before and after the sound is silence. Bands are triangles from 0 Hz to
    `highest` or half the rate on O'Shaughnessy's scale (1987, Speech Communication, p. 150), each of height 1.
    Raises `DataError` where a frame would hold no sample of a band.
    """
    samples = round(FRAME * rate)
    count = int(len(sound) / rate / every + 1e-6) + 1
    centre = np.round(np.arange(count) * every * rate).astype(int)
    padded = np.pad(np.asarray(sound, np.float64), (samples // 2, samples))
    frames = np.lib.stride_tricks.sliding_window_view(padded, samples)[centre]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(samples + 1)[:-1], axis=1)) * 2 / samples
    return np.log(spectrum @ triangles(bands, samples, rate, highest) + SILENT)


@lru_cache(maxsize=16)
def triangles(bands: int, samples: int, rate: float, highest: float) -> NDArray[np.float64]:
    """(frequency, band) how much of each frequency of a frame of `samples` is in each band."""
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    top = mel(min(highest, rate / 2))
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (hertz[:, None] - low) / (middle - low)
    fall = (high - hertz[:, None]) / (high - middle)
    found = np.clip(np.minimum(rise, fall), 0, None)
    if (empty := found.sum(axis=0) == 0).any():
        raise DataError(
            f"{bands} mel bands are too many for frames of {samples} samples at {rate:g} Hz: "
            f"band {int(empty.argmax()) + 1} would hold no frequency"
        )
    return np.asarray(found)


def mel(hertz: float) -> float:
    """How high a pitch sounds (O'Shaughnessy 1987)."""
    return float(2595 * np.log10(1 + hertz / 700))
