"""Remove the power line and its harmonics, or any narrow lines."""

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.signal import filtfilt, iirnotch, tf2sos

from brainfm.data.causal import Running, Sections
from brainfm.data.preprocess import Change, Filter
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError

QUALITY = 30.0
"""Centre frequency over width at −3 dB of the notch for short stretches."""


class Notch(Filter):
    """Removes `freqs`, or `line` and its harmonics below half the sampling rate, in hertz.

    Every contiguous stretch is filtered on its own with MNE's zero-phase FIR (`mne.filter.notch_filter`). A
    stretch shorter than that filter gets a second-order notch run forwards and backwards instead; the
    recording's notes say how many. While a signal comes in, that notch runs forwards alone.
    """

    freqs: list[float] | None = None
    line: float | None = None

    def filter(self, signal: Signal, where: str) -> tuple[Change, int, list[str]]:
        """Raises `DataError` where a frequency is not below half the sampling rate."""
        freqs = self._freqs(signal.sfreq, where)
        # MNE's transition is half a hertz on each side, for which a Hamming FIR needs 3.3 / 0.5 seconds
        taps = int(np.ceil(6.6 * signal.sfreq)) + 1
        short = sum(end - start <= taps for start, end in signal.stretches)

        def change(stretch: NDArray[np.float64]) -> NDArray[np.float64]:
            if stretch.shape[1] <= taps:
                return without(stretch, signal.sfreq, freqs)
            return np.asarray(
                mne.filter.notch_filter(stretch, signal.sfreq, freqs, verbose="error"), np.float64
            )

        note = f"{short} of {len(signal.stretches)} stretches are shorter than the FIR"
        return change, taps, [f"notch: {note}; second-order notch there"] if short else []

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """Raises `DataError` where a frequency is not below half the sampling rate."""
        signal = recording.signal(modality)
        freqs = self._freqs(signal.sfreq, recording.name)
        sos = np.concatenate([tf2sos(*iirnotch(freq, QUALITY, fs=signal.sfreq)) for freq in freqs])
        said = "notch: second-order notches, forwards alone, where training filtered with zero phase"
        return Sections(signal.sensors, signal.sfreq, sos, said)

    def _freqs(self, sfreq: float, where: str) -> list[float]:
        if (self.freqs is None) == (self.line is None):
            raise DataError("notch needs either freqs or line, in hertz")
        freqs = self.freqs or list(np.arange(1, sfreq / 2 / (self.line or 1)) * (self.line or 1))
        if not freqs or min(freqs) <= 0 or max(freqs) >= sfreq / 2:
            raise DataError(
                f"{where}: {self.freqs or self.line} Hz is not between 0 and {sfreq / 2:g} Hz, half its rate"
            )
        return freqs


def without(stretch: NDArray[np.float64], sfreq: float, freqs: list[float]) -> NDArray[np.float64]:
    """A short (sensor, time) stretch without these frequencies."""
    for freq in freqs:
        b, a = iirnotch(freq, QUALITY, fs=sfreq)
        padding = min(stretch.shape[1] - 1, round(3 * QUALITY * sfreq / freq))
        stretch = np.asarray(filtfilt(b, a, stretch, axis=1, padlen=padding))
    return stretch
