"""Viewing: one file a set or layout of responses to pictures that somebody published, each to tables of `Seen`."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from brainfm.data.seen import Seen
from brainfm.errors import DataError
from brainfm.part import Part


class Viewing(Part):
    """How a set's files become everybody's trials. A data card names one under `viewing:`."""

    subjects: list[int] = Field(
        default=[], description="by number; all whose files are there where none is named"
    )

    def people(self, root: Path) -> list[Seen]:
        """Everybody's trials, of the set's folder. Raises `DataError` where files are missing or do not fit."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def asked(self, root: Path, there: Sequence[int]) -> list[int]:
        """The subjects that are wanted, of those that are `there`. Raises `DataError` where nobody is."""
        if not there:
            raise DataError(f"{root} holds nobody's responses; fetch the set there first")
        return list(self.subjects or sorted(there))


def number_in(name: str) -> int | None:
    """The number that a name ends in, such as that of subj05; None where it ends in none."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits else None
