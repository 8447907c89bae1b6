"""A dataset repository of the Hugging Face Hub, which resumes and checks hashes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Huggingface(Fetcher):
    """Some files of a repository, at one revision."""

    needs: ClassVar[tuple[str, str]] = ("huggingface_hub", "huggingface_hub")

    id: str
    """owner/name."""
    revision: str | None = None
    include: list[str] = Field(default=[])
    """Patterns of files; `{subject}` stands for each of `--subjects`."""

    @property
    def address(self) -> str | None:
        return f"https://huggingface.co/datasets/{self.id}"

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The files whose paths fit, in their order."""
        hub = self.imported()
        if subjects and not any("{subject}" in pattern for pattern in self.include):
            raise DataError(f"{self.id} can't be fetched by subject; use --limit, a number of files")
        filled = [
            pattern.replace("{subject}", subject)
            for pattern in self.include
            for subject in (subjects if "{subject}" in pattern and subjects else ["*"])
        ]
        try:
            names = sorted(hub.list_repo_files(self.id, repo_type="dataset", revision=self.revision))
            wanted = hub.utils.filter_repo_objects(names, allow_patterns=filled or None)
            for name in list(wanted)[:limit]:
                yield Path(
                    hub.hf_hub_download(
                        self.id, name, repo_type="dataset", revision=self.revision, local_dir=folder
                    )
                )
        except Exception as error:
            raise offline(f"the Hub's {self.id}", error) from None
