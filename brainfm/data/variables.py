"""The variables of a file of arrays: MATLAB up to version 7, NumPy's `.npz`, or JSON."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from brainfm.errors import DataError

SUFFIXES = (".mat", ".npz", ".json")


def variables_of(path: Path) -> dict[str, Any]:
    """The variables by name: arrays, numbers, words, and for MATLAB cells (arrays of objects) and structs.

    Raises `DataError` if the file is missing, broken, of another format or of MATLAB's version 7.3. Nothing in it is run.
    """
    readers = {".mat": from_matlab, ".npz": from_numpy, ".json": from_json}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path.name} holds no variables; it should end in {', '.join(SUFFIXES)}")
    if not path.exists():
        raise DataError(f"{path} does not exist")
    try:
        return readers[path.suffix.lower()](path)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} can't be read ({' '.join(str(error).split())})") from error


def from_matlab(path: Path) -> dict[str, Any]:
    """MATLAB's variables; an axis of length 1 is dropped, as MATLAB adds it to everything.

    Raises `DataError` if the file is missing, broken or of version 7.3.
    """
    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True, struct_as_record=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except NotImplementedError:  # scipy's word for version 7.3, which is HDF5
        raise DataError(f"{path.name} is a MATLAB file of version 7.3; save it again with -v7") from None
    except (MatReadError, ValueError, OSError, TypeError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path.name} can't be read as a MATLAB file ({reason})") from error
    return {name: value for name, value in found.items() if not name.startswith("__")}


def from_numpy(path: Path) -> dict[str, Any]:
    """NumPy's arrays; one that holds Python objects is refused, since reading it could run code."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def from_json(path: Path) -> dict[str, Any]:
    """JSON's values; a list on its own is the variable ""."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {"": found}


def fields(value: Any) -> Mapping[str, Any] | None:
    """What a MATLAB struct or a JSON object holds, by name; None for anything else."""
    if hasattr(value, "_fieldnames"):
        return {name: getattr(value, name) for name in value._fieldnames}
    return value if isinstance(value, Mapping) else None


def variable(content: Mapping[str, Any], name: str, where: str) -> Any:
    """The variable of that name; `a.b` is the field b of the struct a. Raises `DataError` that lists those present."""
    value: Any = content
    for step in [name] if name in content else name.split("."):
        inside = fields(value)
        if inside is None or step not in inside:
            there = ", ".join(inside) if inside else "no variables"
            raise DataError(f"{where} has no variable {name!r}; it has {there or 'none'}")
        value = inside[step]
    return value
