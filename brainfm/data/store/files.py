"""The bytes of a store's files: mapped where they are local, fetched by range where they are behind an URL."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

TRIES = 3
"""Times that a range is asked for: connections break."""
BLOCK = 1 << 24
"""Bytes that are held at once when a file is gone through."""
T = TypeVar("T")


@dataclass(frozen=True)
class StoredFile:
    """A file of `size` bytes, `name` within the store at `root`, a folder or an URL that fsspec knows."""

    root: str
    name: str
    size: int

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The bytes from `start` to before `stop`. Raises `DataError` where there are none."""
        if not is_remote(self.root):
            return mapped(self.root, self.name, self.size)[start:stop]
        if stop <= start:
            return np.zeros(0, np.uint8)
        found = fetched(self.root, self.name, lambda fs, path: fs.cat_file(path, start=start, end=stop))
        return self.complete(found, stop - start)

    def complete(self, found: bytes, wanted: int) -> NDArray[np.uint8]:
        """What came, if it is as long as what was asked for."""
        if len(found) != wanted:
            raise DataError(
                f"{self.root}/{self.name}: {len(found)} bytes came where {wanted} were asked for; "
                "its server must know range requests, and the file be whole (brainfm data check)"
            )
        return np.frombuffer(found, np.uint8)

    def sha256(self) -> str:
        """The checksum of the whole file."""
        digest = hashlib.sha256()
        for start in range(0, self.size, BLOCK):
            digest.update(self.read(start, min(start + BLOCK, self.size)).data)
        return digest.hexdigest()


def read_together(asked: Sequence[tuple[StoredFile, int, int]]) -> Iterator[NDArray[np.uint8]]:
    """The bytes of several stretches (file, start, stop) of one store; behind an URL all are on their way at once."""
    root = asked[0][0].root if asked else ""
    if not is_remote(root) or any(file.root != root or stop <= start for file, start, stop in asked):
        yield from (file.read(start, stop) for file, start, stop in asked)
        return
    fs, base = filesystem(root)
    files, starts, stops = zip(*asked, strict=True)
    found = fs.cat_ranges([f"{base}/{file.name}" for file in files], starts, stops, on_error="return")
    for (file, start, stop), held in zip(asked, found, strict=True):
        # what failed is asked for again, alone: that one either comes or says what is wrong
        broken = isinstance(held, BaseException)
        yield file.read(start, stop) if broken else file.complete(held, stop - start)


@lru_cache(maxsize=4096)
def mapped(root: str, name: str, size: int) -> NDArray[np.uint8]:
    """A local file's bytes, in memory only where they are looked at."""
    path = local(root) / name
    if not path.is_file():
        raise DataError(f"{path} is missing; prepare the store again, what is there will be kept")
    if path.stat().st_size != size:
        raise DataError(
            f"{path} has {path.stat().st_size} bytes, its manifest says {size}; prepare the store again"
        )
    return np.asarray(np.memmap(path, np.uint8, "r")) if size else np.zeros(0, np.uint8)


def is_remote(root: str) -> bool:
    """Whether `root` is an URL and no folder here."""
    return "://" in root and not root.startswith("file://")


def local(root: str) -> Path:
    """The folder of a store that is here."""
    return Path(root.removeprefix("file://")).expanduser()


def fetched(root: str, name: str, ask: Callable[[Any, str], T]) -> T:
    """What `ask(filesystem, path)` gives for a file behind an URL. Raises `DataError` after some tries."""
    fs, base = filesystem(root)
    for left in reversed(range(TRIES)):
        try:
            return ask(fs, f"{base}/{name}")
        except FileNotFoundError:
            raise DataError(
                f"{root}/{name} is not there; is {root} a prepared store, copied whole?"
            ) from None
        except Exception as error:  # each filesystem raises its own library's errors
            if not left:
                raise DataError(f"{root}/{name} can't be read ({error or type(error).__name__})") from error
            time.sleep(0.2 * (TRIES - left))
    raise AssertionError


def filesystem(root: str) -> tuple[Any, str]:
    """fsspec's filesystem of an URL and the path in it. Asked for anew in each process: fsspec minds forks."""
    import fsspec

    try:
        fs, base = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise DataError(f"{root} can't be opened: {error}") from error
    return fs, base.rstrip("/")


def whole(root: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Small files of a store, each read whole."""
    for name in names:
        if is_remote(root):
            yield name, fetched(root, name, lambda fs, path: bytes(fs.cat_file(path)))
        else:
            yield name, (local(root) / name).read_bytes()
