"""What happened when: events from annotations, stimulus channels, a file beside the recording, or its
name."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.pauses import Pauses
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Events, Recording
from brainfm.errors import DataError
from brainfm.part import Settings


class EventSource(Settings):
    """Where a card says that a recording's events are.

    `auto` takes what the file holds (annotations, else a stimulus channel), else a BIDS events.tsv beside
    it. `file` is a name beside the recording such as "{stem}-eve.fif". `codes` turns a code or description
    into a label, and only those in it are kept; without it all are. `duration`, in seconds, replaces what
    the source says.
    """

    source: Literal["auto", "annotations", "stim", "bids", "file", "name"] = "auto"
    file: str = ""
    codes: dict[str, str] = Field(default={})
    duration: float | None = None
    field: Literal["subject", "session", "run"] = "run"


def attach_events(recording: Recording, source: EventSource, entry: Entry, reader: Reader) -> Recording:
    """The recording with the events that `source` describes; codes that it does not list are counted in a
    note."""
    events = gather(recording, source, entry, reader)
    labelled, unknown = relabel(events, source.codes)
    if source.duration is not None:
        labelled = replace(labelled, duration=np.full(len(labelled), source.duration))
    notes = [f"{count} events {code!r} have no label and were left out" for code, count in unknown.items()]
    return within(replace(recording, events=labelled).noting(*notes))


def within(recording: Recording) -> Recording:
    """The recording without events that lie outside it, with a note."""
    events = recording.events
    inside = (events.onset >= 0) & (events.onset < longest(recording))  # False where there is no time
    if inside.all():
        return recording
    timeless = ", or have no time," if np.isnan(events.onset).any() else ""
    note = f"{int((~inside).sum())} events lie outside the recording{timeless} and were left out"
    return replace(recording, events=select(events, inside)).noting(note)


def has_events(recording: Recording, source: EventSource, entry: Entry, reader: Reader) -> bool:
    """Whether there is anything to read events from; a source that is there but broken is for `attach_events` to refuse."""
    if source.source == "file":
        return (entry.path.parent / source.file.replace("{stem}", stem(entry.path))).exists()
    if source.source == "bids":
        return bids_path(entry.path).exists()
    if source.source in ("annotations", "stim"):
        return bool(len(recording.events))
    return True


def gather(recording: Recording, source: EventSource, entry: Entry, reader: Reader) -> Events:
    """The events of one source, still under their own codes; those beside a file are on its clock, which pauses may stop."""
    pauses = Pauses(recording.pauses)
    if source.source == "name":
        value = getattr(entry, source.field)
        return Events(np.zeros(1), np.array([longest(recording)]), (value,))
    if source.source == "file":
        if not source.file:
            raise DataError('events from a file need its name, such as `file: "{stem}-eve.fif"`')
        path = beside(entry.path, source.file)
        return pauses.leave_out(from_file(path, recording, reader.first_sample(entry.path)))
    if source.source == "bids":
        return pauses.leave_out(from_tsv(bids_path(entry.path)))
    if source.source in ("annotations", "stim"):
        return reader.events_in(entry.path, source.source)
    if not len(recording.events) and bids_path(entry.path).exists():
        return pauses.leave_out(from_tsv(bids_path(entry.path)))
    return recording.events


def relabel(events: Events, codes: dict[str, str]) -> tuple[Events, Counter[str]]:
    """The events under their labels, sorted by onset, and how many had a code without one."""
    keep = np.array([not codes or code in codes for code in events.label], dtype=bool)
    unknown = Counter(code for code, kept in zip(events.label, keep, strict=True) if not kept)
    kept = select(events, keep)
    kept = replace(kept, label=tuple(codes.get(code, code) for code in kept.label))
    return select(kept, np.argsort(kept.onset, kind="stable")), unknown


def select(events: Events, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Events:
    """Some of the events, by mask or by index."""
    chosen = np.arange(len(events))[rows]
    return Events(events.onset[chosen], events.duration[chosen], tuple(events.label[row] for row in chosen))


def longest(recording: Recording) -> float:
    """How long the recording is, in seconds."""
    return max(signal.seconds for signal in recording.signals.values())


def stem(path: Path) -> str:
    """A recording's name without format and kind: `rest_raw.fif.gz` and `rest_eeg.vhdr` are `rest`."""
    return re.sub(r"[-_](raw|eeg|meg|ieeg|epo|bold)$", "", bare(path))


def bare(path: Path) -> str:
    """A file's name without its format: `rest_bold.nii.gz` and `rest_bold.dtseries.nii` are `rest_bold`."""
    name = path.name.removesuffix(".gz")
    return re.sub(r"\.(dtseries|ptseries|func)$", "", name.rpartition(".")[0] or name)


def beside(path: Path, name: str) -> Path:
    """The file that lies beside a recording under a name derived from its own."""
    file = path.parent / name.replace("{stem}", stem(path))
    if not file.exists():
        raise DataError(f"{path.name}: its events should be in {file.name}, which is not there")
    return file


def bids_path(path: Path) -> Path:
    """Where BIDS puts the events of a recording (BIDS 1.10, "Task events")."""
    return path.with_name(f"{stem(path)}_events.tsv")


def from_file(path: Path, recording: Recording, first_sample: int) -> Events:
    """Events of a FIF or text event list of MNE (sample, 0, code), or of a table in BIDS's form."""
    import mne

    if path.suffix in (".tsv", ".csv"):
        return from_tsv(path)
    try:
        found = mne.read_events(path, verbose="error")
    except (ValueError, OSError, RuntimeError) as error:
        raise DataError(f"{path.name} can't be read as events ({first_line(error)})") from error
    sfreq = next(iter(recording.signals.values())).sfreq
    return from_array(found, sfreq, first_sample)


def from_array(found: NDArray[np.int64], sfreq: float, first_sample: int) -> Events:
    """Events from MNE's array of (sample, previous code, code), in seconds from the recording's first
    sample."""
    onset = (found[:, 0] - first_sample) / sfreq
    return Events(onset, np.zeros(len(found)), tuple(str(code) for code in found[:, 2]))


def from_tsv(path: Path) -> Events:
    """Events of a BIDS table: `onset`, `duration`, and `trial_type`, else `value`, as the code."""
    import pandas as pd

    if not path.exists():
        raise DataError(f"the events should be in {path.name}, which is not there")
    table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    column = next((name for name in ("trial_type", "value") if name in table), None)
    if column is None or "onset" not in table:
        raise DataError(
            f"{path.name} needs the columns onset and trial_type (or value); "
            f"it has {', '.join(map(str, table))}"
        )
    table = table[~table[column].isin(["n/a", ""])]
    onset = pd.to_numeric(table["onset"], errors="coerce")
    if onset.isna().any():
        raise DataError(
            f"{path.name}: the onset {table['onset'][onset.isna()].iloc[0]!r} is not a number of seconds"
        )
    duration = pd.to_numeric(table.get("duration", pd.Series("0", table.index)), errors="coerce").fillna(0.0)
    return Events(onset.to_numpy(float), duration.to_numpy(float), tuple(table[column]))


def first_line(error: BaseException) -> str:
    """The first line of another library's message, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
