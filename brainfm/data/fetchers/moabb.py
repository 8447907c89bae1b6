"""A dataset that MOABB knows, through MOABB."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from brainfm.data.fetchers import Fetcher, offline
from brainfm.errors import DataError


class Moabb(Fetcher):
    """The raw files of a class of `moabb.datasets`, subject by subject."""

    needs: ClassVar[tuple[str, str]] = ("moabb", "moabb")

    id: str
    """The class: BNCI2014_001."""

    def fetch(self, folder: Path, subjects: Sequence[str], limit: int | None) -> Iterator[Path]:
        """The files of the numbered subjects; MOABB keeps a folder of its own inside `folder`."""
        known = self.imported(".datasets")
        if not hasattr(known, self.id):
            raise DataError(f"this version of MOABB has no dataset {self.id}: pip install -U moabb")
        dataset = getattr(known, self.id)()
        there = [str(one) for one in dataset.subject_list]
        if unknown := set(subjects) - set(there):
            raise DataError(
                f"{self.id} has no subject {', '.join(sorted(unknown))}; it has {', '.join(there)}"
            )
        for subject in [one for one in there if not subjects or one in subjects][:limit]:
            try:
                found = dataset.data_path(int(subject), path=str(folder), update_path=False)
            except Exception as error:
                raise offline(f"MOABB's {self.id}", error) from None
            yield from paths(found)


def paths(found: object) -> Iterator[Path]:
    """MOABB answers with a path or with a list, which may hold lists."""
    if isinstance(found, list | tuple):
        for one in found:
            yield from paths(one)
    else:
        yield Path(str(found))
