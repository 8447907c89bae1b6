"""Pictures that were shown, read from their files when they are asked for, in [0, 1]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.lazy import of_hdf5
from brainfm.data.readers.temporaldata import need_h5py
from brainfm.data.seen import as_pictures
from brainfm.errors import DataError


class Hdf5Pictures:
    """Rows, in rising order, of an HDF5 dataset of bytes (picture, height, width, colour), as NSD's `imgBrick`."""

    def __init__(self, path: Path, name: str, rows: NDArray[np.int64]) -> None:
        self.path, self.name, self.picked = path, name, np.asarray(rows, np.int64)
        count, height, width, colours = self._read(lambda dataset: dataset.shape)
        if len(rows) and not (0 <= rows.min() <= rows.max() < count and (np.diff(rows) > 0).all()):
            raise DataError(f"{path.name} holds {count} pictures; rows must rise and lie among them")
        self.shape = (len(rows), colours, height, width)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """These pictures, (picture, colour, height, width)."""
        wanted = np.atleast_1d(self.picked[key])
        each, back = np.unique(wanted, return_inverse=True)
        found = as_pictures(
            np.stack(self._read(lambda dataset: [dataset[row] for row in each])), self.path.name
        )
        return found[back] if np.ndim(self.picked[key]) else found[0]

    def _read(self, get: Any) -> Any:
        need_h5py(self.path)
        return of_hdf5(self.path, self.name, get)


class FilePictures:
    """Image files, all of one size, as colours."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        if not self.paths:
            raise DataError("no picture was given")
        self.shape = (len(self.paths), *self.opened(self.paths[0]).shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """These pictures, (picture, colour, height, width)."""
        rows = np.arange(len(self.paths))[key]
        found = [self.opened(self.paths[row]) for row in np.atleast_1d(rows)]
        for row, one in zip(np.atleast_1d(rows), found, strict=True):
            if one.shape != self.shape[1:]:
                raise DataError(
                    f"{self.paths[row].name} is {one.shape[1:]} pixels, others are {self.shape[2:]}"
                )
        return np.stack(found) if np.ndim(rows) else found[0]

    @staticmethod
    def opened(path: Path) -> NDArray[np.float32]:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as image:
                return as_pictures(np.asarray(image.convert("RGB"))[None], path.name)[0]
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path} can't be read as a picture ({' '.join(str(error).split())})") from error
