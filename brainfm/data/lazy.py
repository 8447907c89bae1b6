"""Samples that stay in their file, or are not computed, until they are sliced."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError


class LazyRaw:
    """(sensor, time) data of an `mne.io.Raw`, read when sliced and multiplied by one `scale` per sensor.

    `recorded` are the stretches (first sample, after the last) that make the data, one after the other; none is all of it.
    """

    def __init__(
        self,
        raw: Any,
        picks: Sequence[int] | NDArray[np.int64],
        scale: NDArray[np.float64],
        recorded: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.raw = raw
        self.picks = np.asarray(picks, dtype=int)
        self.scale = np.asarray(scale, dtype=float)
        self.recorded = tuple(recorded) or ((0, int(raw.n_times)),)

    @property
    def shape(self) -> tuple[int, int]:
        """(sensor, time)."""
        return len(self.picks), sum(stop - first for first, stop in self.recorded)

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """The samples of `[sensors, times]`, each a slice, a list or one index, as for an array of two
        axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        chosen = np.atleast_1d(np.arange(len(self.picks))[rows])
        start, stop, within = span(columns, self.shape[1])
        pieces, before = [], 0
        for first, end in self.recorded:
            here, there = max(start - before, 0) + first, min(stop - before + first, end)
            before += end - first
            if here < there:
                pieces.append(self._read(self.picks[chosen], here, there))
        block = (
            pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros((len(chosen), 0)), *pieces], axis=1)
        )
        block = (block * self.scale[chosen, None])[:, within]
        return block[0] if np.ndim(rows) == 0 and not isinstance(rows, slice) else block

    def take(self, rows: Sequence[int]) -> "LazyRaw":
        """These sensors, still in the file."""
        return LazyRaw(self.raw, self.picks[list(rows)], self.scale[list(rows)], self.recorded)

    def _read(self, picks: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
        try:
            block: NDArray[np.float64] = self.raw.get_data(
                picks=picks, start=start, stop=stop, verbose="error"
            )
        except (ValueError, OSError, EOFError) as error:
            file = Path(self.raw.filenames[0] or "recording").name
            raise DataError(
                f"{file} can't be read at samples {start} to {stop} ({error}); get it again"
            ) from error
        return block


class LazyDataset:
    """(sensor, time) data of an HDF5 dataset of (time, sensor), or (time,), opened for every slice.

    Numbers are multiplied by one `scale` per sensor, then `offset` is added: what they are in SI.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        picks: Sequence[int] | NDArray[np.int64],
        scale: NDArray[np.float64],
        offset: float = 0.0,
    ) -> None:
        self.path, self.name, self.offset = path, name, offset
        self.picks, self.scale = np.asarray(picks, dtype=int), np.asarray(scale, dtype=float)
        self._n_times = int(self._read(lambda dataset: dataset.shape[0]))

    @property
    def shape(self) -> tuple[int, int]:
        """(sensor, time)."""
        return len(self.picks), self._n_times

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """The samples of `[sensors, times]`, each a slice, a list or one index, as for an array of two axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        chosen = np.atleast_1d(np.arange(len(self.picks))[rows])
        first, stop, within = span(columns, self._n_times)
        block = np.asarray(self._read(lambda dataset: dataset[first:stop]), np.float64)
        block = block.reshape(len(block), -1).T[self.picks[chosen]]
        block = (block * self.scale[chosen, None] + self.offset)[:, within]
        return block[0] if np.ndim(rows) == 0 and not isinstance(rows, slice) else block

    def take(self, rows: Sequence[int]) -> "LazyDataset":
        """These sensors, still in the file."""
        return LazyDataset(self.path, self.name, self.picks[list(rows)], self.scale[list(rows)], self.offset)

    def _read(self, get: Callable[[Any], Any]) -> Any:
        return of_hdf5(self.path, self.name, get)


def of_hdf5(path: Path, name: str, get: Callable[[Any], Any]) -> Any:
    """What `get` takes of a dataset of an HDF5 file. Raises `DataError` where it can't be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return get(file[name])
    except (OSError, KeyError) as error:
        raise DataError(f"{path.name} can't be read at {name} ({error}); get it again") from error


class Computed:
    """(sensor, time) data that `read(first, stop)`, (sensor, stop - first), computes when they are sliced."""

    def __init__(self, shape: tuple[int, int], read: Callable[[int, int], NDArray[Any]]) -> None:
        self.shape = shape
        self.read = read

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The samples of `[sensors, times]`, each a slice, a list or one index, as for an array of two
        axes."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        first, stop, within = span(columns, self.shape[1])
        return self.read(first, stop)[rows][..., within]


def slices(pieces: Sequence[tuple[Any, int, int]]) -> Iterable[NDArray[Any]]:
    """`data[:, first:stop]` of each (data, first, stop). Data of one kind that can be read together are: behind an URL, windows
    that are waited for one by one cost a journey each."""
    kinds = {type(data) for data, _, _ in pieces}
    together = getattr(kinds.pop(), "together", None) if len(kinds) == 1 else None
    return together(pieces) if together else (data[:, first:stop] for data, first, stop in pieces)


def span(columns: Any, n_times: int) -> tuple[int, int, Any]:
    """The smallest stretch (first, after the last) that holds `columns`, and where they are within it."""
    if isinstance(columns, slice) and columns.step in (
        None,
        1,
    ):  # the usual case, without a number per sample
        first, stop, _ = columns.indices(n_times)
        return (first, stop, slice(None)) if first < stop else (0, min(1, n_times), slice(0, 0))
    wanted = np.arange(n_times)[columns]
    if np.ndim(wanted) == 0:
        return int(wanted), int(wanted) + 1, 0
    if not len(wanted):
        return 0, 1, slice(0, 0)
    first = int(wanted.min())
    return first, int(wanted.max()) + 1, wanted - first
