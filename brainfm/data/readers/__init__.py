"""Readers: one file per family of formats, each turning a file into a `Recording`."""

from pathlib import Path

from brainfm.data.recording import Recording
from brainfm.part import Part


class Reader(Part):
    """Turns one file into a `Recording` in SI units."""

    def read(self, path: Path) -> Recording:
        """Read `path` lazily where the format allows. Raises `DataError` in one sentence."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own
