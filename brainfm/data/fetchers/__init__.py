"""Fetchers: one file per way of getting a public dataset, each leaving its files in a folder."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from brainfm.errors import DataError
from brainfm.part import Part


class Fetcher(Part):
    """Gets a dataset. A part of this family has its own `fetch` and `address`."""

    needs: ClassVar[tuple[str, str]] = ("", "")
    """The module that does the work, and the package that brings it; "" where brainfm does it itself."""

    @property
    def address(self) -> str | None:
        """A repository under version control that holds the same files, where there is one."""
        return None

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """Fetch into `folder` the files of these subjects (all where none is named), the first `limit` alone.

        Yields each file or folder once it is there. What was fetched before is not fetched again. Raises `DataError` in
        one sentence.
        """
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def imported(self, submodule: str = "") -> Any:
        """The module that does the work, imported. Raises `DataError` that says what to install."""
        module, package = self.needs
        try:
            return importlib.import_module(f"{module}{submodule}")
        except ImportError as error:
            raise DataError(
                f"fetching this set needs {package}, which can't be imported ({error}): pip install {package}"
            ) from None


def offline(what: str, error: Exception) -> DataError:
    """A library's failure in one sentence."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(
        f"{what} could not be fetched ({reason}); what has come is kept, and the same command again goes on from there"
    )
