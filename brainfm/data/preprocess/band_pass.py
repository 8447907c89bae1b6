"""Band-pass, high-pass or low-pass filter with zero phase."""

import mne
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from brainfm.data.causal import Running, Sections
from brainfm.data.preprocess import Change, Filter
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError


class BandPass(Filter):
    """Keeps `low` to `high` hertz; without `low` it is a low-pass, without `high` a high-pass.

    Every contiguous stretch is filtered on its own with MNE's default filter (zero-phase FIR, Hamming window,
    its design in `mne.filter.filter_data`). A stretch shorter than that filter gets a Butterworth filter of
    order 4 instead, run forwards and backwards with odd padding; the recording's notes say how many. Zero
    phase looks ahead: up to half the FIR's length (1.65 / transition width seconds) of later signal reaches
    each sample, so leave a gap between training and test windows. While a signal comes in, a high-pass of order 1
    and a Butterworth low-pass of order 4 run forwards: of what can't look ahead, that leaves the slow waves most
    like those of zero phase (LOG, 2026-11-29).
    """

    low: float | None = None
    high: float | None = None

    def filter(self, signal: Signal, where: str) -> tuple[Change, int, list[str]]:
        """Raises `DataError` where the band does not fit below half the sampling rate."""
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

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """Raises `DataError` where the band does not fit below half the sampling rate."""
        signal = recording.signal(modality)
        self._check(signal.sfreq, recording.name)
        said = "band_pass: Butterworth filters of low order, forwards alone, where training filtered with zero phase"
        parts = []
        if self.low is not None:
            parts.append(butter(1, self.low, "highpass", fs=signal.sfreq, output="sos"))
        if self.high is not None:
            parts.append(butter(4, self.high, "lowpass", fs=signal.sfreq, output="sos"))
        return Sections(signal.sensors, signal.sfreq, np.concatenate(parts), said)

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
