"""A dataset of OpenNeuro, through openneuro-py, which resumes and checks sizes and hashes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Openneuro(Fetcher):
    """All of one version, or some subjects with the files that everybody shares."""

    needs: ClassVar[tuple[str, str]] = ("openneuro", "openneuro-py")

    id: str = Field(pattern=r"^ds\d{6}$")
    version: str | None = None
    include: list[str] = Field(default=[])
    """Patterns of files; all where there is none."""

    @property
    def address(self) -> str | None:
        return f"https://github.com/OpenNeuroDatasets/{self.id}"

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The version that the card describes. A limit counts subjects, so it needs `subjects`."""
        openneuro = self.imported()
        if limit is not None and not subjects:
            raise DataError(f"{self.id} is fetched by subject: give --subjects in place of --limit")
        wanted = [f"sub-{subject.removeprefix('sub-')}" for subject in subjects][:limit]
        try:
            openneuro.download(
                dataset=self.id, tag=self.version, target_dir=folder, include=[*wanted, *self.include] or None
            )
        except Exception as error:  # whatever the library meets: no network, no such subject, a full disk
            raise offline(f"OpenNeuro's {self.id}", error) from None
        yield folder
