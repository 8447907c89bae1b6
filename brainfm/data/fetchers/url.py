"""Files at plain web addresses, each with its hash."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from brainfm.data.download import RemoteFile, download
from brainfm.data.fetchers import Fetcher
from brainfm.errors import DataError


class Url(Fetcher):
    """Brainfm's own downloader: goes on after a cut, and keeps no file with another hash."""

    files: list[RemoteFile] = Field(min_length=1)
    repository: str | None = None
    """A git repository that holds the same files."""

    @property
    def address(self) -> str | None:
        return self.repository

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The files of these subjects, and those that belong to nobody."""
        known = {file.subject for file in self.files if file.subject}
        if unknown := set(subjects) - known:
            raise DataError(
                f"no file of this card belongs to {', '.join(sorted(unknown))}; "
                f"its subjects are {', '.join(sorted(known)) or 'not named'}"
            )
        wanted = [file for file in self.files if not subjects or file.subject in (None, *subjects)]
        for file in wanted[:limit]:
            yield download(file, folder)
