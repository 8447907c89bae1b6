"""Counts of neurons that the decoder does not see (co-smoothing; Pei et al. 2021, Neural Latents Benchmark, §3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from brainfm.data.preprocess.pick import Pick
from brainfm.data.recording import Recording
from brainfm.data.targets import Target, Targets
from brainfm.data.windows import Windows, take
from brainfm.errors import DataError


class HeldOutNeurons(Target):
    """Every `every`-th neuron of the sensor table is hidden, and how often it fires in each part is told from the others."""

    every: int = Field(default=4, ge=2)

    def names(self, recording: Recording, modality: str) -> list[str]:
        """The hidden neurons. Raises `DataError` where these are not spikes, or are too few."""
        sensors = recording.signal(modality).sensors
        found = list(sensors.name[self.every - 1 :: self.every])
        if set(sensors.unit) != {"count"} or not found:
            raise DataError(
                f"{recording.name}: counts are told of neurons, {self.every} or more; these are {len(sensors)} "
                f"rows in {sensors.unit[0]}"
            )
        return found

    def seen(self, recordings: Sequence[Recording], modality: str) -> list[Recording]:
        return [Pick(exclude=self.names(one, modality)).lazily(one, modality, Path()) for one in recordings]

    def __call__(
        self, recordings: Sequence[Recording], windows: Windows, modality: str, parts: int
    ) -> Targets:
        hidden = [self.names(recording, modality) for recording in recordings]
        if any(names != hidden[0] for names in hidden):
            raise DataError("recordings of other neurons can't share one decoder; take one session")
        rows = [recordings[0].signal(modality).sensors.name.index(name) for name in hidden[0]]
        value = np.empty((len(windows), parts, len(rows)))
        for some in np.array_split(np.arange(len(windows)), -(-len(windows) // 64)):
            counts = take(recordings, windows, some, modality)[:, rows]
            if counts.shape[2] % parts:
                raise DataError(
                    f"{counts.shape[2]} bins of a window can't be divided into {parts} equal parts"
                )
            value[some] = counts.reshape(len(some), len(rows), parts, -1).sum(axis=3).transpose(0, 2, 1)
        return Targets(value, tuple(hidden[0]), "rates", "count")
