"""Where contacts in the brain are: the table of electrodes beside a recording (BIDS 1.10, "Electrodes description")."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from brainfm.data.events import stem
from brainfm.data.positions import Given
from brainfm.data.recording import Frame
from brainfm.errors import DataError
from brainfm.part import Settings

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


class Electrodes(Settings):
    """Which table, and what it does not say itself. A BIDS coordsystem.json beside it says unit and space."""

    file: str = Field(
        default="", description='its name beside the recording, such as "{stem}_electrodes.tsv"'
    )
    unit: Literal["m", "cm", "mm"] | None = None
    space: Literal["mni", "own", "head", "none"] | None = Field(
        default=None,
        description="mni: x, y, z are MNI coordinates; head: those of electrodes on the scalp, from the middle of the ears "
        "to the right, the nose and up; none: not to be used",
    )
    region: str = Field(default="", description="the column with anatomical labels")


def electrodes_of(path: Path, names: Sequence[str], said: Electrodes | None) -> Given | None:
    """Where the channels of a recording are by the table beside it; None where there is none.

    Raises `DataError` for a table that was named and is not there, that lacks a column, or whose unit nobody says.
    """
    file = None if said and said.space == "none" else table_of(path, said.file if said else "")
    if file is None:
        return None
    rows = read_table(file)
    unit, frame = unit_and_frame(file, said or Electrodes())
    region = said.region if said else ""
    if region and region not in rows.columns:
        raise DataError(f"{file.name} has no column {region!r}; it has {', '.join(map(str, rows.columns))}")
    by_name = rows.set_index("name")
    place = np.full((len(names), 3), np.nan)
    words = [""] * len(names)
    for row, name in enumerate(names):
        if name in by_name.index:
            place[row] = by_name.loc[name, ["x", "y", "z"]].to_numpy(float) * METRES[unit]
            words[row] = str(by_name.loc[name, region]) if region else ""
    return Given(place, np.full_like(place, np.nan), tuple(word.replace("n/a", "") for word in words), frame)


def table_of(path: Path, named: str) -> Path | None:
    """The table beside a recording: the one that was named, else by the recording's own name or its BIDS entities."""
    if named:
        file = path.parent / named.replace("{stem}", stem(path))
        if not file.exists():
            raise DataError(f"{path.name}: its electrodes should be in {file.name}, which is not there")
        return file
    whole = stem(path)
    entities = [part for part in whole.split("_") if part.startswith(("sub-", "ses-"))]
    patterns = [f"{whole}_electrodes.tsv"]
    if entities:
        patterns += [
            f"{'_'.join(entities)}_space-MNI*_electrodes.tsv",
            f"{'_'.join(entities)}*_electrodes.tsv",
        ]
    found = [file for pattern in patterns for file in sorted(path.parent.glob(pattern))]
    return found[0] if found else None


def read_table(file: Path) -> Any:
    """The rows with a name and numbers; "n/a" is unknown."""
    import pandas as pd

    rows = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    if missing := [name for name in ("name", "x", "y", "z") if name not in rows]:
        raise DataError(
            f"{file.name} has no column {missing[0]!r}; it has {', '.join(map(str, rows.columns))}"
        )
    if rows["name"].duplicated().any():
        raise DataError(f"{file.name} lists {rows['name'][rows['name'].duplicated()].iloc[0]} twice")
    for axis in ("x", "y", "z"):
        rows[axis] = pd.to_numeric(rows[axis].replace("n/a", ""), errors="coerce")
    return rows


def unit_and_frame(file: Path, said: Electrodes) -> tuple[str, Frame]:
    """The unit of the coordinates and how well they are known in MNI space, by the card, else by BIDS's coordsystem.json."""
    beside = file.with_name(file.name.removesuffix("_electrodes.tsv") + "_coordsystem.json")
    try:
        known = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    except ValueError:
        raise DataError(f"{beside.name} is not valid JSON") from None
    unit = said.unit or known.get("iEEGCoordinateUnits")
    if unit not in METRES:
        raise DataError(
            f"{file.name} does not say its unit; say it in the reader: `electrodes: {{unit: mm}}` (or m, cm)"
        )
    space = str(known.get("iEEGCoordinateSystem", ""))
    if said.space == "head":
        return unit, "none"  # a `Given` without a frame is in head coordinates
    mni = said.space == "mni" or (said.space is None and space.upper().startswith("MNI"))
    return unit, "exact" if mni else "own"
