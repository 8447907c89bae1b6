"""What a recording is read from, so that one whose files have changed is known for another."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from brainfm.data import bids
from brainfm.data.events import stem
from brainfm.data.readers import Entry

SMALL = 1 << 20
"""Bytes up to which a file's content counts, else its size and time of change: nobody waits for hours of signal to be hashed."""
SIDECARS = ("events", "channels", "electrodes", "coordsystem", "timeseries")
OTHERWISE = ("space", "res", "den", "desc", "echo")
"""Entities in which a table may differ from the signal that it is about."""
Listing = Callable[[Path], list[Path]]


def footprint(entry: Entry, facts: Any, listing: Listing) -> str:
    """A digest of a recording's files and of what lies beside them about it; `listing` gives the files of a folder.

    `facts` are those of its card: what they name as a file beside the recording (events, an atlas, a mask) counts too.

    A file that a recording turns out not to need costs a preparation when it changes; one that was forgotten costs a result.
    """
    path = entry.path.absolute()
    if not path.exists():
        return ""
    digest = hashlib.sha256()
    for file in sorted({*own(path, listing), *said(path), *named(path, facts)}):
        there = file.stat()
        what = (
            file.read_bytes() if there.st_size <= SMALL else f"{there.st_size} {there.st_mtime_ns}".encode()
        )
        digest.update(f"{file.name} {hashlib.sha256(what).hexdigest()}\n".encode())
    if (root := bids.root_of(path)) is not None:
        digest.update(json.dumps(bids.participant(root, bids.named(path).entities.get("sub", ""))).encode())
    return digest.hexdigest()[:32]


def own(path: Path, listing: Listing) -> list[Path]:
    """The recording itself, all of a folder, and the files beside it whose names begin with its stem."""
    start = stem(path)
    beside = [
        file
        for file in listing(path.parent)
        if file.name.startswith(start) and not file.name[len(start) :][:1].isalnum()
    ]
    inside = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    return [*beside, *inside]


def said(path: Path) -> list[Path]:
    """The sidecars of BIDS that apply to a recording, wherever they lie."""
    root = bids.root_of(path)
    if root is None:
        return []
    suffixes = (*SIDECARS, bids.named(path).suffix)
    tables = [(suffix, ending) for suffix in suffixes for ending in (".tsv", ".json")]
    return [file for which in tables for file in bids.beside(root, path, *which, free=OTHERWISE)]


def named(path: Path, facts: Any) -> list[Path]:
    """The files that words among `facts` name as lying beside a recording."""
    if isinstance(facts, str):
        file = path.parent / facts.replace("{stem}", stem(path))
        return [file] if facts and file.is_file() else []
    inner = facts.values() if isinstance(facts, Mapping) else facts if isinstance(facts, Sequence) else ()
    return [file for each in inner for file in named(path, each)]
