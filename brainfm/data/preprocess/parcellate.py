"""Average the sensors of each region: voxels of an atlas become parcels that people share."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording, Sensors
from brainfm.data.regions import UNKNOWN
from brainfm.errors import DataError


class Parcellate(Step):
    """One sensor of kind parcel per region (`Sensors.region`), the mean of its sensors, placed in their middle, sorted by name.

    `keep` names the regions and their order, so that every recording gives the same ones; one that a recording lacks is
    refused. Sensors in no region, or in none that is kept, are left out with a note.
    """

    each_time = True

    keep: list[str] = Field(default=[])

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where no sensor has a region, a kept one has no sensor, or a region mixes units."""
        signal = recording.signal(modality)
        region = np.array(signal.sensors.region)
        found = sorted(set(region.tolist()) - {"", UNKNOWN})
        if not found:
            raise DataError(
                f"{recording.name}: no sensor has a region; label them first, as atlas_regions does"
            )
        wanted = self.keep or found
        if missing := [name for name in wanted if name not in found]:
            raise DataError(
                f"{recording.name}: no sensor lies in {missing[0]}; its regions: {', '.join(found[:20])}"
            )
        groups = [np.flatnonzero(region == name) for name in wanted]
        data = signal.load()
        table = Sensors.of(wanted, "parcel", "", middles(signal.sensors, groups), signal.sensors.frame)
        units = tuple(one_unit(signal.sensors, rows, recording.name) for rows in groups)
        table = replace(table, unit=units, region=tuple(wanted))
        mean = np.stack([data[rows].mean(axis=0) for rows in groups])
        left = len(region) - sum(map(len, groups))
        note = f"parcellate: {len(region) - left} sensors in {len(wanted)} regions, {left} left out"
        return recording.with_signal(modality, replace(signal, data=mean, sensors=table)).noting(note)


def middles(sensors: Sensors, groups: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """(region, 3) the middle of each region's sensors; NaN where any of them has no place."""
    return np.stack([sensors.position[rows].mean(axis=0) for rows in groups])


def one_unit(sensors: Sensors, rows: NDArray[np.int64], where: str) -> str:
    """The unit that a region's sensors share. Raises `DataError` where they don't."""
    units = sorted({sensors.unit[row] for row in rows.tolist()})
    if len(units) > 1:
        raise DataError(
            f"{where}: region {sensors.region[rows[0]]} holds sensors in {' and '.join(units)}; pick one kind"
        )
    return units[0]
