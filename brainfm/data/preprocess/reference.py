"""Re-reference: what every electrode is measured against."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess import Change, Step, at_each_time
from brainfm.data.preprocess.pick import known
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

POTENTIALS = ("eeg", "seeg", "ecog")
"""Kinds that are measured against a reference; a coil or a voxel is not."""


class Reference(Step):
    """Subtracts the average of all electrodes, or of the named ones; `none` leaves the recorded reference.

    Each kind of electrode (eeg, seeg, ecog) is averaged on its own and sensors of other kinds are not
    touched. A single named sensor is left out afterwards, because it is zero everywhere; the notes say so.
    """

    each_time = True

    to: Literal["average", "none"] | list[str]

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where a named sensor is missing, or where there is nothing to re-reference."""
        if self.to == "none":
            return recording
        signal = recording.signal(modality)
        change, keep, note = self._change(signal, recording.name)
        made = replace(signal, data=change(signal.load()), sensors=signal.sensors.take(keep))
        return recording.with_signal(modality, made).noting(note)

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """Each time on its own."""
        if self.to == "none":
            return recording
        signal = recording.signal(modality)
        change, keep, note = self._change(signal, recording.name)
        made = at_each_time(signal, change, signal.sensors.take(keep))
        return recording.with_signal(modality, made).noting(note)

    def _change(self, signal: Signal, where: str) -> tuple[Change, list[int], str]:
        """What is done to (sensor, time), the rows that it leaves, and a note."""
        groups = self._groups(signal.sensors, where)
        alone = self.to[0] if isinstance(self.to, list) and len(self.to) == 1 else None
        keep = [row for row, name in enumerate(signal.sensors.name) if name != alone]

        def change(data: NDArray[np.float64]) -> NDArray[np.float64]:
            data = data.copy()
            for rows, against in groups:
                data[rows] -= data[against].mean(axis=0)
            return data[keep]

        if alone is not None:
            return change, keep, f"reference: {alone}, which is left out because it is now zero"
        return change, keep, f"reference: {self.to if isinstance(self.to, str) else ', '.join(self.to)}"

    def _groups(self, sensors: Sensors, where: str) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows to change and the rows whose mean is subtracted from them."""
        kinds = np.array(sensors.kind)
        if isinstance(self.to, str):
            rows = [np.flatnonzero(kinds == kind) for kind in POTENTIALS if kind in sensors.kind]
            groups = [(row, row) for row in rows]
        else:
            groups = [self._named(self.to, sensors, where)]
        if not groups:
            raise DataError(
                f"{where}: only eeg, seeg and ecog can be re-referenced, it holds {sorted(set(sensors.kind))}"
            )
        if alone := [sensors.name[rows[0]] for rows, _ in groups if len(rows) == 1]:
            raise DataError(
                f"{where}: {alone[0]} is the only one of its kind and would become zero; use `to: none`"
            )
        return groups

    @staticmethod
    def _named(names: list[str], sensors: Sensors, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        known(names, sensors, where)
        against = np.array([sensors.name.index(name) for name in names], np.int64)
        kinds = {sensors.kind[row] for row in against}
        if len(kinds) != 1 or not kinds <= set(POTENTIALS):
            raise DataError(
                f"{where}: the reference {', '.join(names)} must be eeg, seeg or ecog, all of one kind"
            )
        return np.flatnonzero(np.array(sensors.kind) == kinds.pop()), against
