"""A dandiset: DANDI's own client says which files there are and their hashes, brainfm's downloader gets them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from brainfm.data.download import RemoteFile, download
from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Dandi(Fetcher):
    """NWB files of one version of a dandiset, asset by asset."""

    needs: ClassVar[tuple[str, str]] = ("dandi", "dandi")

    id: str = Field(pattern=r"^\d{6}$")
    version: str = "draft"

    @property
    def address(self) -> str | None:
        return f"https://github.com/dandisets/{self.id}"

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The assets of these subjects, in the order of their paths."""
        files = self.listing(self.imported(".dandiapi"))
        prefixes = tuple(f"sub-{subject.removeprefix('sub-')}/" for subject in subjects)
        wanted = [file for file in files if not prefixes or file.path.startswith(prefixes)]
        if not wanted:
            raise DataError(f"dandiset {self.id} has no file of {', '.join(subjects)}")
        for file in wanted[:limit]:
            yield download(file, folder)

    def listing(self, api: Any) -> list[RemoteFile]:
        """Every file of the version, sorted by path."""
        try:
            with api.DandiAPIClient() as client:
                assets = list(client.get_dandiset(self.id, self.version).get_assets())
                files = [
                    RemoteFile(
                        path=asset.path,
                        url=asset.base_download_url,
                        sha256=asset.get_raw_digest("dandi:sha2-256"),
                        bytes=asset.size,
                    )
                    for asset in assets
                ]
        except Exception as error:  # no network, no such version, a file that has no hash yet
            raise offline(f"dandiset {self.id}", error) from None
        return sorted(files, key=lambda file: file.path)
