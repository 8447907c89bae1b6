"""Reading: a path, an object of MNE or an array in, a checked `Recording` out, of a dataset all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from brainfm.data.bids import asked
from brainfm.data.events import EventSource, attach_events
from brainfm.data.formats import reader_for, reads_datasets
from brainfm.data.gate import OnBad, trustworthy
from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import Positions
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Events, Recording, Signal
from brainfm.data.recordings import Recordings
from brainfm.data.selection import SensorChoice
from brainfm.data.units import in_si
from brainfm.errors import DataError
from brainfm.part import explain, find


def read(
    source: Any,
    *,
    modality: str | None = None,
    montage: str | None = None,
    unit: str | None = None,
    positions: Positions | None = None,
    reader: Reader | str | Mapping[str, Any] | None = None,
    events: EventSource | None = None,
    on_bad: OnBad | None = None,
    subject: str | list[str] = "",
    session: str | list[str] = "",
    run: str | list[str] = "",
    **settings: Any,
) -> Any:
    """A checked `Recording` in SI units from a file, a `mne_bids.BIDSPath`, an `mne.io.Raw` or an `mne.Epochs`; of a
    folder in BIDS, `Recordings` that are read one after another (a type checker can't tell a folder: hence Any).

    The file's name chooses the reader, or `reader` names one. `montage` names where the sensors are if the source does not say;
    `positions="none"` goes without; `unit` overrides a wrong label ("mV"); `on_bad="drop"` leaves out dead sensors; all
    other settings are those of the reader (`tr=2.5`). In BIDS `subject`, `session`, `run`, `task`, ... choose among the
    recordings, and `on_error` is "raise", "skip" or "repair" where a table is at fault; of a single file `subject`,
    `session` and `run` say whose it is. Raises `DataError` in one sentence. For an array see `from_array`.
    """
    wanted = asked(source)
    if wanted is not None:
        source, entities = wanted
        reader, settings = reader or "bids", {**entities, **settings}
    only = None if modality is None else [find_modality(modality).name]
    given = {"montage": montage, "unit": unit, "positions": positions, "on_bad": on_bad, "modalities": only}
    settings |= {key: value for key, value in given.items() if value is not None}
    labels = {"subject": subject, "session": session, "run": run}
    if not isinstance(source, str | Path):
        return read_object(source, reader_of(reader or "mne_file", settings), events, labels)
    path = Path(source)
    kind = class_of(reader) if reader is not None else reader_for(path, settings.keys())
    if reads_datasets(kind):  # they choose among its recordings
        settings |= {name: value for name, value in labels.items() if value}
    elif "modalities" not in kind.model_fields:  # a format of one instrument, which is looked at below
        settings.pop("modalities", None)
    part = reader_of(reader if reader is not None else kind, settings)
    found = part.dataset(path)
    if found is None:
        recording = read_entry(part, Entry(path, **one_each(labels)), events)
        if modality is not None:
            recording.signal(modality)
        return recording
    found.events = events
    return only_one(found) if found.alone or wanted is not None else found


def read_one(path: str | Path, **settings: Any) -> Recording:
    """`read` where only one recording will do. Raises `DataError` for a dataset."""
    found = read(path, **settings)
    if isinstance(found, Recordings):
        raise DataError(f"{path} holds {len(found)} recordings; give one of them: {found.entries[0].path}")
    recording: Recording = found
    return recording


def only_one(found: Recordings) -> Recording:
    """The recording that a path to one names. Raises `DataError` that lists them if it fits several."""
    if len(found) > 1:
        names = ", ".join(entry.path.name for entry in found.entries[:4])
        raise DataError(
            f"the BIDSPath fits {len(found)} recordings ({names}{', …' if len(found) > 4 else ''}); say more of its "
            "entities, or read the dataset's folder"
        )
    return found[0]


def one_each(labels: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Whose a single file is. Raises `DataError` for a list, which chooses among several."""
    if several := [name for name, value in labels.items() if not isinstance(value, str)]:
        raise DataError(f"{several[0]} is one word for one file; a list chooses in a BIDS dataset")
    return {name: str(value) for name, value in labels.items()}


def read_object(
    source: Any, part: Reader, events: EventSource | None, labels: Mapping[str, str | list[str]]
) -> Recording:
    """A checked recording from an object of MNE, named, with its events."""
    said = one_each(labels)
    found = from_object(source, part)
    recording = replace(found, subject=said["subject"], session=said["session"], run=said["run"])
    if events is None:
        return recording
    if events.source in ("file", "bids"):
        raise DataError("an object in memory has no event file beside it; give its events with the object")
    return attach_events(recording, events, Entry(Path(recording.name), **said), part)


def read_entry(
    reader: Reader, entry: Entry, events: EventSource | None = None, dataset: str = ""
) -> Recording:
    """One entry of a dataset: its file read and checked, its events attached, its place in the dataset filled in; where
    the entry says nothing of it, the file may."""
    found = reader.read(entry.path)
    recording = replace(
        found,
        dataset=dataset,
        subject=entry.subject or found.subject,
        session=entry.session or found.session,
        run=entry.run or found.run,
    )
    return attach_events(recording, events or EventSource(), entry, reader)


def from_array(
    data: NDArray[Any],
    sfreq: float,
    names: Sequence[str],
    unit: str = "V",
    montage: str | None = None,
    events: Events | None = None,
    positions: Positions = "auto",
    on_bad: OnBad = "refuse",
) -> Recording:
    """A checked EEG recording from `data` of shape (sensor, time) in `unit`, sampled at `sfreq` hertz."""
    data = np.asarray(data, dtype=np.float64) * in_si(unit)
    if data.ndim != 2 or len(data) != len(names):
        raise DataError(f"data of shape {data.shape} is not (sensor, time) for {len(names)} names")
    choice = SensorChoice(montage=montage, positions=positions)
    selected = choice.select(names, ["eeg"] * len(names), None, "array")
    signal = Signal(data[selected.rows], float(sfreq), selected.sensors)
    recording = Recording(
        {"eeg": signal}, events=events or Events(), source="array", notes=tuple(selected.notes)
    )
    return trustworthy(recording, on_bad, lambda: unit)


def from_object(source: Any, part: Reader) -> Recording:
    """A checked recording from an `mne.io.Raw` or `mne.Epochs`, under the choices of a `mne_file` reader."""
    import mne

    from brainfm.data.from_mne import listening, recording_of_epochs, recording_of_raw, stored_unit
    from brainfm.data.readers.mne_file import MneFile

    if not isinstance(part, MneFile) or not isinstance(source, mne.io.BaseRaw | mne.BaseEpochs):
        raise DataError(
            f"a {type(source).__name__} can't be read; give a path, an mne Raw or Epochs, or use from_array"
        )
    name = (
        Path(source.filenames[0]).name if getattr(source, "filenames", (None,))[0] else type(source).__name__
    )
    make = recording_of_epochs if isinstance(source, mne.BaseEpochs) else recording_of_raw
    with listening() as heard:
        recording = make(source, part, part.unit, name)
    label = part.unit or stored_unit(source, source.ch_names[0])
    return trustworthy(recording.noting(*heard), part.on_bad, lambda: label)


def reader_of(reader: Reader | type[Reader] | str | Mapping[str, Any], changes: Mapping[str, Any]) -> Reader:
    """The reader part that `reader` names or is, with these settings changed. Raises `DataError` for one that
    it lacks."""
    cls = class_of(reader)
    fields: Mapping[str, Any] = {}
    if isinstance(reader, Reader):
        fields = {name: getattr(reader, name) for name in reader.model_fields_set}
    elif isinstance(reader, Mapping):
        fields = {name: value for name, value in reader.items() if name != "kind"}
    try:
        return cls.of({**fields, **changes})
    except ValidationError as error:
        raise DataError(str(explain(error, f"reader {cls.__name__}"))) from error


def class_of(reader: Reader | type[Reader] | str | Mapping[str, Any]) -> type[Reader]:
    """The part that a reader is, or that its kind names. Raises `DataError` for a kind that is not known."""
    if isinstance(reader, Reader):
        return type(reader)
    if isinstance(reader, type):
        return reader
    kind = reader if isinstance(reader, str) else str(reader.get("kind", "mne_file"))
    try:
        return find(Reader, kind, {"trust": True})
    except ValueError as error:
        raise DataError(f"reader {error}") from error
