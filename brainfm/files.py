"""Files and folders that are written whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder under a passing name, then give it its own: a crash leaves nothing under `folder`."""
    passing = folder.with_name(f"{folder.name}.writing")
    shutil.rmtree(passing, ignore_errors=True)
    passing.mkdir(parents=True)
    write(passing)
    _flush(passing)
    if folder.exists():
        shutil.rmtree(folder)
    passing.replace(folder)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder that is whole or not there at all for whoever looks: its name goes first."""
    passing = folder.with_name(f"{folder.name.removesuffix('.writing')}.writing")
    if passing != folder:
        shutil.rmtree(passing, ignore_errors=True)
        folder.replace(passing)
    if passing.is_symlink():
        passing.unlink()
    else:
        shutil.rmtree(passing)


def link(name: Path, target: Path) -> Path:
    """Let `name` lead to `target`, which lies beside it, in one stroke whatever it led to before."""
    passing = name.with_name(f"{name.name}.{os.getpid()}.writing")
    passing.unlink(missing_ok=True)
    passing.symlink_to(target.name)
    return passing.replace(name)


def write_file(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` make a file under a passing name, then give it its own. Two processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        write(passing)
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)
    return path


def settle(passing: Path, path: Path) -> Path:
    """Bring a finished file to disk, then give it its name."""
    with passing.open("rb") as file:
        os.fsync(file.fileno())
    return passing.replace(path)


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    return write_file(path, lambda passing: _write_text(passing, text))


def write_json(path: Path, data: Any) -> Path:
    """Write JSON whole or not at all; NaN is refused because other readers don't know it."""
    return write_text(path, json.dumps(data, indent=1, allow_nan=False))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _flush(folder: Path) -> None:
    """Bring the files to disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
