"""Keep some sensors: by kind, by name, or all but some."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from brainfm.data.preprocess import Step, at_each_time
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.errors import DataError
from brainfm.part import suggest


class Pick(Step):
    """Keeps the sensors of these `kinds` and `names` (in the order of `names`) that are not in `exclude`."""

    each_time = True

    kinds: list[str] | None = None
    names: list[str] | None = None
    exclude: list[str] = Field(default=[])

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where a wanted sensor is missing or none is left."""
        signal = recording.signal(modality)
        rows = self._rows(signal.sensors, recording.name)
        return self._with(recording, modality, signal.take(rows))

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """These rows of what is sliced; spikes stay events."""
        signal = recording.signal(modality)
        rows = self._rows(signal.sensors, recording.name)
        table = signal.sensors.take(rows)
        if isinstance(signal.data, SpikeTimes):
            return self._with(
                recording, modality, replace(signal, data=signal.data.take(rows), sensors=table)
            )
        return self._with(recording, modality, at_each_time(signal, lambda data: data[rows], table))

    @staticmethod
    def _with(recording: Recording, modality: str, picked: Signal) -> Recording:
        kept = set(picked.sensors.name)
        left = [name for name in recording.signal(modality).sensors.name if name not in kept]
        changed = recording.with_signal(modality, picked)
        return changed.noting(f"pick: left out {', '.join(left)}") if left else changed

    def _rows(self, sensors: Sensors, where: str) -> list[int]:
        wanted = sensors.name if self.names is None else self.names
        known(wanted, sensors, where)
        known(self.exclude, sensors, where)
        row = {name: index for index, name in enumerate(sensors.name)}
        rows = [
            row[name]
            for name in wanted
            if name not in self.exclude and self._is_kind(sensors.kind[row[name]])
        ]
        if not rows:
            asked = f"kinds {self.kinds}, names {self.names}, without {self.exclude}"
            raise DataError(
                f"{where}: no sensor is left by pick ({asked}); its kinds are {sorted(set(sensors.kind))}"
            )
        return rows

    def _is_kind(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


def known(names: Sequence[str], sensors: Sensors, where: str) -> None:
    """Raise `DataError` for the first name that is not in the sensor table, with the nearest one."""
    for name in names:
        if name not in sensors.name:
            raise DataError(f"{where}: there is no sensor {name!r}{suggest(name, sensors.name)}")
