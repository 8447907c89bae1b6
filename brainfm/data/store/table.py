"""The manifest: one Parquet file with a row for every recording, so that thousands are opened without looking into a folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainfm.data.fingerprint import Fingerprint
from brainfm.data.recording import Sensors
from brainfm.errors import DataError

FORMAT = 2
"""The version of the format: part of every key, so that what an older brainfm prepared is prepared again."""
NAME = "manifest.parquet"


@dataclass(frozen=True)
class SignalRow:
    """A prepared signal: where its samples or spikes lie, and what their numbers mean."""

    modality: str
    file: str
    bytes: int
    sha256: str
    held: str
    """`int16` and `float16` are samples, `spikes` are events."""
    sfreq: float
    times: int
    seconds: float
    sensors: str
    """The sensor table as JSON; recordings of one layout share the text, which Parquet stores once."""
    breaks: list[int] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    offset: list[float] = field(default_factory=list)
    robust: list[float] = field(default_factory=list)
    error: float = 0.0
    """The largest difference from what was prepared, in robust scales of its sensor."""


@dataclass(frozen=True)
class TrackRow:
    """A track: where its values lie in the recording's file of tracks."""

    name: str
    at: int
    dtype: str
    shape: list[int]
    rate: float
    unit: str
    start: float
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A prepared recording. `key` says what it was made from, `entry` which file of the card's folder that was."""

    card: str
    entry: str
    key: str
    subject: str
    session: str
    run: str
    source: str
    content_hash: str
    signals: list[SignalRow]
    onset: list[float]
    duration: list[float]
    label: list[str]
    tracks: list[TrackRow]
    tracks_file: str
    tracks_bytes: int
    tracks_sha256: str
    notes: list[str]
    fingerprints: list[dict[str, Any]] = field(default_factory=list)
    """One for each signal, of the raw recording. Read only when it is asked for."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From what `asdict` gave."""
        return cls(
            **{
                **row,
                "signals": [SignalRow(**signal) for signal in row["signals"]],
                "tracks": [TrackRow(**track) for track in row["tracks"]],
            }
        )

    @property
    def files(self) -> list[tuple[str, int, str]]:
        """(name, bytes, SHA-256) of every file of the recording."""
        held = [(signal.file, signal.bytes, signal.sha256) for signal in self.signals]
        own = [(self.tracks_file, self.tracks_bytes, self.tracks_sha256)] if self.tracks_file else []
        return [*held, *own]


def schema() -> Any:
    """The types of the columns."""
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    numbers = pa.list_(real)
    signal = pa.struct(
        {
            **dict.fromkeys(("modality", "file"), text),
            "bytes": whole,
            **dict.fromkeys(("sha256", "held"), text),
            "sfreq": real,
            "times": whole,
            "seconds": real,
            "sensors": text,
            "breaks": pa.list_(whole),
            **dict.fromkeys(("scale", "offset", "robust"), numbers),
            "error": real,
        }
    )
    track = pa.struct(
        {
            "name": text,
            "at": whole,
            "dtype": text,
            "shape": pa.list_(whole),
            "rate": real,
            "unit": text,
            "start": real,
            "names": pa.list_(text),
        }
    )
    hashes = pa.struct(
        {
            "seconds_per_stretch": real,
            "modulus": whole,
            "stretches": pa.list_(pa.list_(pa.uint32())),
        }
    )
    names = ("card", "entry", "key", "subject", "session", "run", "source", "content_hash")
    return pa.schema(
        {
            **dict.fromkeys(names, text),
            "signals": pa.list_(signal),
            **dict.fromkeys(("onset", "duration"), numbers),
            "label": pa.list_(text),
            "tracks": pa.list_(track),
            "tracks_file": text,
            "tracks_bytes": whole,
            "tracks_sha256": text,
            "notes": pa.list_(text),
            "fingerprints": pa.list_(hashes),
        }
    )


def write(rows: Sequence[Row], steps: Mapping[str, Sequence[Any]], path: Path) -> None:
    """The manifest of these rows; `steps` are what each modality went through. The same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema())
    about = {
        "brainfm_store": str(FORMAT),
        "steps": json.dumps(steps),
        "digest": digest(rows, steps),
    }
    made = made.replace_schema_metadata(about)
    # small pages of fingerprints would only cost requests; each page has its checksum
    pq.write_table(made, path, compression="zstd", write_page_checksum=True)


def digest(rows: Sequence[Row], steps: Mapping[str, Sequence[Any]]) -> str:
    """A hash of all that the manifest says, however it is packed."""
    sums = hashlib.sha256(json.dumps(steps).encode())
    for row in rows:
        sums.update(json.dumps(asdict(row)).encode())
    return sums.hexdigest()


def read(
    held: bytes | Path, where: str, columns: Sequence[str] | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows as mappings, of these columns, and what is said about all. Raises `DataError` for what is no manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(
            BytesIO(held) if isinstance(held, bytes) else held, page_checksum_verification=True
        )
        about = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        said = about.get("brainfm_store")
        if said == str(FORMAT) and not file.schema_arrow.equals(schema()):
            raise ValueError("columns that no store has")
        found = file.read(columns=columns).to_pylist() if said == str(FORMAT) else []
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["unreadable"])[0]
        raise DataError(f"{where} is damaged ({reason}); remove the store and prepare it again") from error
    if said == str(FORMAT):
        return found, about
    kind = (
        f"a store of format {said}, this brainfm reads format {FORMAT}" if said else "no manifest of a store"
    )
    raise DataError(f"{where} is {kind}; remove the store and prepare it again")


def columns_but(*names: str) -> list[str]:
    """The columns of the manifest without these."""
    return [name for name in schema().names if name not in names]


def sensors_json(sensors: Sensors) -> str:
    """A sensor table as text that gives it back to the last bit."""
    return json.dumps(
        {
            "name": sensors.name,
            "kind": sensors.kind,
            "unit": sensors.unit,
            "position": known(sensors.position),
            "orientation": known(sensors.orientation),
            "region": sensors.region,
            "frame": sensors.frame,
        },
        allow_nan=False,
    )


def sensors_of(text: str) -> Sensors:
    """The sensor table of `sensors_json`."""
    held = json.loads(text)
    return Sensors(
        name=tuple(held["name"]),
        kind=tuple(held["kind"]),
        unit=tuple(held["unit"]),
        position=places(held["position"]),
        orientation=places(held["orientation"]),
        region=tuple(held["region"]),
        frame=held["frame"],
    )


def places(rows: Sequence[Sequence[float] | None]) -> NDArray[np.float64]:
    """(sensor, 3) coordinates, NaN where they are unknown."""
    return np.array([[np.nan] * 3 if row is None else row for row in rows], float).reshape(-1, 3)


def known(where: NDArray[np.float64]) -> list[list[float] | None]:
    """Rows of coordinates, None where they are unknown: JSON has no NaN."""
    return [row.tolist() if np.isfinite(row).all() else None for row in np.asarray(where, float)]


def fingerprint_row(found: Fingerprint) -> dict[str, Any]:
    """A fingerprint as a row holds it."""
    return {
        "seconds_per_stretch": found.seconds_per_stretch,
        "modulus": found.modulus,
        "stretches": found.stretches,
    }
