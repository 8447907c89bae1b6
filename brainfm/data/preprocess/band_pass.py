"""Band-pass, high-pass or low-pass filter with zero phase."""

from pathlib import Path

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from brainfm.data.preprocess import Change, Step, by_stretch, by_stretch_lazily
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError


class BandPass(Step):
    """Keeps `low` to `high` hertz; without `low` it is a low-pass, without `high` a high-pass.

    Every contiguous stretch is filtered on its own with MNE's default filter (zero-phase FIR, Hamming window,
    its design in `mne.filter.filter_data`). A stretch shorter than that filter gets a Butterworth filter of
    order 4 instead, run forwards and backwards with odd padding; the recording's notes say how many. Zero
    phase looks ahead: up to half the FIR's length (1.65 / transition width seconds) of later signal reaches
    each sample, so leave a gap between training and test windows.
    """

    low: float | None = None
    high: float | None = None

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where the band does not fit below half the sampling rate."""
        signal = recording.signal(modality)
        change, _, notes = self._filter(signal, recording.name)
        return recording.with_signal(modality, by_stretch(signal, change)).noting(*notes)

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """Half the FIR on either side of a sample decides it; with a whole one MNE's padding stays at the true edges."""
        signal = recording.signal(modality)
        change, taps, notes = self._filter(signal, recording.name)
        return recording.with_signal(modality, by_stretch_lazily(signal, change, taps)).noting(*notes)

    def _filter(self, signal: Signal, where: str) -> tuple[Change, int, list[str]]:
        """What is done to a stretch, the length of the FIR, and a note where stretches are shorter than that."""
        self._check(signal.sfreq, where)
        taps = len(mne.filter.create_filter(None, signal.sfreq, self.low, self.high, verbose="error"))
        short = sum(end - start <= taps for start, end in signal.stretches)

        def change(stretch: NDArray[np.float64]) -> NDArray[np.float64]:
            if stretch.shape[1] <= taps:
                return self._short(stretch, signal.sfreq)
            filtered = mne.filter.filter_data(stretch, signal.sfreq, self.low, self.high, verbose="error")
            return np.asarray(filtered, np.float64)

        note = f"{short} of {len(signal.stretches)} stretches are shorter than the FIR"
        return change, taps, [f"band_pass: {note}; Butterworth there"] if short else []

    def _check(self, sfreq: float, where: str) -> None:
        if self.low is None and self.high is None:
            raise DataError("band_pass needs low, high or both, in hertz")
        low, high, nyquist = self.low or 0.0, self.high or sfreq / 2, sfreq / 2
        if not (0 <= low < high <= nyquist) or self.high == nyquist or self.low == 0:
            band = f"{self.low} to {self.high} Hz"
            raise DataError(
                f"{where}: a band of {band} does not fit below {nyquist:g} Hz, half its rate; change it"
            )

    def _short(self, stretch: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
        if self.low is None:
            sos = butter(4, self.high or 0.0, "lowpass", fs=sfreq, output="sos")
        elif self.high is None:
            sos = butter(4, self.low, "highpass", fs=sfreq, output="sos")
        else:
            sos = butter(4, [self.low, self.high], "bandpass", fs=sfreq, output="sos")
        padding = min(stretch.shape[1] - 1, round(3 * sfreq / (self.low or self.high or sfreq)))
        return np.asarray(sosfiltfilt(sos, stretch, axis=1, padlen=padding))
