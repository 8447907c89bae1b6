"""A dataset of nilearn, through nilearn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Nilearn(Fetcher):
    """A function `fetch_…` of `nilearn.datasets`."""

    needs: ClassVar[tuple[str, str]] = ("nilearn", "nilearn")

    id: str
    """The function without `fetch_`: haxby."""
    by: str | None = None
    """Its argument that takes a number of subjects, where it has one."""

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The first `limit` subjects, or all."""
        module = self.imported(".datasets")
        function = getattr(module, f"fetch_{self.id}", None)
        if function is None:
            raise DataError(f"this version of nilearn has no fetch_{self.id}: pip install -U nilearn")
        if subjects:
            raise DataError(f"nilearn's {self.id} is fetched by count; give --limit in place of --subjects")
        some = {self.by: limit} if self.by else {}  # None: all, where the default is fewer
        folder.mkdir(parents=True, exist_ok=True)
        try:
            function(data_dir=str(folder), verbose=0, **some)
        except Exception as error:
            raise offline(f"nilearn's {self.id}", error) from None
        yield folder
