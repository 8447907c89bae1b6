"""One file from the network: whole and with the right hash under its name, or not there at all.

pooch checks hashes too, but begins again after a cut connection; recordings are too large for that.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import Field, model_validator

from brainfm.errors import DataError
from brainfm.part import Settings

CHUNK = 1 << 20
TRIES = 4
"""How often a cut connection is taken up again before the command gives up."""
PATIENCE = 30.0
"""Seconds without a byte after which a connection counts as cut."""


class RemoteFile(Settings):
    """A file of a dataset: where it lies, where it goes, and the hash by which it is known."""

    path: str
    """Inside the dataset's folder."""
    url: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    bytes: int | None = Field(default=None, ge=0)
    subject: str | None = None
    """Whose file it is, for `--subjects`; None for one that everybody needs."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.sha256 is None) == (self.md5 is None):
            raise ValueError(f"{self.path}: give its sha256 or its md5; what is not checked is not fetched")
        if Path(self.path).is_absolute() or ".." in Path(self.path).parts or not self.path:
            raise ValueError(f"{self.path!r} must lie inside the dataset's folder")
        if not self.url.startswith(("https://", "http://")):
            raise ValueError(f"{self.url!r} is no web address")
        return self


def download(file: RemoteFile, folder: Path, wait: float = 1.0) -> Path:
    """Fetch one file into `folder`, going on where an earlier try was cut; one that is there and right is kept.

    Bytes arrive in a .part file, which gets the file's name once its hash is right. Raises `DataError` in one sentence
    where the address can't be reached, the connection is cut again and again, or the hash is wrong.
    """
    path = folder / file.path
    if path.is_file() and right(file, path):
        return path
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(TRIES):
        try:
            receive(file.url, part)
            break
        except urllib.error.HTTPError as error:
            raise DataError(
                f"{file.url} answers {error.code} {error.reason}; look at the set's page for its files' new place"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            if attempt + 1 == TRIES or (isinstance(error, urllib.error.URLError) and not size(part)):
                raise DataError(cut(file, part, error)) from None
            time.sleep(wait * 2**attempt)
    if not right(file, part):
        found = size(part)
        part.unlink(missing_ok=True)
        raise DataError(
            f"{file.url} is not the file that the card describes: {found} bytes with another hash; nothing was kept; "
            "try again, and if it stays so, the set has changed since the card was written"
        )
    part.replace(path)
    return path


def receive(url: str, part: Path) -> None:
    """Add to `part` what is missing of it. Raises `OSError` or `HTTPException` where the connection is cut."""
    done = size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "brainfm"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send: the hash says whether the part is whole
            raise
        return
    with answer, part.open("ab" if answer.status == 206 else "wb") as out:
        copy(answer, out)


def copy(answer: http.client.HTTPResponse, out: BinaryIO) -> None:
    """All bytes that the answer promised. Raises `IncompleteRead` where fewer came."""
    promised = answer.headers.get("Content-Length")
    came = 0
    while piece := answer.read(CHUNK):
        out.write(piece)
        came += len(piece)
    if promised is not None and came < int(promised):
        raise http.client.IncompleteRead(b"", int(promised) - came)


def right(file: RemoteFile, path: Path) -> bool:
    """Whether the bytes at `path` are those of the card."""
    if not path.is_file() or (file.bytes is not None and path.stat().st_size != file.bytes):
        return False
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256" if file.sha256 else "md5").hexdigest()
    return found == (file.sha256 or file.md5)


def cut(file: RemoteFile, part: Path, error: Exception) -> str:
    """What a user needs to know of a download that did not end."""
    reason = getattr(error, "reason", None) or error
    done, whole = size(part), f" of {file.bytes}" if file.bytes else ""
    if not done:
        return (
            f"{file.url} can't be reached ({reason}); fetching needs a network: try again where there is one"
        )
    return (
        f"{file.url} was cut after {done}{whole} bytes ({reason}); the same command again goes on from there"
    )


def size(path: Path) -> int:
    """Bytes of a file, 0 for none."""
    return path.stat().st_size if path.is_file() else 0
