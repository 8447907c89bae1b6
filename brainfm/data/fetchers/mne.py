"""A sample dataset of MNE-Python, through MNE, which checks hashes."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Mne(Fetcher):
    """A module of `mne.datasets` that is fetched whole."""

    needs: ClassVar[tuple[str, str]] = ("mne", "mne")

    id: str
    """The module: sample, epilepsy_ecog."""

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The whole set: MNE's samples are one archive each."""
        if subjects or limit is not None:
            raise DataError(f"MNE's {self.id} is one archive; fetch it without --subjects and --limit")
        self.imported(".datasets")
        try:
            module = importlib.import_module(f"mne.datasets.{self.id}")
        except ImportError:
            raise DataError(f"this version of MNE has no dataset {self.id}: pip install -U mne") from None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield Path(str(module.data_path(path=folder, update_path=False)))
        except Exception as error:
            raise offline(f"MNE's {self.id}", error) from None
