"""How large a signal typically is: what the gate compares with what an instrument can measure."""

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Signal
from brainfm.data.spike_times import SpikeTimes


def variation(signal: Signal, within: float = 1.0, stretches: int = 60) -> NDArray[np.float64]:
    """(sensor,) the standard deviation `within` so many seconds, median over at most `stretches` of them spread over the
    signal.

    Offset and slow drift, large in EEG recorded with direct coupling, hardly count. Stretches shorter than that (a
    recording of short windows) are taken whole.
    """
    length = max(2, round(within * signal.sfreq))
    spans = [
        (start, min(start + length, last))
        for first, last in signal.stretches
        for start in range(first, max(first + 1, last - length + 1), length)
    ]
    chosen = np.unique(np.linspace(0, len(spans) - 1, stretches).round().astype(int))
    pieces = [np.asarray(signal.data[:, slice(*spans[row])], dtype=np.float64) for row in chosen]
    spread = np.stack([np.where(np.isfinite(piece), piece, 0.0).std(axis=1) for piece in pieces])
    return np.asarray(np.median(spread, axis=0))


def slow_variation(signal: Signal) -> NDArray[np.float64]:
    """(sensor,) the same within a minute: haemodynamic responses take ten seconds.

    Of single maps, estimated responses without a course in time, their root mean square: a response is a change already.
    """
    if all(last - first == 1 for first, last in signal.stretches):
        return np.asarray(np.sqrt(np.nanmean(signal.load() ** 2, axis=1)))
    return variation(signal, within=60.0)


def firing_rate(signal: Signal) -> NDArray[np.float64]:
    """(sensor,) spikes a second."""
    if isinstance(signal.data, SpikeTimes):
        return signal.data.rates()
    return np.asarray(np.nanmean(signal.load(), axis=1) * signal.sfreq)
