"""What an open NWB file holds, in this house's terms: neurons, intervals, behaviour and electrical series."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Events, Sensors, Track
from brainfm.data.segments import as_word
from brainfm.data.tracks import regular
from brainfm.errors import DataError

Sort = Literal["neuron", "multiunit", "drop"]

QUALITY = ("quality", "KSLabel", "cluster_group", "unit_type", "label")
"""Columns in which sorters and the people who curate say what a unit is; the first that exists counts."""
SORTS: dict[str, Sort] = {
    **dict.fromkeys(("good", "sua", "su", "single", "single unit", "single-unit"), "neuron"),
    **dict.fromkeys(("mua", "mu", "multi", "multiunit", "multi-unit", "multi unit", "unsorted"), "multiunit"),
    **dict.fromkeys(("noise", "artifact", "artefact", "bad"), "drop"),
}
"""What their words mean; `drop` leaves the unit out."""
REGIONS = ("location", "brain_area", "brain_region", "region")
MICRO = 1e-6
"""Metres: NWB's electrodes are in micrometres (NWB 2 schema, "electrodes")."""


def sorts(units: Any, column: str, words: Mapping[str, Sort], where: str) -> tuple[list[Sort], list[str]]:
    """What every unit is, and notes. Units whose column says a word that nobody knows count as single neurons."""
    found = column or next((name for name in QUALITY if name in units.colnames), "")
    if not found:
        return ["neuron"] * len(units), []
    if found not in units.colnames:
        raise DataError(f"{where}: its units have no column {found!r}; they have {', '.join(units.colnames)}")
    said = [as_word(word) for word in units[found][:]]
    known = {word.lower(): sort for word, sort in (words or SORTS).items()}
    strange = sorted({word for word in said if word.lower() not in known})
    notes = [f"units of {found} {', '.join(strange)} count as single neurons"] if strange else []
    return [known.get(word.lower(), "neuron") for word in said], notes


def neurons(units: Any, kinds: Sequence[Sort]) -> Sensors:
    """The table of all units, under their ids, where their first electrode says that they are."""
    names = [f"unit{number}" for number in units.id[:]]
    place = np.full((len(names), 3), np.nan)
    region = [""] * len(names)
    for row in range(len(names)):
        electrode = first_electrode(units, row)
        region[row] = region_of(units, row, electrode)
        place[row] = position_of(electrode)
    known = np.isfinite(place).all(axis=1).any()
    table = Sensors.of(names, "neuron", "count", place, "own" if known else "none")
    return table.with_regions(region).with_kinds(kinds)


def first_electrode(units: Any, row: int) -> Mapping[str, Any]:
    """The row of the electrodes' table that the unit names first; empty where it names none."""
    if "electrodes" not in units.colnames:
        return {}
    named = units["electrodes"][row]
    return {} if not len(named) else named.iloc[0].to_dict()


def region_of(units: Any, row: int, electrode: Mapping[str, Any]) -> str:
    """Where a unit is: by its own column, its electrode or its electrode's group."""
    for name in REGIONS:
        if name in units.colnames:
            return named_place(units[name][row])
    for name in REGIONS:
        if name in electrode:
            return named_place(electrode[name])
    group = units["electrode_group"][row] if "electrode_group" in units.colnames else None
    return named_place(getattr(group, "location", ""))


def named_place(value: object) -> str:
    """An anatomical label; NWB writes "unknown" where there is none."""
    word = as_word(value)
    return "" if word.lower() in ("unknown", "none", "nan", "n/a") else word


def position_of(electrode: Mapping[str, Any]) -> NDArray[np.float64]:
    """(3,) metres, NaN where unknown: a file that fills in zeros knows no place either."""
    place = np.array([float(electrode.get(axis, np.nan)) for axis in "xyz"])
    return np.full(3, np.nan) if not np.isfinite(place).all() or not place.any() else place * MICRO


def observed(units: Any) -> list[NDArray[np.float64]]:
    """The stretches, (stretch, 2) in seconds, in which each unit was observed; none where the file does not say."""
    if "obs_intervals" not in units.colnames:
        return []
    found = [np.asarray(units.get_unit_obs_intervals(row), float).reshape(-1, 2) for row in range(len(units))]
    return [one for one in found if len(one)]


def interval_tables(nwb: Any, names: Sequence[str]) -> dict[str, Any]:
    """The tables of intervals of these names, as far as the file has them."""
    tables = {**{one.name: one for one in (nwb.intervals or {}).values()}}
    for name in ("trials", "epochs", "invalid_times"):
        if (table := getattr(nwb, name)) is not None:
            tables[name] = table
    return {name: tables[name] for name in names if name in tables}


def interval_events(
    table: Any, name: str, codes: str, marks: Sequence[str], where: str
) -> tuple[Events, list[str]]:
    """An event per interval under its code, and one per time in each column of `marks` under the column's name; and a note on
    intervals that do not say when they began, which are left out."""
    for column in (*([codes] if codes else []), *marks):
        if column not in table.colnames:
            raise DataError(f"{where}: {name} has no column {column!r}; it has {', '.join(table.colnames)}")
    onset = np.asarray(table["start_time"][:], float)
    duration = np.asarray(table["stop_time"][:], float) - onset
    label = [as_word(code) for code in table[codes][:]] if codes else tagged(table, name)
    begun, notes = timed(onset, f"{name} have no start time")
    onset, duration, label = onset[begun], duration[begun], list(compress(label, begun))
    for column in marks:
        at = np.asarray(table[column][:], float)
        at = at[np.isfinite(at)]
        onset, duration = np.concatenate([onset, at]), np.concatenate([duration, np.zeros(len(at))])
        label += [column] * len(at)
    return Events(onset, np.nan_to_num(duration), tuple(label)), notes


def timed(time: NDArray[np.float64], lacking: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Which times are known, and a note on how many are `lacking` one."""
    known = np.isfinite(time)
    return known, [] if known.all() else [f"{(~known).sum()} of {len(time)} {lacking}, left out"]


def tagged(table: Any, name: str) -> list[str]:
    """Every interval's tags, else the table's name without its plural."""
    if "tags" not in table.colnames:
        return [name.removesuffix("s")] * len(table)
    return ["+".join(map(str, table["tags"][row])) or name for row in range(len(table))]


def behaviour(nwb: Any) -> Iterator[tuple[str, Any]]:
    """Every time series that is neither electrical nor pictures, under its own name or, where two share it, with its
    container's."""
    from pynwb import TimeSeries
    from pynwb.ecephys import ElectricalSeries
    from pynwb.image import ImageSeries

    found = [
        one
        for one in nwb.objects.values()
        if isinstance(one, TimeSeries) and not isinstance(one, ElectricalSeries | ImageSeries)
    ]
    names = [one.name for one in found]
    for one in found:
        alone = names.count(one.name) == 1
        yield one.name if alone else f"{one.parent.name}/{one.name}", one


def track_of(series: Any, start: float, where: str) -> Track | None:
    """A time series in its unit, at its rate or at the median one of its timestamps; None where it holds no numbers."""
    data = np.asarray(series.data[:])
    if data.dtype.kind not in "iufb" or len(data) < 2:
        return None
    scaled = data.astype(np.float64) * series.conversion + series.offset
    if series.rate is not None:
        return Track(scaled, float(series.rate), str(series.unit), float(series.starting_time or 0.0) - start)
    return regular(np.asarray(series.timestamps[:], float) - start, scaled, str(series.unit), where)


def is_of_events(series: Any) -> bool:
    """Whether a series says when something happened, and not how something changed."""
    return type(series.parent).__name__ == "BehavioralEvents"


def electrical_series(nwb: Any, name: str, where: str) -> Any:
    """The electrical series of that name, or the only one. Raises `DataError` that lists them."""
    from pynwb.ecephys import ElectricalSeries

    found = {one.name: one for one in nwb.objects.values() if isinstance(one, ElectricalSeries)}
    if not found:
        raise DataError(f"{where} holds no electrical series")
    if (name and name not in found) or (not name and len(found) > 1):
        raise DataError(f"{where}: name one of its electrical series with `series:`: {', '.join(found)}")
    return found[name or next(iter(found))]


def contacts_of(series: Any) -> Sensors:
    """The table of an electrical series' electrodes, in its order, as contacts in the brain."""
    rows = series.electrodes[:]
    electrodes = [row.to_dict() for _, row in rows.iterrows()]
    names = [as_word(one.get("label", one.get("channel_name", ""))) for one in electrodes]
    if "" in names or len(set(names)) < len(names):
        names = [f"electrode{number}" for number in rows.index]
    place = np.stack([position_of(one) for one in electrodes])
    region = [next((named_place(one[name]) for name in REGIONS if name in one), "") for one in electrodes]
    known = np.isfinite(place).all(axis=1).any()
    return Sensors.of(names, "seeg", "V", place, "own" if known else "none").with_regions(region)
