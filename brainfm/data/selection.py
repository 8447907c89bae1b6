"""Which of a file's channels are sensors, what they are called and where they are: what every reader of field
signals asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import Field

from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import Given, Positions, coils, contacts, eeg_sensors
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.part import Settings

NOT_EEG = re.compile(
    r"^(?:EEG |POL )?(ECG|EKG|[VHLR]?EOG|EMG|RESP|PULSE|PLETH|SPO2|PHOTIC|STATUS|STI"
    r"|TRIG|MARKER|EVENT|GSR|TEMP|ACC|GYRO|AUX|DC\d)",
    re.IGNORECASE,
)
"""Names of channels that EDF and its kin list among the EEG."""


FIELDS = ("eeg", "meg", "seeg")
"""The modalities of field signals, whose files MNE reads."""
FIELD_KINDS = frozenset(kind for name in FIELDS for kind in find_modality(name).kinds)


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
        description="channels to a type of MNE (eeg, seeg, ecog, ecg, eog, misc, stim), where the file's is wrong",
    )
    modalities: list[str] = Field(
        default=[], description="the instruments to read (eeg, meg, seeg); default: all that the file holds"
    )

    def held(self, names: Sequence[str], types: Sequence[str], where: str) -> list[str]:
        """The modalities to read of channels of these names and MNE types. Raises `DataError` if there is none."""
        wanted_names = [not self.unwanted(name, name.removeprefix(self.strip)) for name in names]
        every = self.types(names, types)
        left = {kind for kind, wanted in zip(every, wanted_names, strict=True) if wanted}
        kinds = left if left & FIELD_KINDS else set(every)  # nothing left: `select` says so
        found = [name for name in FIELDS if kinds & find_modality(name).kinds.keys()]
        wanted = [name for name in found if not self.modalities or name in self.modalities]
        if not wanted:
            asked = " or ".join(name.upper() for name in self.modalities or FIELDS)
            raise DataError(f"{where} holds no {asked} sensor among {', '.join(names[:12]) or 'no channels'}")
        return wanted

    def select(
        self,
        names: Sequence[str],
        types: Sequence[str],
        given: Given | None,
        where: str,
        modality: str = "eeg",
    ) -> Selected:
        """The sensors of a modality among channels of these names and MNE types. Raises `DataError` if none is left."""
        bare = [name.removeprefix(self.strip) for name in names]
        kinds = self.types(names, types)
        self.expect(self.keep, names, bare, where)
        dropped = [self.unwanted(*pair) for pair in zip(names, bare, strict=True)]
        ours = [kind in find_modality(modality).kinds for kind in kinds]
        rows = [row for row, mine in enumerate(ours) if mine and not dropped[row]]
        if not rows:
            word = modality.upper()
            raise DataError(f"{where} holds no {word} sensor among {', '.join(names[:12]) or 'no channels'}")
        chosen = [self.rename.get(bare[row], self.rename.get(names[row], bare[row])) for row in rows]
        places = None if given is None else given.take(rows)
        sensors, notes = self.table(modality, chosen, [kinds[row] for row in rows], places, where)
        others = [
            f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True) if kind not in FIELD_KINDS
        ]
        asked = [names[row] for row in range(len(names)) if ours[row] and dropped[row]]
        left = [*listing("left out, no brain signal", others), *listing("left out, as asked", asked)]
        return Selected(rows, sensors, [*left, *notes])

    def table(
        self, modality: str, names: Sequence[str], kinds: Sequence[str], given: Given | None, where: str
    ) -> tuple[Sensors, list[str]]:
        """The sensor table of chosen channels, and notes on how it came about."""
        if modality == "meg":
            units = [find_modality(modality).kinds[kind].unit for kind in kinds]
            return coils(names, kinds, units, given)
        if modality == "seeg":
            return contacts(names, kinds, given)
        position = None if given is None else given.position
        return eeg_sensors(names, position, self.montage, self.positions, where)

    def types(self, names: Sequence[str], types: Sequence[str]) -> list[str]:
        """The type of every channel."""
        return [
            self.type_of(name, name.removeprefix(self.strip), type_)
            for name, type_ in zip(names, types, strict=True)
        ]

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
