"""Readers: one file per family of formats, each turning a file into a `Recording`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from brainfm.data.gate import OnBad, trustworthy
from brainfm.data.recording import Events, Recording
from brainfm.errors import DataError
from brainfm.part import Part

if TYPE_CHECKING:
    from brainfm.data.recordings import Recordings

FIELDS = ("subject", "session", "run")
FOLDERS = frozenset({".mff", ".ds", ".mefd", ".nwb"})
"""Formats in which one recording is a folder."""


@dataclass(frozen=True)
class Entry:
    """One recording of a dataset: where it is and what its path says about it ("" where it says nothing)."""

    path: Path
    subject: str = ""
    session: str = ""
    run: str = ""


class Reader(Part):
    """Turns one file into a `Recording` in SI units. A part of this family has its own `open`."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """How the names of the files end that this reader reads, in lower case (".nii.gz"): what `brainfm.read` goes by, the
    longest first. "" is for folders that only `recognises` tells from others."""

    on_bad: OnBad = "refuse"
    """What to do with a sensor that is flat or not finite: refuse the file, or leave the sensor out with a
    note."""

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a path is of this format; asked of folders, and where several readers read the same suffix."""
        return True

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The reader with these settings, as `brainfm.read` is given them. Raises pydantic's `ValidationError`."""
        return cls.model_validate(settings)

    def dataset(self, path: Path) -> "Recordings | None":
        """The recordings of a path that stands for several; None where it stands for one."""
        return None

    def find(self, folder: Path, pattern: str) -> list[Entry]:
        """The recordings under `folder` whose relative path fits `pattern`, in sorted order.

        `*` stands for any text within a name, `**/` for any folders, `{subject}`, `{session}` and `{run}`
        for the text that becomes that field; one that occurs twice must be the same text. Raises `DataError`
        where nothing fits.
        """
        expression = compile_pattern(pattern)
        paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.suffix in FOLDERS)
        names = [path.relative_to(folder).as_posix() for path in paths]
        matches = [(path, expression.fullmatch(name)) for path, name in zip(paths, names, strict=True)]
        entries = [Entry(path, **match.groupdict("")) for path, match in matches if match]
        if not entries:
            there = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            raise DataError(
                f"no file under {folder} fits the pattern {pattern!r}; there is {there or 'nothing'}"
            )
        return entries

    def read(self, path: Path) -> Recording:
        """Read `path` lazily where the format allows, and check what it holds. Raises `DataError` in one
        sentence."""
        return trustworthy(self.open(path), self.on_bad, lambda: self.label(path))

    def open(self, path: Path) -> Recording:
        """The recording as the file says it is, unchecked. Raises `DataError` in one sentence."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def label(self, path: Path) -> str:
        """The unit in which the file's numbers are labelled, for a message about a wrong one."""
        return "V"

    def events_in(self, path: Path, source: Literal["annotations", "stim"]) -> Events:
        """The events that the file itself holds as annotations or in a stimulus channel."""
        if source == "stim":
            raise DataError(
                f"{path.name} can't have a stimulus channel; say `source: annotations` for its events"
            )
        return self.open(path).events

    def first_sample(self, path: Path) -> int:
        """The number that an event file gives to the recording's first sample."""
        return 0


def compile_pattern(pattern: str, fields: Sequence[str] = FIELDS) -> re.Pattern[str]:
    """The regular expression of a `find` pattern. Raises `DataError` for a placeholder that is not known."""
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\*\*/|\*|\{[^{}]*\})", pattern):
        name = piece[1:-1]
        if piece == "**/":
            pieces.append("(?:.*/)?")
        elif piece == "*":
            pieces.append("[^/]*?")
        elif not piece.startswith("{"):
            pieces.append(re.escape(piece))
        elif name not in fields:
            raise DataError(
                f"pattern {pattern!r}: {piece} is not known; use {{subject}}, {{session}} or {{run}}"
            )
        else:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
    return re.compile("".join(pieces))
