"""Reading one recording: a path, an object of MNE or an array in, a checked `Recording` out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from brainfm.data.events import EventSource, attach_events
from brainfm.data.gate import OnBad, trustworthy
from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import Positions
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Events, Recording, Signal
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
    subject: str = "",
    session: str = "",
    run: str = "",
) -> Recording:
    """A checked recording from a file, an `mne.io.Raw` or an `mne.Epochs`, in SI units.

    `montage` names where the sensors are if the source does not say; `positions="none"` goes without;
    `unit` overrides a wrong label ("mV"); `reader` names a reader part (default: `mne_file`);
    `on_bad="drop"` leaves out dead sensors. Raises `DataError` in one sentence. For an array see
    `from_array`.
    """
    only = None if modality is None else [find_modality(modality).name]
    given = {"montage": montage, "unit": unit, "positions": positions, "on_bad": on_bad, "modalities": only}
    part = reader_of(reader, {key: value for key, value in given.items() if value is not None})
    if isinstance(source, str | Path):
        entry = Entry(Path(source), subject, session, run)
        return read_entry(part, entry, events)
    recording = replace(from_object(source, part), subject=subject, session=session, run=run)
    if events is None:
        return recording
    if events.source in ("file", "bids"):
        raise DataError("an object in memory has no event file beside it; give its events with the object")
    return attach_events(recording, events, Entry(Path(recording.name), subject, session, run), part)


def read_entry(
    reader: Reader, entry: Entry, events: EventSource | None = None, dataset: str = ""
) -> Recording:
    """One entry of a dataset: its file read and checked, its events attached, its place in the dataset
    filled in."""
    recording = replace(
        reader.read(entry.path),
        dataset=dataset,
        subject=entry.subject,
        session=entry.session,
        run=entry.run,
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


def reader_of(reader: Reader | str | Mapping[str, Any] | None, changes: Mapping[str, Any]) -> Reader:
    """The reader part that `reader` names or is, with these fields changed. Raises `DataError` for a field
    it lacks."""
    if isinstance(reader, Reader):
        cls, fields = type(reader), {name: getattr(reader, name) for name in reader.model_fields_set}
    else:
        described = (
            {"kind": reader or "mne_file"} if reader is None or isinstance(reader, str) else dict(reader)
        )
        try:
            cls = find(Reader, str(described.pop("kind", "mne_file")), {"trust": True})
        except ValueError as error:
            raise DataError(f"reader {error}") from error
        fields = described
    try:
        return cls.model_validate({**fields, **changes})
    except ValidationError as error:
        raise DataError(str(explain(error, f"reader {cls.__name__}"))) from error
