"""Which of a file's channels are sensors, what they are called and where they are: what every EEG reader
asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.positions import Positions, eeg_sensors
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.part import Settings

NOT_EEG = re.compile(
    r"^(?:EEG |POL )?(ECG|EKG|[VHLR]?EOG|EMG|RESP|PULSE|PLETH|SPO2|PHOTIC|STATUS|STI"
    r"|TRIG|MARKER|EVENT|GSR|TEMP|ACC|GYRO|AUX|DC\d)",
    re.IGNORECASE,
)
"""Names of channels that EDF and its kin list among the EEG."""


@dataclass(frozen=True)
class Selected:
    """The chosen rows of a file's channels, their sensor table, and notes on what was left out or renamed."""

    rows: list[int]
    sensors: Sensors
    notes: list[str]


class SensorChoice(Settings):
    """The sensor fields of a reader. Patterns may hold `*` and fit the file's name or the name without
    `strip`."""

    montage: str | None = Field(
        default=None,
        description="a montage that MNE knows, for sensors without a position (default: standard_1005)",
    )
    positions: Positions = Field(
        default="auto", description="`none` goes without, whatever the sensors are called"
    )
    rename: dict[str, str] = Field(
        default={}, description="the file's name (without `strip`) to the sensor's"
    )
    strip: str = Field(default="", description='a prefix of the names, such as "EEG "')
    drop: list[str] = Field(default=[], description="channels to leave out")
    keep: list[str] = Field(default=[], description="the only channels to use")
    kinds: dict[str, str] = Field(
        default={},
        description="channels to a type of MNE (eeg, ecg, eog, misc, stim), where the file's is wrong",
    )

    def select(
        self, names: Sequence[str], types: Sequence[str], given: NDArray[np.float64] | None, where: str
    ) -> Selected:
        """The EEG sensors among channels of these names and MNE types. Raises `DataError` if none is left."""
        bare = [name.removeprefix(self.strip) for name in names]
        kinds = [self.type_of(*pair) for pair in zip(names, bare, types, strict=True)]
        self.expect(self.keep, names, bare, where)
        dropped = [self.unwanted(*pair) for pair in zip(names, bare, strict=True)]
        rows = [row for row, kind in enumerate(kinds) if kind == "eeg" and not dropped[row]]
        if not rows:
            raise DataError(f"{where} holds no EEG sensor among {', '.join(names[:12]) or 'no channels'}")
        chosen = [self.rename.get(bare[row], self.rename.get(names[row], bare[row])) for row in rows]
        places = None if given is None else given[rows]
        sensors, notes = eeg_sensors(chosen, places, self.montage, self.positions, where)
        others = [f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True) if kind != "eeg"]
        asked = [names[row] for row in range(len(names)) if kinds[row] == "eeg" and dropped[row]]
        return Selected(
            rows,
            sensors,
            [*listing("left out, no EEG", others), *listing("left out, as asked", asked), *notes],
        )

    def type_of(self, name: str, bare: str, type_: str) -> str:
        """The type of a channel: by `kinds`, else by the file, unless its name says that it is no EEG."""
        for pattern, kind in self.kinds.items():
            if fnmatchcase(name, pattern) or fnmatchcase(bare, pattern):
                return kind
        match = NOT_EEG.match(name)
        return match.group(1).lower() if match and type_ == "eeg" else type_

    def unwanted(self, name: str, bare: str) -> bool:
        """Whether `drop` and `keep` leave this channel out."""
        if any(fnmatchcase(name, pattern) or fnmatchcase(bare, pattern) for pattern in self.drop):
            return True
        return bool(self.keep) and not any(fnmatchcase(name, p) or fnmatchcase(bare, p) for p in self.keep)

    def expect(self, patterns: list[str], names: Sequence[str], bare: Sequence[str], where: str) -> None:
        """Refuse a `keep` that fits no channel: a sensor that was asked for is missing."""
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in (*names, *bare)):
                raise DataError(f"{where} has no channel {pattern!r} to keep; it has {', '.join(names[:40])}")


def listing(what: str, names: Sequence[str]) -> list[str]:
    """One note that lists names, none if there are none."""
    return [f"{what}: {', '.join(names)}"] if names else []
