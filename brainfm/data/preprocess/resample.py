"""Change the sampling rate, with the anti-aliasing that it needs."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from brainfm.data.lazy import Computed
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
        return self._with(recording, modality, resample)

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """From the samples under the FIR, in step with those of the whole."""
        return self._with(recording, modality, resample_lazily)

    def _with(self, recording: Recording, modality: str, change: Callable[..., Signal]) -> Recording:
        signal = recording.signal(modality)
        if not self.sfreq > 0:
            raise DataError(f"resample needs a rate above 0 Hz, not {self.sfreq}")
        if signal.sfreq == self.sfreq:
            return recording
        resampled = recording.with_signal(modality, change(signal, self.sfreq, recording.name))
        return resampled.noting(f"resample: {signal.sfreq:g} Hz to {self.sfreq:g} Hz")


def resample(signal: Signal, sfreq: float, where: str) -> Signal:
    """The signal at `sfreq` hertz, its breaks mapped."""
    ratio, edges = mapped(signal, sfreq, where)
    data = signal.load()
    pieces = [
        polyphase(data[:, a:b], ratio, int(count))
        for (a, b), count in zip(signal.stretches, np.diff(edges), strict=True)
    ]
    return replace(signal, data=np.concatenate(pieces, axis=1), sfreq=sfreq, breaks=tuple(edges[1:-1]))


def resample_lazily(signal: Signal, sfreq: float, where: str) -> Signal:
    """The same when it is sliced."""
    ratio, edges = mapped(signal, sfreq, where)
    starts = np.array(edges)
    up, down = ratio.numerator, ratio.denominator
    # resample_poly's FIR has 10 · max(up, down) taps on either side at `up` times the old rate
    reach = -(-10 * max(up, down) // up) + 1

    def read(first: int, stop: int) -> NDArray[np.float64]:
        pieces = []
        for row in range(int(np.searchsorted(starts, first, side="right")) - 1, len(edges) - 1):
            if edges[row] >= stop:
                break
            begin, end = signal.stretches[row]
            here, there = max(edges[row], first) - edges[row], min(edges[row + 1], stop) - edges[row]
            # at a multiple of `down` a new sample falls on an old one, so a piece that begins there is in step
            start = max(0, (here * down // up - reach) // down * down)
            last = min(end - begin, there * down // up + reach + 1)
            start = min(start, (last - 1) // down * down)  # a sample made up behind the end repeats the last
            piece = np.asarray(signal.data[:, begin + start : begin + last], np.float64)
            skipped = start // down * up
            pieces.append(polyphase(piece, ratio, there - skipped)[:, here - skipped :])
        return np.concatenate(pieces, axis=1)

    data = Computed((len(signal.sensors), edges[-1]), read)
    return replace(signal, data=data, sfreq=sfreq, breaks=tuple(edges[1:-1]))


def mapped(signal: Signal, sfreq: float, where: str) -> tuple[Fraction, list[int]]:
    """The ratio of the rates, and where each edge of a stretch comes to lie."""
    ratio = fraction(sfreq / signal.sfreq, signal.n_times)
    edges = [int(np.floor(edge * sfreq / signal.sfreq + 0.5)) for edge in (0, *signal.breaks, signal.n_times)]
    if (np.diff(edges) < 1).any():
        raise DataError(
            f"{where}: a stretch has no sample left at {sfreq:g} Hz; choose a higher rate or leave it out"
        )
    return ratio, edges


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
