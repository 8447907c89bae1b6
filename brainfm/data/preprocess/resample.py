"""Change the sampling rate, with the anti-aliasing that it needs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError


class Resample(Step):
    """Resamples each stretch to `sfreq` hertz with a polyphase FIR (`scipy.signal.resample_poly`).

    An edge at sample n goes to sample floor(n · new / old + 1/2), so that counts are exact, errors do not add
    up over breaks, and no stretch moves by more than half a new sample. Events stay where they are: they are
    in seconds.
    """

    sfreq: float

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where the new rate is impossible or a stretch would have no sample left."""
        signal = recording.signal(modality)
        if not self.sfreq > 0:
            raise DataError(f"resample needs a rate above 0 Hz, not {self.sfreq}")
        if signal.sfreq == self.sfreq:
            return recording
        resampled = recording.with_signal(modality, resample(signal, self.sfreq, recording.name))
        return resampled.noting(f"resample: {signal.sfreq:g} Hz to {self.sfreq:g} Hz")


def resample(signal: Signal, sfreq: float, where: str) -> Signal:
    """The signal at `sfreq` hertz, its breaks mapped."""
    ratio = fraction(sfreq / signal.sfreq, signal.n_times)
    edges = [int(np.floor(edge * sfreq / signal.sfreq + 0.5)) for edge in (0, *signal.breaks, signal.n_times)]
    counts = np.diff(edges)
    if (counts < 1).any():
        raise DataError(
            f"{where}: a stretch has no sample left at {sfreq:g} Hz; choose a higher rate or leave it out"
        )
    data = signal.load()
    pieces = [
        polyphase(data[:, a:b], ratio, int(count))
        for (a, b), count in zip(signal.stretches, counts, strict=True)
    ]
    return replace(signal, data=np.concatenate(pieces, axis=1), sfreq=sfreq, breaks=tuple(edges[1:-1]))


def polyphase(stretch: NDArray[np.float64], ratio: Fraction, count: int) -> NDArray[np.float64]:
    """`count` samples of a (sensor, time) stretch at `ratio` times its rate; an offset stays."""
    out = np.asarray(resample_poly(stretch, ratio.numerator, ratio.denominator, axis=1, padtype="edge"))
    return np.pad(out, ((0, 0), (0, max(0, count - out.shape[1]))), mode="edge")[:, :count]


def fraction(ratio: float, n_times: int) -> Fraction:
    """The simplest fraction that drifts less than a tenth of a sample over the recording."""
    for limit in (100, 1_000, 10_000, 100_000):
        near = Fraction(ratio).limit_denominator(limit)
        if abs(float(near) - ratio) * n_times < 0.1:
            return near
    raise DataError(
        f"a change of rate by {ratio:.9g} has no simple fraction; round the recording's sampling rate first"
    )
