"""Change the sampling rate, with the anti-aliasing that it needs."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from brainfm.data.causal import Running, Samples
from brainfm.data.lazy import Computed
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

DAY = 86_400
"""Seconds over which a signal without an end may not drift."""


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

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """The same samples, each as soon as all that the FIR needs for it is there. Raises `DataError` as the call does."""
        signal = recording.signal(modality)
        if not self.sfreq > 0:
            raise DataError(f"resample needs a rate above 0 Hz, not {self.sfreq}")
        if signal.sfreq == self.sfreq:
            return Running(signal.sensors, signal.sfreq)
        return Polyphase(signal.sensors, signal.sfreq, self.sfreq)

    def _with(self, recording: Recording, modality: str, change: Callable[..., Signal]) -> Recording:
        signal = recording.signal(modality)
        if not self.sfreq > 0:
            raise DataError(f"resample needs a rate above 0 Hz, not {self.sfreq}")
        if signal.sfreq == self.sfreq:
            return recording
        resampled = recording.with_signal(modality, change(signal, self.sfreq, recording.name))
        return resampled.noting(f"resample: {signal.sfreq:g} Hz to {self.sfreq:g} Hz")


class Polyphase(Running):
    """`resample_poly` sample by sample: the same FIR, its phases kept apart, fed with the samples under it.

    New sample m is the sum over j of `taps[p + j · up] · old[q − j]`, with m · down + half = q · up + p. Before the first sample
    the signal is taken to have been as it is there.
    """

    def __init__(self, sensors: Sensors, old: float, new: float) -> None:
        ratio = fraction(new / old, round(DAY * old))
        self.up, self.down = ratio.numerator, ratio.denominator
        longer = max(self.up, self.down)
        self.half = 10 * longer  # as resample_poly's
        taps = self.up * firwin(2 * self.half + 1, 1 / longer, window=("kaiser", 5.0))
        self.length = -(-len(taps) // self.up)
        self.phases = np.pad(taps, (0, self.length * self.up - len(taps))).reshape(self.length, self.up).T
        delay = self.half / self.up / old
        super().__init__(sensors, new, f"resample: the same samples, {1000 * delay:.0f} ms late", delay)
        self.restart()

    def restart(self) -> None:
        self.kept: Samples | None = None
        self.first, self.given = 1 - self.length, 0

    def __call__(self, block: Samples) -> Samples:
        if not block.shape[1]:
            return block
        before = np.repeat(block[:, :1], self.length - 1, axis=1) if self.kept is None else self.kept
        held = np.concatenate([before, block], axis=1)
        last = self.first + held.shape[1] - 1  # the newest old sample
        stop = max(self.given, -(-((last + 1) * self.up - self.half) // self.down))
        place = np.arange(self.given, stop) * self.down + self.half
        under = (place // self.up)[:, None] - np.arange(self.length) - self.first
        out = np.einsum("snj,nj->sn", held[:, under], self.phases[place % self.up])
        oldest = (stop * self.down + self.half) // self.up - (self.length - 1)  # under the next one
        drop = max(0, min(oldest - self.first, held.shape[1]))
        self.kept, self.first, self.given = held[:, drop:], self.first + drop, stop
        return np.asarray(out)


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
