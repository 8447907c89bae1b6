"""Prepared recordings on disk or in object storage: opened by one manifest, read window by window.

A store is a folder, or an URL that fsspec knows, with `manifest.parquet` and one flat file of samples per signal: time after
time, two bytes a sample, so that a window is one stretch of bytes, mapped here or fetched by range from elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.fingerprint import Fingerprint
from brainfm.data.preprocess import Step
from brainfm.data.recording import Events, Recording, Signal, Track
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.store.arrays import StoredSamples, StoredSpikes, StoredTrack
from brainfm.data.store.files import StoredFile, is_remote, local, whole
from brainfm.data.store.table import NAME, Row, SignalRow, TrackRow, columns_but, digest, read, sensors_of
from brainfm.errors import DataError


@dataclass(frozen=True)
class Store:
    """A prepared store at `root`: its `rows`, one a recording, and the `steps` that each modality went through, as recipes
    write them."""

    root: str
    rows: Sequence[Row]
    steps: Mapping[str, Sequence[Mapping[str, Any]]]

    @cached_property
    def cards(self) -> list[str]:
        """The data cards that it holds, in order."""
        return list(dict.fromkeys(row.card for row in self.rows))

    def recordings(self, card: str | None = None) -> list[Recording]:
        """The recordings of a card, or all, their samples still in the store. Raises `DataError` for a card that it lacks."""
        if card is not None and card not in self.cards:
            raise DataError(
                f"{self.root} holds {', '.join(self.cards) or 'no card'}, not {card}; "
                f"add it: brainfm data prepare {card} --out {self.root}"
            )
        prints = Prints(self.root)
        return [
            recording_of(row, number, self.root, prints)
            for number, row in enumerate(self.rows)
            if card in (None, row.card)
        ]

    def done(self, steps: Sequence[Step], modality: str) -> int:
        """How many of `steps`, from the first, the store has done. Raises `DataError` where it did others."""
        there = list(self.steps.get(modality, []))
        wanted = [step.model_dump(mode="json") for step in steps]
        if wanted[: len(there)] != there:
            raise DataError(
                f"{self.root} holds {modality} prepared by {words(there)}, the recipe prepares it by {words(wanted)}; "
                "prepare a store with the recipe's tokenizer"
            )
        return len(there)

    def check(self) -> list[tuple[str, str, str]]:
        """(file, said, found) of every file that is not what was prepared. Reads all of the store."""
        problems = []
        try:
            rows, about = manifest(self.root)
            found = digest([Row.of(row) for row in rows], json.loads(about["steps"]))
            if found != about["digest"]:
                problems.append((NAME, about["digest"], found))
        except (DataError, KeyError, TypeError, ValueError) as error:
            problems.append((NAME, "a manifest", str(error)))
        for name, size, said in dict.fromkeys(file for row in self.rows for file in row.files):
            try:
                actual = StoredFile(self.root, name, size).sha256()
            except DataError as error:
                problems.append((name, f"{size} bytes", str(error)))
                continue
            if actual != said:
                problems.append((name, f"sha256 {said}", f"sha256 {actual}"))
        return problems


def open_store(root: str | Path, verify: bool = False) -> Store:
    """The store at a folder or URL, by its manifest alone. With `verify` every byte is read and compared with its checksum.

    Raises `DataError` where there is none, or where it is damaged.
    """
    at = str(root).rstrip("/")
    rows, about = manifest(at, columns_but("fingerprints"))
    try:
        store = Store(at, [Row.of(row) for row in rows], json.loads(about["steps"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{at}/{NAME} is damaged ({error}); remove the store and prepare it again") from error
    if verify and (problems := store.check()):
        name, _, found = problems[0]
        others = f", and {len(problems) - 1} more files" if len(problems) > 1 else ""
        raise DataError(
            f"{at}: {name} is not what was prepared ({found}){others}; remove it and prepare the store again"
        )
    return store


def is_store(root: str | Path) -> bool:
    """Whether there is a store: a folder with a manifest, or an URL."""
    return is_remote(str(root)) or (local(str(root)) / NAME).is_file()


def manifest(root: str, columns: Sequence[str] | None = None) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The manifest's rows, of these columns, and what it says about all of them."""
    if is_remote(root):
        (held,) = (content for _, content in whole(root, [NAME]))
        return read(held, f"{root}/{NAME}", columns)
    path = local(root) / NAME
    if not path.is_file():
        raise DataError(f"{root} holds no prepared store; make one: brainfm data prepare CARD --out {root}")
    return read(path, str(path), columns)


class Prints:
    """The fingerprints of a store's raw recordings: a column of the manifest that is read when the first is asked for."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __call__(self, row: int, signal: int) -> Fingerprint:
        held = fingerprints(self.root)[row][signal]
        return Fingerprint(held["seconds_per_stretch"], held["modulus"], held["stretches"])


@lru_cache(maxsize=8)
def fingerprints(root: str) -> list[list[dict[str, Any]]]:
    """By row and signal."""
    return [row["fingerprints"] for row in manifest(root, ["fingerprints"])[0]]


def recording_of(row: Row, number: int, root: str, prints: Prints) -> Recording:
    """The recording of a row."""
    signals = {
        signal.modality: signal_of(signal, root, partial(prints, number, place))
        for place, signal in enumerate(row.signals)
    }
    held = StoredFile(root, row.tracks_file, row.tracks_bytes)
    tracks = {track.name: track_of(track, held) for track in row.tracks}
    return Recording(
        signals,
        Events(np.array(row.onset, float), np.array(row.duration, float), tuple(row.label)),
        tracks,
        row.card,
        row.subject,
        row.session,
        row.run,
        row.source,
        row.content_hash,
        tuple(row.notes),
    )


def track_of(row: TrackRow, held: StoredFile) -> Track:
    """A track, no array until it is asked for: a film may go with an hour of signal."""
    data: Any = StoredTrack(held, row.at, row.dtype, row.shape)
    return Track(data, row.rate, row.unit, row.start)


def signal_of(row: SignalRow, root: str, raw: Any) -> Signal:
    """The signal of a row, its samples or spikes still in the store."""
    sensors = table_of(row.sensors)
    file = StoredFile(root, row.file, row.bytes)
    data: StoredSamples | SpikeTimes
    if row.held == "spikes":
        data = StoredSpikes(file, len(sensors), row.seconds, row.sfreq, raw)
    elif row.held in ("int16", "float16"):
        scale, offset = np.array(row.scale, np.float32), np.array(row.offset, np.float32)
        data = StoredSamples(file, row.held, scale, offset, row.times, raw)  # type: ignore[arg-type]
    else:
        raise DataError(f"{root}/{row.file} holds {row.held!r}, which this brainfm does not know; update it")
    return Signal(data, row.sfreq, sensors, tuple(row.breaks))


table_of = lru_cache(maxsize=4096)(sensors_of)
"""Recordings of one layout share one table."""


def words(steps: Sequence[Mapping[str, Any]]) -> str:
    """Steps in a message: their kinds and what was chosen."""
    said = [
        f"{step['kind']}({', '.join(f'{k}={v}' for k, v in step.items() if k != 'kind' and v is not None)})"
        for step in steps
    ]
    return ", ".join(said) or "no step"
