"""Count spikes in bins of a stated length."""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from brainfm.data.causal import Running, Samples
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError


class BinCounts(Step):
    """Counts in bins of `seconds`, from the start of every stretch; the end of a stretch that fills no bin is left out.

    Spike times stay times, so nothing is counted until a window is cut; counts in narrower bins are added up, which needs
    a whole number of them in each. Wider bins can't be divided: they are refused, or kept as they are.
    """

    seconds: float = Field(gt=0)
    wider: Literal["refuse", "keep"] = "refuse"

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where bins of that length can't be had."""
        signal = recording.signal(modality)
        self._of_spikes(signal, recording.name, modality)
        if isinstance(signal.data, SpikeTimes) and not signal.breaks:
            sfreq = 1 / self.seconds
            binned = replace(signal, data=signal.data.at(sfreq), sfreq=sfreq)
            return recording.with_signal(modality, binned).noting(f"bin_counts: {self.seconds:g} s")
        ratio = self._ratio(signal.sfreq, recording.name)
        if ratio is None:
            return recording.noting(f"bin_counts: bins of {1 / signal.sfreq:g} s stay as they are")
        binned, lost = added(signal, ratio, 1 / self.seconds, recording.name)
        left = f"; {lost} bins at the ends of stretches fill none and were left out" if lost else ""
        return recording.with_signal(modality, binned).noting(f"bin_counts: {self.seconds:g} s{left}")

    def causally(self, recording: Recording, modality: str, calibrate: float) -> Running:
        """Each bin when it is over. Raises `DataError` as the call does."""
        signal = recording.signal(modality)
        self._of_spikes(signal, recording.name, modality)
        ratio = self._ratio(signal.sfreq, recording.name)
        if ratio is None:
            return Running(signal.sensors, signal.sfreq)
        return Added(signal.sensors, signal.sfreq, ratio, 1 / self.seconds)

    @staticmethod
    def _of_spikes(signal: Signal, where: str, modality: str) -> None:
        if set(signal.sensors.unit) != {"count"}:
            raise DataError(f"{where}: bin_counts is for spikes, {modality} is in {signal.sensors.unit[0]}")

    def _ratio(self, sfreq: float, where: str) -> int | None:
        """How many bins of a signal at `sfreq` make one; None where it stays as it is."""
        ratio = self.seconds * sfreq
        if ratio < 1 - 1e-6 and self.wider == "keep":
            return None
        if ratio < 1 - 1e-6 or abs(ratio - round(ratio)) > 1e-6 * ratio:
            raise DataError(
                f"{where}: bins of {self.seconds:g} s can't be made of bins of {1 / sfreq:g} s; choose a multiple"
            )
        return round(ratio)


class Added(Running):
    """Every `n` bins as one, as soon as the last of them is over."""

    def __init__(self, sensors: Sensors, old: float, n: int, new: float) -> None:
        super().__init__(sensors, new, delay=(n - 1) / old)
        self.n = n
        self.restart()

    def restart(self) -> None:
        self.kept = np.zeros((len(self.sensors), 0))

    def __call__(self, block: Samples) -> Samples:
        held = np.concatenate([self.kept, block], axis=1)
        count = held.shape[1] // self.n
        self.kept = held[:, count * self.n :]
        return np.asarray(held[:, : count * self.n].reshape(len(held), count, self.n).sum(axis=2))


def added(signal: Signal, n: int, sfreq: float, where: str) -> tuple[Signal, int]:
    """Every `n` bins of each stretch as one, and how many bins were left over."""
    wholes = [(start, (stop - start) // n) for start, stop in signal.stretches]
    if not all(count for _, count in wholes):
        raise DataError(
            f"{where}: a stretch is shorter than a bin of {n / signal.sfreq:g} s; use shorter bins"
        )
    pieces = [
        np.asarray(signal.data[:, start : start + count * n], np.float64).reshape(
            len(signal.sensors), count, n
        )
        for start, count in wholes
    ]
    data = np.concatenate([piece.sum(axis=2) for piece in pieces], axis=1)
    breaks = tuple(int(edge) for edge in np.cumsum([count for _, count in wholes])[:-1])
    return replace(signal, data=data, sfreq=sfreq, breaks=breaks), signal.n_times - data.shape[1] * n
