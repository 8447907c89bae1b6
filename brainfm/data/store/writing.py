"""Preparing one recording: its files under their names only when they are whole, then a receipt that says so."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from brainfm.data.fingerprint import fingerprint
from brainfm.data.preprocess import Step, prepare_lazily
from brainfm.data.recording import Recording, Signal, Track
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.spool import Spool
from brainfm.data.store.arrays import MARK, SPIKE, n_marks
from brainfm.data.store.codec import Held, coding
from brainfm.data.store.table import FORMAT, Row, SignalRow, TrackRow, fingerprint_row, sensors_json
from brainfm.errors import DataError
from brainfm.files import settle, write_json

PASSING, RECEIPTS = "passing", "receipts"
"""Folders within a store while it is prepared: files without a name of their own yet, and rows of what is done."""


@dataclass(frozen=True)
class Order:
    """How a recording is to be prepared: the steps of each modality, and how samples are held."""

    steps: Mapping[str, Sequence[Step]]
    held: Held = "int16"

    def key(self, facts: Mapping[str, Any], entry: str) -> str:
        """What a prepared recording is made from, hashed: the facts of its card and file, the steps, the format."""
        steps = {name: [step.model_dump(mode="json") for step in these] for name, these in self.steps.items()}
        made_from = {"format": FORMAT, "facts": facts, "entry": entry, "steps": steps, "held": self.held}
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


def write_recording(root: Path, order: Order, recording: Recording, entry: str, key: str) -> Row:
    """The raw recording prepared and written, with its receipt. Killed at any moment, it leaves nothing half under a name."""
    folder = root / (recording.dataset or "recordings")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in recording.signals if name in order.steps]
    if not wanted:
        raise DataError(
            f"{recording.name} holds {', '.join(recording.signals)}, but only {', '.join(order.steps)} is to be prepared"
        )
    prints = [fingerprint_row(fingerprint(recording, name)) for name in wanted]
    notes = recording.notes
    with TemporaryDirectory(dir=root / PASSING) as made:
        scratch = Path(made)
        signals = []
        for name in wanted:
            ready = prepare_lazily(recording, order.steps[name], name, scratch)
            notes = (*notes, *ready.notes[len(recording.notes) :])
            signals.append(
                write_signal(ready.signal(name), name, order.held, scratch, folder / key, ready.name)
            )
        tracks, held = write_tracks(recording.tracks, scratch, folder / f"{key}.tracks", recording.name)
    left = [name for name in recording.signals if name not in wanted]
    row = Row(
        card=recording.dataset,
        entry=entry,
        key=key,
        subject=recording.subject,
        session=recording.session,
        run=recording.run,
        source=recording.source,
        content_hash=recording.content_hash,
        signals=signals,
        onset=recording.events.onset.tolist(),
        duration=recording.events.duration.tolist(),
        label=list(recording.events.label),
        tracks=tracks,
        **held,
        notes=[*notes, *([f"store: left out {', '.join(left)}"] if left else []), *map(said, signals)],
        fingerprints=prints,
    )
    write_json(root / RECEIPTS / f"{key}.json", asdict(row))
    return row


def said(signal: SignalRow) -> str:
    """What holding it cost, for the recording's notes."""
    cost = "as they are" if not signal.error else f"off by {signal.error:.1e} robust scales at most"
    return f"store: {signal.modality} as {signal.held}, {cost}"


def write_signal(
    signal: Signal, modality: str, held: Held, scratch: Path, stem: Path, where: str
) -> SignalRow:
    """The samples or spikes of a prepared signal, in a file of their own, whole."""
    shared: dict[str, Any] = {
        "modality": modality,
        "sfreq": signal.sfreq,
        "times": signal.n_times,
        "sensors": sensors_json(signal.sensors),
        "breaks": list(signal.breaks),
    }
    if isinstance(signal.data, SpikeTimes):
        name = stem.with_name(f"{stem.name}.{modality}.spikes")
        written = Written(scratch, name)
        for part in spike_bytes(signal.data):
            written.add(part)
        return SignalRow(**shared, **written.settle(), held="spikes", seconds=signal.data.seconds)
    spool = Spool.of(signal, scratch)
    how = coding(spool, held, signal.sensors.name, where)
    written, error = Written(scratch, stem.with_name(f"{stem.name}.{modality}.{held}")), 0.0
    for block in spool.blocks():
        stored = how.encode(block)
        error = max(error, how.error(block, stored))
        written.add(stored)
    return SignalRow(
        **shared,
        **written.settle(),
        held=held,
        seconds=signal.seconds,
        scale=how.scale.tolist(),
        offset=how.offset.tolist(),
        robust=how.robust.tolist(),
        error=error,
    )


def spike_bytes(spikes: SpikeTimes) -> tuple[np.ndarray, np.ndarray]:
    """The index of spikes before each mark, and the spikes."""
    marks = np.arange(n_marks(spikes.seconds)) * MARK
    records = np.empty(len(spikes.time), SPIKE)
    records["time"], records["neuron"] = spikes.time, spikes.neuron
    return np.searchsorted(spikes.time, marks).astype("<i8"), records


def write_tracks(
    tracks: Mapping[str, Track], scratch: Path, path: Path, where: str
) -> tuple[list[TrackRow], dict[str, Any]]:
    """All tracks of a recording in one file, value after value; no file where there is none."""
    if not tracks:
        return [], {"tracks_file": "", "tracks_bytes": 0, "tracks_sha256": ""}
    written, rows = Written(scratch, path), []
    for name, track in tracks.items():
        data = np.asarray(track.data)
        if data.dtype.hasobject:
            raise DataError(
                f"{where}: track {name} holds objects, which no file can; make it numbers or text"
            )
        rows.append(
            TrackRow(
                name, written.bytes, data.dtype.str, list(data.shape), track.rate, track.unit, track.start
            )
        )
        written.add(data)
    return rows, {f"tracks_{name}": value for name, value in written.settle().items()}


class Written:
    """A file that is written piece by piece under a passing name, and gets its own when it is whole and on disk."""

    def __init__(self, scratch: Path, path: Path) -> None:
        self.path, self.passing = path, scratch / path.name
        self.file = self.passing.open("wb")
        self.digest, self.bytes = hashlib.sha256(), 0

    def add(self, values: np.ndarray) -> None:
        """These values behind what is there."""
        data = np.ascontiguousarray(values).tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def settle(self) -> dict[str, Any]:
        """Give the file its name; what a manifest says of it, its name within the store."""
        self.file.close()
        settle(self.passing, self.path)
        return {
            "file": f"{self.path.parent.name}/{self.path.name}",
            "bytes": self.bytes,
            "sha256": self.digest.hexdigest(),
        }
