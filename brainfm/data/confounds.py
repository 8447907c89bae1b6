"""What moves the BOLD signal and is no brain: fMRIPrep's table of confounds, read into a track."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from brainfm.data.recording import Track
from brainfm.errors import DataError
from brainfm.part import Settings

TRACK = "confounds"
"""What the track is called."""
OWN = ("space-", "res-", "den-", "desc-", "hemi-", "part-")
"""Entities of a preprocessed image that its table of confounds does not carry."""
Strategy = Literal["motion", "high_pass", "wm_csf", "global_signal", "compcor"]


class Confounds(Settings):
    """Which of fMRIPrep's confounds. `strategy` are nilearn's words (`nilearn.interfaces.fmriprep.load_confounds`), with its
    defaults; `columns` are names or patterns ("trans_*") of the table."""

    strategy: list[Strategy] = Field(default=[])
    columns: list[str] = Field(default=[])
    file: str = Field(default="", description="the table beside the recording, if fMRIPrep did not name it")


def confounds_of(path: Path, said: Confounds, n_times: int, sfreq: float) -> tuple[Track, list[str]]:
    """The track (volume, column) with its columns' names, and notes. Raises `DataError` for a table that does not fit."""
    if bool(said.strategy) == bool(said.columns):
        raise DataError("confounds need a `strategy:` or `columns:`, one of the two")
    table, where = by_strategy(path, said) if said.strategy else by_columns(path, said)
    if len(table) != n_times:
        raise DataError(f"{where} has {len(table)} rows, but {path.name} {n_times} volumes")
    values = np.array(table, dtype=np.float64)
    # a derivative has no first value (fMRIPrep, "Confounds"); nilearn takes the second for it too
    absent = np.isnan(values[0])
    values[0, absent] = values[min(1, n_times - 1), absent]
    notes = [f"{int(absent.sum())} confounds lack a first value: the second stands for it"] * bool(
        absent.any()
    )
    if not np.isfinite(values).all():
        column = table.columns[int(np.argwhere(~np.isfinite(values))[0][1])]
        raise DataError(f"{where}: the column {column} holds values that are no numbers; leave it out")
    return Track(values, sfreq, names=tuple(map(str, table.columns))), notes


def by_columns(path: Path, said: Confounds) -> tuple[Any, str]:
    """The wanted columns of the table, and its name."""
    import pandas as pd

    file = table_of(path, said.file)
    table = pd.read_csv(file, sep="\t", na_values="n/a")
    return table.iloc[:, fitting(list(map(str, table)), said.columns, file.name)], file.name


def by_strategy(path: Path, said: Confounds) -> tuple[Any, str]:
    """What nilearn chooses, and the table's name."""
    from nilearn.interfaces.fmriprep import load_confounds

    if said.file:
        raise DataError(
            "a `strategy:` finds fMRIPrep's table by its own name; say `columns:` for another `file:`"
        )
    try:
        table, _ = load_confounds(str(path), strategy=tuple(said.strategy), demean=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise DataError(
            f"{path.name}: its confounds can't be read by strategy ({' '.join(str(error).split())})"
        ) from error
    return table, table_of(path, "").name


def fitting(columns: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Which columns fit a name or pattern; all where none is given. Raises `DataError` for one that fits none."""
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in columns):
            raise DataError(f"{where} has no column {pattern!r}; it has {', '.join(columns[:20])}")
    return [
        place
        for place, name in enumerate(columns)
        if not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)
    ]


def table_of(path: Path, named: str) -> Path:
    """The table beside a preprocessed image (fMRIPrep 1.4 and later; `regressors` before 20.2)."""
    entities = [part for part in path.name.split(".")[0].split("_")[:-1] if not part.startswith(OWN)]
    own = "_".join([*entities, "desc-confounds"])
    tried = [named] if named else [f"{own}_timeseries.tsv", f"{own}_regressors.tsv"]
    for name in tried:
        if (file := path.parent / name).is_file():
            return file
    raise DataError(f"{path.name}: its confounds should be in {tried[0]}, which is not there")
