"""Names of recordings that no file holds: a path for every person and session that is made up, and back."""

from collections.abc import Iterator
from pathlib import Path

from brainfm.errors import DataError


def places(subjects: int, sessions: int) -> Iterator[tuple[Path, str, str]]:
    """(path, subject, session) of each recording; nothing lies at the path."""
    for subject in range(1, subjects + 1):
        for session in range(1, sessions + 1):
            path = Path("simulated", f"subject{subject:02d}", f"session{session:02d}")
            yield path, f"{subject:02d}", f"{session:02d}"


def numbers(path: Path) -> tuple[int, int]:
    """Subject and session of such a path. Raises `DataError` for another one."""
    names = [path.parent.name.removeprefix("subject"), path.name.removeprefix("session")]
    if not all(name.isdigit() for name in names):
        raise DataError(f"{path} is no simulated recording; their paths are subject01/session01 and so on")
    return int(names[0]), int(names[1])
