"""A BIDS dataset: the recordings in it, each with what the tables beside it say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError

from brainfm.data import bids, sidecars
from brainfm.data.electrodes import Electrodes, electrodes_of
from brainfm.data.events import longest
from brainfm.data.formats import reader_of_file
from brainfm.data.from_mne import labelled, listening, stored_unit
from brainfm.data.gate import rows, trustworthy
from brainfm.data.pauses import Pauses
from brainfm.data.readers import Entry, Reader, compile_pattern
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.recording import REPAIRED, Recording
from brainfm.data.recordings import LogLine, Recordings
from brainfm.data.sidecars import Channels, Faults
from brainfm.errors import DataError
from brainfm.part import explain

OnError = Literal["raise", "skip", "repair"]
Words = str | list[str]
FOLDER = {"eeg": "eeg", "meg": "meg", "seeg": "ieeg", "fmri": "func", "spikes": "ieeg"}
"""Where BIDS keeps the recordings of a modality."""


class Bids(Reader):
    """Recordings of EEG, MEG, iEEG and BOLD in a BIDS dataset, read by whichever reader takes their format.

    Of each, channels.tsv gives types, units and what is bad, electrodes.tsv with coordsystem.json the places, events.tsv the
    events, the sidecar's JSON the repetition time; these and participants.tsv are kept in `Recording.facts`. What was mended
    is in `Recording.repairs`.
    """

    suffixes: ClassVar[tuple[str, ...]] = ("",)

    on_error: OnError = "raise"
    """What to do where a table contradicts the recording or the standard: refuse; leave the recording out of the dataset, with
    a line in its log; or mend what can be mended in one way only, with a note. Dead sensors are then left out, too."""
    datatype: Words = Field(default="", description="eeg, meg, ieeg or func; default: all")
    subject: Words = Field(default="", description="of this and each entity: the only values to read")
    session: Words = ""
    task: Words = ""
    acquisition: Words = ""
    run: Words = ""
    processing: Words = ""
    direction: Words = ""
    reconstruction: Words = ""
    echo: Words = ""
    space: Words = Field(default="", description="of volumes; of contacts, the space of their positions")
    resolution: Words = ""
    density: Words = ""
    description: Words = ""
    event_column: str = Field(
        default="", description="the column of events.tsv that names them; default: trial_type, else value"
    )
    reader: dict[str, Any] = Field(default={}, description="settings of the reader that takes the format")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a path is a BIDS dataset, a recording in one or a folder of recordings in one."""
        if path.is_dir() and not bids.is_recording(path):
            root = bids.root_of(path)
            return root is not None and (path.absolute() == root or bool(below(root, path)))
        return bids.is_recording(path) and path.exists() and bids.described_root(path) is not None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """What is no setting of a dataset is one of the reader that takes the recordings' format."""
        own = {name: value for name, value in settings.items() if name in cls.model_fields}
        rest = {name: value for name, value in settings.items() if name not in cls.model_fields}
        if rest.get("modalities"):
            own.setdefault("datatype", [FOLDER[name] for name in rest["modalities"] if name in FOLDER])
        return cls.model_validate({**own, "reader": {**own.get("reader", {}), **rest}})

    def dataset(self, path: Path) -> Recordings:
        """The recordings at or under a path. Raises `DataError` that says what there is if none is as asked for."""
        root = bids.root_of(path)
        if root is None:
            raise DataError(f"{path} lies in no BIDS dataset, which has a dataset_description.json")
        alone = bids.is_recording(path)
        paths = [path.absolute()] if alone else below(root, path)
        if not paths:
            raise DataError(f"{path} holds no recording of EEG, MEG, iEEG or BOLD as BIDS names them")
        asked = {name: words(getattr(self, name)) for name in bids.KEYS}
        wanted = {name: said for name, said in asked.items() if said and not spatial(name, paths)}
        empty = (
            []
            if wanted.get("subject") or alone
            else [one for one in paths if subject(one) == bids.EMPTY_ROOM]
        )
        paths = bids.chosen([one for one in paths if one not in empty], wanted, words(self.datatype))
        log = [LogLine(one.name, "left out: an empty room, there is no brain in it") for one in empty]
        entries = [entry(one) for one in paths]
        return Recordings(self, entries, skip=self.on_error == "skip", log=log, alone=alone)

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """The recordings of the dataset, of a pattern those that fit it. Raises `DataError` where there is none."""
        if self.on_error == "skip":
            raise DataError(
                "a data card counts its recordings, so none can be skipped; say `on_error: repair`, or choose by "
                "`subject:`, `session:`, `task:` or `run:`"
            )
        entries = list(self.dataset(folder).entries)
        if not pattern:
            return entries
        fits = compile_pattern(pattern)
        found = [one for one in entries if fits.fullmatch(one.path.relative_to(folder.absolute()).as_posix())]
        if not found:
            raise DataError(f"no recording of the dataset in {folder} fits the pattern {pattern!r}")
        return found

    def read(self, path: Path) -> Recording:
        """One recording, its tables applied, past the gate. Raises `DataError` in one sentence."""
        opened = self.prepare(path)
        try:
            return self.checked(opened)
        except DataError:
            if self.on_error != "repair" or not opened.other_unit:
                raise
            again = self.prepare(path, opened.other_unit)
            mended = f"channels.tsv and the recording differ on the unit: {opened.other_unit}, which alone is plausible"
            return self.checked(again).noting(REPAIRED + mended)

    def open(self, path: Path) -> Recording:
        """The recording as the file and its tables say it is, unchecked."""
        return self.prepare(path).recording

    def checked(self, opened: "Opened") -> Recording:
        """The recording past the gate; what the gate left out is a repair if this mends."""
        repairing = self.on_error == "repair"
        found = trustworthy(
            opened.recording,
            "drop" if repairing else opened.reader.on_bad,
            lambda: opened.reader.label(opened.path),
        )
        new = found.notes[len(opened.recording.notes) :]
        told = [REPAIRED + note if repairing and note.startswith("left out") else note for note in new]
        return replace(found, notes=(*opened.recording.notes, *told))

    def prepare(self, path: Path, unit: str | None = None) -> "Opened":
        """The recording with everything that lies beside it. `unit` is what its numbers are in, if not as labelled."""
        root, name = bids.root_of(path), bids.named(path)
        faults = Faults(self.on_error == "repair")
        if root is None or not bids.is_recording(path):
            part = self.part_for(path, {})
            note = "no recording of a BIDS dataset: read without the tables of one"
            return Opened(path, part, part.open(path).noting(note))
        if not (root / bids.DESCRIPTION).is_file():
            faults.meet(root.name, f"has no {bids.DESCRIPTION}", "it is taken as a dataset all the same")
        said = self.sidecar(root, path, name.suffix, faults)
        if issubclass(reader_of_file(path), MneFile):
            opened = self.field_signals(root, path, unit, faults)
            for signal in opened.recording.signals.values():
                sidecars.check_rate(said, signal.sfreq, f"{name.suffix}.json", faults)
        else:
            part = self.part_for(path, said, root)
            opened = Opened(path, part, self.contacts(root, path, part.open(path), faults))
        recording = self.with_events(root, path, opened.recording, faults)
        person = bids.participant(root, name.entities["sub"])
        if person is None:
            faults.meet(
                "participants.tsv", f"lacks sub-{name.entities['sub']}", "nothing is known of the person"
            )
        recording = replace(
            recording,
            dataset=root.name,
            subject=name.entities["sub"],
            session=name.entities.get("ses", ""),
            run=name.entities.get("run", ""),
            facts={"entities": dict(name.entities), "sidecar": said, "participant": person or {}},
        )
        return replace(opened, recording=recording.noting(*faults.notes))

    def part_for(self, path: Path, sidecar: Mapping[str, Any], root: Path | None = None) -> Reader:
        """The reader of the file's format, with the settings given and in their place what BIDS says of the file."""
        kind = reader_of_file(path)
        time = sidecar.get("RepetitionTime")
        said = {
            **({"tr": float(time)} if isinstance(time, int | float) else {}),
            **({"unit": "raw"} if path.parent.name == "func" and of_scanner(root) else {}),
            **({"modalities": ["seeg"]} if path.parent.name == "ieeg" and kind is not MneFile else {}),
        }
        known = {name: value for name, value in said.items() if name in kind.model_fields}
        given = {
            name: value
            for name, value in self.reader.items()
            if name != "modalities"
            or name in kind.model_fields  # a format of one instrument, chosen by its folder
        }
        return made(kind, {"on_bad": self.on_bad, **known, **given}, path)

    def field_signals(self, root: Path, path: Path, unit: str | None, faults: Faults) -> "Opened":
        """EEG, MEG and iEEG: channels by channels.tsv, places by electrodes.tsv."""
        bare = self.part_for(path, {})
        assert isinstance(bare, MneFile)
        if path.parent.name == "ieeg" and not bare.kinds and not bids.beside(root, path, "channels", ".tsv"):
            raise DataError(
                f"{path.name} has no channels.tsv, which would say whether its channels are SEEG or ECOG; "
                'say it: brainfm.read(..., kinds={"*": "seeg"})'
            )
        with listening() as heard:
            raw = bare.load(path)
            table = self.channels(root, path, raw.ch_names, faults)
            taken, other = (unit, None) if unit else unit_of(raw, table, faults)
            places = sidecars.electrodes(root, path, words(self.space), bare.electrodes, faults)
            changes = {
                "kinds": bare.kinds
                | {key: kind for key, kind in table.patterns.items() if key not in bare.kinds},
                "drop": [*bare.drop, *table.bad_patterns],
                **({"unit": taken} if taken and bare.unit is None else {}),
                **({"electrodes": places} if places is not None else {}),
            }
            part = bare.model_copy(update=changes)
            recording = part.convert(path, raw)
        if table.bad:
            faults.remarks.append(f"marked bad in channels.tsv: {', '.join(table.bad)}")
        return Opened(path, part, recording.noting(*heard), None if bare.unit else other)

    def contacts(self, root: Path, path: Path, recording: Recording, faults: Faults) -> Recording:
        """Contacts that another reader found, such as NWB's: kinds and what is bad by channels.tsv, places by electrodes.tsv."""
        if "seeg" not in recording.signals:
            return recording
        signal = recording.signal("seeg")
        names, sensors = signal.sensors.name, signal.sensors
        table = self.channels(root, path, names, faults)
        said = self.reader.get("electrodes")
        given = sidecars.electrodes(root, path, words(self.space), said and Electrodes(**said), faults)
        placed = None if given is None else electrodes_of(path, names, given)
        if placed is not None:
            region = tuple(new or old for new, old in zip(placed.region, sensors.region, strict=True))
            sensors = replace(sensors, position=placed.position, frame=placed.frame, region=region)
        kind = [table.kinds.get(name, kind) for name, kind in zip(names, sensors.kind, strict=True)]
        sensors = replace(sensors, kind=tuple(kind))
        keep = [
            row
            for row, name in enumerate(names)
            if name not in table.bad and table.kinds.get(name, "seeg") in sidecars.BRAIN
        ]
        if table.bad:
            faults.remarks.append(f"marked bad in channels.tsv: {', '.join(table.bad)}")
        if others := [name for row, name in enumerate(names) if row not in keep and name not in table.bad]:
            faults.remarks.append(f"left out, no brain signal: {', '.join(others)}")
        kept = replace(signal, data=rows(signal.data, keep), sensors=sensors.take(keep))
        return recording.with_signal("seeg", kept)

    def channels(self, root: Path, path: Path, names: Sequence[str], faults: Faults) -> Channels:
        """What channels.tsv says, under the file's names; nothing where there is none."""
        found = bids.beside(root, path, "channels", ".tsv")
        if not found:
            return Channels()
        # CTF's files add the number of the sensors' calibration to a name, tables of the dataset do not
        cut = path.suffix == ".ds" and not any("-" in row.get("name", "") for row in bids.table(found[-1]))
        spoken = {re.sub(r"-\d+$", "", name) if cut else name: name for name in names}
        table = sidecars.channels(found[-1], list(spoken), path.parent.name, faults)
        return Channels(
            {spoken[name]: kind for name, kind in table.kinds.items()},
            [spoken[name] for name in table.bad],
            {spoken[name]: unit for name, unit in table.units.items()},
        )

    def with_events(self, root: Path, path: Path, recording: Recording, faults: Faults) -> Recording:
        """The recording with the events of the table beside it, else with those that it holds itself."""
        # one table serves all images that were made of a run
        found = bids.beside(root, path, "events", ".tsv", less=("space", "res", "den", "desc", "echo"))
        if not found:
            return recording
        pauses = Pauses(recording.pauses)
        seconds = longest(recording) + pauses.seconds
        events = sidecars.events(found[-1], seconds, self.event_column, faults)
        return replace(recording, events=pauses.leave_out(events))

    def sidecar(self, root: Path, path: Path, suffix: str, faults: Faults) -> dict[str, Any]:
        """What the JSON files of a recording say together, the nearest before those above it."""
        said: dict[str, Any] = {}
        for file in bids.beside(root, path, suffix, ".json"):
            try:
                said.update(bids.sidecar([file]))
            except DataError as error:
                faults.meet(
                    file.name, str(error).removeprefix(f"{file.name} "), "what it says is not known then"
                )
        return said


@dataclass(frozen=True)
class Opened:
    """A recording before the gate, the reader that took it, and the unit that another source gives to its numbers."""

    path: Path
    reader: Reader
    recording: Recording
    other_unit: str | None = None


def made(kind: type[Reader], settings: Mapping[str, Any], path: Path) -> Reader:
    """The reader with these settings. Raises `DataError` for one that it does not know, or lacks."""
    try:
        return kind.of(settings)
    except ValidationError as error:
        raise DataError(str(explain(error, f"reader of {path.name}"))) from error


def of_scanner(root: Path | None) -> bool:
    """Whether a dataset holds images as the scanner gave them: it is no derivative."""
    file = root / bids.DESCRIPTION if root else None
    return file is not None and file.is_file() and bids.sidecar([file]).get("DatasetType", "raw") == "raw"


def unit_of(raw: Any, table: Channels, faults: Faults) -> tuple[str | None, str | None]:
    """The unit to take the file's numbers in (None: as labelled), and the other one that is in question.

    A label in the file counts before the table's; formats without labels take the table's.
    """
    units = {
        (unit, stored_unit(raw, name), labelled(raw, name))
        for name, unit in table.units.items()
        if unit != stored_unit(raw, name)
    }
    if len(units) != 1 or len(set(table.units.values())) != 1:
        return None, None
    ((said, own, sure),) = units
    if not sure:
        return said, own
    faults.remarks.append(
        f"channels.tsv gives the signals in {said}, the file in {own}: the file's label counts"
    )
    return None, said


def below(root: Path, path: Path) -> list[Path]:
    """The recordings of a dataset that lie at or under a path."""
    where = path.absolute()
    return [one for one in bids.recordings(root) if one.is_relative_to(where)]


def entry(path: Path) -> Entry:
    """A recording under the entities of its name."""
    said = bids.named(path).entities
    return Entry(path, said["sub"], said.get("ses", ""), said.get("run", ""))


def subject(path: Path) -> str:
    """Whose recording it is."""
    return bids.named(path).entities["sub"]


def spatial(entity: str, paths: list[Path]) -> bool:
    """Whether a space was asked for that no recording's name has: it is then the one of the contacts' positions."""
    return entity == "space" and not any("space" in bids.named(path).entities for path in paths)


def words(said: Words) -> list[str]:
    """One word or several, as a list; empty where nothing is said."""
    return [said] if isinstance(said, str) and said else list(said)
