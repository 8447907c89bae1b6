"""What the tables beside a BIDS recording say of it, and what becomes of a fault in them."""

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data import bids
from brainfm.data.electrodes import METRES, Electrodes
from brainfm.data.events import select
from brainfm.data.recording import REPAIRED, Events
from brainfm.data.units import UNITS, spelled
from brainfm.errors import DataError

TYPES = {
    "EEG": "eeg",
    "SEEG": "seeg",
    "ECOG": "ecog",
    "DBS": "dbs",
    "EOG": "eog",
    "HEOG": "eog",
    "VEOG": "eog",
    "ECG": "ecg",
    "EMG": "emg",
    "TRIG": "stim",
    "GSR": "gsr",
    "TEMP": "temperature",
    "RESP": "resp",
    "EYEGAZE": "eyegaze",
    "PUPIL": "pupil",
    **dict.fromkeys(
        ("REF", "MISC", "OTHER", "AUDIO", "PD", "SYSCLOCK", "ADC", "DAC", "HLU", "FITERR"), "misc"
    ),
}
"""BIDS's types of channels (1.10, "Channels description") as MNE calls them. A reference holds no signal of its own."""
COILS = (
    "MEGMAG",
    "MEGGRADAXIAL",
    "MEGGRADPLANAR",
    "MEGREFMAG",
    "MEGREFGRADAXIAL",
    "MEGREFGRADPLANAR",
    "MEGOTHER",
)
"""Types that an MEG file says better itself."""
BRAIN = frozenset({"eeg", "seeg", "ecog", "dbs"})
HEAD_SYSTEMS = ("captrak", "elektaneuromag", "neuromag")
"""BIDS's coordinate systems whose axes are those of MNE's head: to the right ear, the nose and up, from between the ears."""
MNI = ("MNI", "FSAVERAGE")
"""How the names of the spaces begin that are MNI's; fsaverage's is that of MNI305."""
PREFIX = {"eeg": "EEG", "ieeg": "iEEG"}
"""How the keys of a coordsystem.json begin."""
RATE = 1e-3
"""By how much of itself a rate may differ that a sidecar rounds."""
AT_MOST = 8
"""How many names a sentence lists."""


@dataclass
class Faults:
    """What is wrong beside one recording: refused at once, or mended and written down; and what is right but worth a note."""

    repairing: bool
    repaired: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def meet(self, file: str, fault: str, repair: str) -> None:
        """A fault and the only way in which it can be mended. Raises `DataError` unless that was asked for."""
        if not self.repairing:
            raise DataError(f'{file} {fault}; with on_error="repair" {repair}')
        self.repaired.append(f"{file} {fault}: {repair}")

    @property
    def notes(self) -> list[str]:
        """All of it, as notes of the recording."""
        return [*(REPAIRED + one for one in self.repaired), *self.remarks]


@dataclass(frozen=True)
class Channels:
    """What channels.tsv says: `kinds` are MNE's types by name, `bad` is marked so, `units` are those of brain signals."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    bad: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def patterns(self) -> dict[str, str]:
        """`kinds` as a reader takes them, where `*` and `[` would be patterns."""
        return {glob.escape(name): kind for name, kind in self.kinds.items()}

    @property
    def bad_patterns(self) -> list[str]:
        """`bad`, likewise."""
        return [glob.escape(name) for name in self.bad]


def channels(file: Path, names: Sequence[str], datatype: str, faults: Faults) -> Channels:
    """The channels of a file, `names` in its order, by a channels.tsv.

    Mended are rows that the file lacks, channels that the table lacks, a name given twice, another order, no `units`, and
    values that BIDS has not. Raises `DataError` for any other fault.
    """
    rows = bids.table(file)
    if not rows or "name" not in rows[0]:
        raise DataError(f"{file.name} has no column name, by which a channel is known")
    by_name: dict[str, dict[str, str]] = {}
    for row in rows:
        by_name.setdefault(row["name"], row)
    compare(file.name, [row["name"] for row in rows], names, faults)
    here = {name: row for name, row in by_name.items() if name in names}
    kinds = types(file.name, here, datatype, faults)
    return Channels(kinds, bad(file.name, here, faults), units(file.name, here, kinds, faults))


def compare(file: str, listed: Sequence[str], names: Sequence[str], faults: Faults) -> None:
    """Meet what differs between the names of a table and those of the recording."""
    once = list(dict.fromkeys(listed))
    common = [name for name in once if name in names]
    if not common:
        raise DataError(
            f"{file} lists {some(once)}, but the recording has {some(names)}: no name in common, so it belongs to another"
        )
    if twice := [name for name in once if listed.count(name) > 1]:
        faults.meet(file, f"lists {some(twice)} twice", "the first row counts")
    if missing := [name for name in once if name not in names]:
        faults.meet(file, f"lists {some(missing)}, which the recording has not", "those rows are ignored")
    if unlisted := [name for name in names if name not in once]:
        faults.meet(file, f"does not list {some(unlisted)}", "the recording's own types are taken for them")
    if common != [name for name in names if name in common]:
        faults.meet(
            file, "lists the channels in another order than the recording", "they are matched by name"
        )


def types(file: str, rows: Mapping[str, Mapping[str, str]], datatype: str, faults: Faults) -> dict[str, str]:
    """MNE's type of every channel for which the table knows it."""
    said = {name: row.get("type", "n/a").upper() for name, row in rows.items()}
    if all(type_ in ("N/A", "") for type_ in said.values()):
        if datatype == "ieeg":
            raise DataError(
                f"{file} does not say which channels are SEEG and which ECOG; say it: "
                'brainfm.read(..., kinds={"*": "seeg"})'
            )
        faults.meet(file, "has no column type", "the recording's own types are taken")
        return {}
    unknown = {type_: name for name, type_ in said.items() if type_ not in (*TYPES, *COILS, "N/A", "")}
    if unknown:
        type_, name = next(iter(unknown.items()))
        faults.meet(
            file,
            f"says {type_!r} of {name}, which is no type of BIDS",
            "the recording's own type is taken for it",
        )
    return {name: TYPES[type_] for name, type_ in said.items() if type_ in TYPES}


def bad(file: str, rows: Mapping[str, Mapping[str, str]], faults: Faults) -> list[str]:
    """The channels whose status is bad."""
    said = {name: row.get("status", "n/a").lower() for name, row in rows.items()}
    for name, status in said.items():
        if status not in ("good", "bad", "n/a", ""):
            faults.meet(file, f"says status {status!r} of {name}, neither good nor bad", "it is kept")
    return [name for name, status in said.items() if status == "bad"]


def units(
    file: str, rows: Mapping[str, Mapping[str, str]], kinds: Mapping[str, str], faults: Faults
) -> dict[str, str]:
    """The units of the brain's signals, as this house spells them."""
    ours = [name for name, kind in kinds.items() if kind in BRAIN]
    if ours and "units" not in rows[ours[0]]:
        faults.meet(file, "has no column units", "the recording's own units are taken")
        return {}
    said = {name: spelled(rows[name]["units"].replace("microV", "µV")) for name in ours}
    said = {name: unit for name, unit in said.items() if unit not in ("n/a", "")}
    if wrong := [name for name, unit in said.items() if unit not in UNITS["V"]]:
        faults.meet(
            file,
            f"gives {wrong[0]} in {said[wrong[0]]!r}, which is no unit of voltage",
            "the recording's own unit is taken for it",
        )
    return {name: unit for name, unit in said.items() if unit in UNITS["V"]}


def electrodes(
    root: Path, path: Path, space: Collection[str], given: Electrodes | None, faults: Faults
) -> Electrodes | None:
    """Which electrodes.tsv says where the electrodes of a recording are, its unit and its frame; None where there is none.

    What was `given` goes before what coordsystem.json says. Without either there is no unit, and mending is to do without
    positions. Of several spaces the one asked for is taken, else MNI, else the first.
    """
    datatype = path.parent.name
    if datatype not in PREFIX or (given and given.file):
        return given
    found = bids.beside(root, path, "electrodes", ".tsv", free=("space",), less=("space",))
    wanted = {one.removeprefix("space-") for one in space}
    spaces = {file: bids.named(file).entities.get("space", "") for file in found}
    fitting = [file for file in found if not wanted or spaces[file] in wanted]
    if found and not fitting:
        there = ", ".join(sorted(filter(None, spaces.values()))) or "no named one"
        raise DataError(
            f"no electrodes.tsv of {path.name} is in space {' or '.join(wanted)}; there is {there}"
        )
    if not fitting:  # nor may the reader take one that does not apply
        return given or Electrodes(space="none")
    file = max(fitting, key=lambda one: (spaces[one].upper().startswith(MNI), -fitting.index(one)))
    if len(fitting) > 1:
        faults.remarks.append(f"positions of {file.name}, one of {len(fitting)} tables of electrodes")
    check_places(file, faults)
    said = coordinate_system(root, path, file, faults)
    if said is None and (given is None or given.unit is None):
        return Electrodes(space="none")
    unit, system = said or ("", "")
    settings: dict[str, Any] = {"file": Path(os.path.relpath(file, path.parent.absolute())).as_posix()}
    settings |= {"unit": unit} if unit else {}
    settings |= {"space": frame(datatype, system, file.name, faults)}
    settings |= {name: getattr(given, name) for name in given.model_fields_set} if given else {}
    return Electrodes.model_validate(settings)


def check_places(file: Path, faults: Faults) -> None:
    """Meet positions that are no numbers; n/a, which the standard allows, is a position that is not known."""
    rows = bids.table(file)
    wrong = [
        f"{row.get('name', '')} ({axis} {row.get(axis, '')!r})"
        for row in rows
        for axis in ("x", "y", "z")
        if row.get(axis, "n/a") != "n/a" and not np.isfinite(number(row[axis]))
    ]
    if wrong:
        faults.meet(
            file.name, f"has positions that are no numbers: {some(wrong)}", "those positions are unknown"
        )
    if unknown := [row.get("name", "") for row in rows if "n/a" in (row.get(axis) for axis in "xyz")]:
        faults.remarks.append(f"{file.name} has no position for {some(unknown)}")


def coordinate_system(root: Path, path: Path, file: Path, faults: Faults) -> tuple[str, str] | None:
    """The unit and the name of the coordinates of an electrodes.tsv; None where positions can't be used."""
    space = bids.named(file).entities.get("space")
    beside = [
        one
        for one in bids.beside(root, path, "coordsystem", ".json", free=("space",), less=("space",))
        if bids.named(one).entities.get("space") == space
    ]
    if not beside:
        faults.meet(
            file.name,
            "has no coordsystem.json beside it, which would give the unit",
            "positions are left out (or say the unit: `electrodes={'unit': 'mm'}`)",
        )
        return None
    said = bids.sidecar(beside[-1:])
    prefix = PREFIX[path.parent.name]
    unit, system = str(said.get(f"{prefix}CoordinateUnits")), str(said.get(f"{prefix}CoordinateSystem", ""))
    if unit == "pixels" or system.lower() == "pixels":
        faults.remarks.append(f"positions of {file.name} are pixels of a picture, and were left out")
        return None
    if unit not in METRES:
        faults.meet(
            beside[-1].name,
            f"gives {prefix}CoordinateUnits {unit!r}, none of m, cm, mm",
            "positions are left out (or say the unit: `electrodes={'unit': 'mm'}`)",
        )
        return None
    return unit, system


def frame(datatype: str, system: str, file: str, faults: Faults) -> str:
    """What positions in a coordinate system of BIDS are to brainfm: `mni`, `own`, `head`, or `none` where they are of no use."""
    if datatype == "ieeg":
        return "mni" if system.upper().startswith(MNI) else "own"
    if system.lower() in HEAD_SYSTEMS:
        return "head"
    faults.remarks.append(
        f"positions of {file} are in {system or 'an unnamed system'}, which has no known way to the head, and were left out"
    )
    return "none"


def events(file: Path, seconds: float, column: str, faults: Faults) -> Events:
    """The events of an events.tsv by their `column` (default: trial_type, where that is n/a value), sorted by onset.

    `seconds` is how long the recording is. Mended are rows without an onset, or after the end, and durations that are none.
    Raises `DataError` without a column `onset`, or where `column` is not there.
    """
    rows = bids.table(file)
    there = list(rows[0]) if rows else []
    for name in ("onset", column):
        if rows and name and name not in there:
            raise DataError(f"{file.name} has no column {name!r}; it has {', '.join(there)}")
    labels = [labelled(row, column) for row in rows]
    onset = np.array([number(row["onset"]) for row in rows], dtype=float)
    duration = np.array([number(row.get("duration", "n/a")) for row in rows], dtype=float)
    named = np.array([label != "" for label in labels], dtype=bool)
    if rows and not named.any():
        faults.remarks.append(
            f"{len(rows)} events of {file.name} have no trial_type or value, and were left out; "
            f"say which column names them: `event_column=...`, one of {', '.join(there)}"
        )
    elif not named.all():
        faults.remarks.append(f"{int((~named).sum())} events of {file.name} have no name, and were left out")
    if (lost := named & ~np.isfinite(onset)).any():
        faults.meet(
            file.name,
            f"has {int(lost.sum())} events whose onset is {rows[int(np.argmax(lost))]['onset']!r}",
            "they are left out",
        )
    if (late := named & (onset >= seconds)).any():
        faults.meet(
            file.name,
            f"has {int(late.sum())} events after the end of the recording, the first at {onset[late].min():g} s of {seconds:g} s",
            "they are left out",
        )
    if (early := named & (onset < 0)).any():
        faults.remarks.append(f"{int(early.sum())} events before the recording began were left out")
    if (negative := named & (duration < 0)).any():
        faults.meet(file.name, f"has {int(negative.sum())} events of negative duration", "it is taken as 0 s")
    kept = named & np.isfinite(onset) & ~late & ~early
    found = Events(onset, np.where(duration > 0, duration, 0.0), tuple(labels))
    found = select(found, kept)
    return select(found, np.argsort(found.onset, kind="stable"))


def labelled(row: Mapping[str, str], column: str) -> str:
    """The name of an event, "" if it has none."""
    said = [row.get(name, "") for name in ((column,) if column else ("trial_type", "value"))]
    return next((name for name in said if name not in ("", "n/a")), "")


def number(text: str) -> float:
    """A number of a table, NaN for anything else."""
    try:
        value = float(text)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def check_rate(said: Mapping[str, Any], sfreq: float, where: str, faults: Faults) -> None:
    """Meet a SamplingFrequency of the sidecar that the recording has not."""
    rate = said.get("SamplingFrequency")
    if isinstance(rate, int | float) and not abs(rate - sfreq) <= RATE * sfreq:
        faults.meet(
            where, f"says {rate:g} Hz, the recording has {sfreq:g} Hz", "the recording's own rate is taken"
        )


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - AT_MOST} more" if len(names) > AT_MOST else ""
    return ", ".join(names[:AT_MOST]) + more
