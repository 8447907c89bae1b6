"""The recordings of a dataset, each read when it is asked for, with a log of what was repaired or left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from brainfm.data.events import EventSource, attach_events
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording
from brainfm.errors import DataError


@dataclass(frozen=True)
class LogLine:
    """What was wrong with one recording, and what became of it."""

    recording: str
    said: str


@dataclass
class Recordings:
    """What `brainfm.read` gives for a dataset: iterate, index or slice; nothing is read before.

    `entries` are the files that were found, with what their names say; `alone` says that the path named one recording. `log`
    grows as recordings are read: a line for every repair and for every recording that was left out. With `skip`, iterating
    leaves out what can't be read; `len` and an index still count it, and asking for it by index raises.
    """

    reader: Reader
    entries: Sequence[Entry]
    events: EventSource | None = None
    skip: bool = False
    log: list[LogLine] = field(default_factory=list)
    alone: bool = False

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Recording]:
        for entry in self.entries:
            try:
                yield self.read(entry)
            except DataError as error:
                if not self.skip:
                    raise
                self.note(entry, f"left out: {error}")

    @overload
    def __getitem__(self, which: int) -> Recording: ...
    @overload
    def __getitem__(self, which: slice) -> "Recordings": ...
    def __getitem__(self, which: int | slice) -> "Recording | Recordings":
        if isinstance(which, slice):
            return Recordings(self.reader, self.entries[which], self.events, self.skip, self.log)
        return self.read(self.entries[which])

    def read(self, entry: Entry) -> Recording:
        """One of the recordings, its repairs logged. Raises `DataError` in one sentence."""
        recording = self.reader.read(entry.path)
        if self.events is not None:
            recording = attach_events(recording, self.events, entry, self.reader)
        for repair in recording.repairs:
            self.note(entry, repair)
        return recording

    def note(self, entry: Entry, said: str) -> None:
        """One more line of the log; a recording that is read twice is logged once."""
        line = LogLine(entry.path.name, said)
        if line not in self.log:
            self.log.append(line)

    def __repr__(self) -> str:
        people = len({entry.subject for entry in self.entries})
        return f"<{len(self)} recordings of {people} subjects, unread; iterate over them, or take one: [0]>"


def line_of(recording: Recording, said: str) -> LogLine:
    """A line of the log of a recording that was read by itself."""
    return LogLine(recording.name, said)


def summary(recording: Recording) -> dict[str, Any]:
    """What a recording holds, in plain values."""
    signals = {
        name: f"{len(signal.sensors)} sensors, {signal.sfreq:g} Hz, {signal.seconds:g} s"
        for name, signal in recording.signals.items()
    }
    return {
        "recording": recording.name,
        "subject": recording.subject,
        "session": recording.session,
        "run": recording.run,
        "signals": "; ".join(f"{name}: {held}" for name, held in signals.items()),
        "events": len(recording.events),
        "repairs": len(recording.repairs),
    }


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as a table of plain text, without the columns in which nothing stands; "" for no rows."""
    if not rows:
        return ""
    columns = [
        [name, *(str(row[name]) for row in rows)] for name in rows[0] if any(row[name] != "" for row in rows)
    ]
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))
