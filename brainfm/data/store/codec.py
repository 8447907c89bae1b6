"""How samples are held in two bytes: stored · scale + offset, by sensor, with the largest error known."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess.robust_scale import TO_SD
from brainfm.data.spool import Spool
from brainfm.errors import DataError

Held = Literal["int16", "float16"]
STEPS = 65534
"""Steps of int16 from the smallest to the largest sample; −32768 stays unused, so that the range is symmetric."""
LARGEST = 60000.0
"""Scaled samples that float16 may hold: its largest number is 65504."""
COARSEST = 0.01
"""The largest error that int16 may make, as a share of the sensor's robust scale."""


@dataclass(frozen=True)
class Coding:
    """(sensor,) `scale` and `offset` in the sensor's unit, and its `robust` scale, which errors are measured in."""

    dtype: Held
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    robust: NDArray[np.float64]

    def encode(self, block: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.float16]:
        """(time, sensor) samples as they are stored."""
        scaled = (block.astype(np.float64) - self.offset) / self.scale
        return np.rint(scaled).astype("<i2") if self.dtype == "int16" else scaled.astype("<f2")

    def error(self, block: NDArray[np.float32], stored: NDArray[np.int16] | NDArray[np.float16]) -> float:
        """The largest error in a block (time, sensor), in robust scales of its sensor."""
        given = decode(stored, self.scale.astype(np.float32), self.offset.astype(np.float32)).T
        return float((np.abs(given.astype(np.float64) - block) / self.robust).max())


def decode(
    stored: NDArray[np.int16] | NDArray[np.float16],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(sensor, time) samples as they were, to within the error, from (time, sensor) as they are stored."""
    samples = stored.T.astype(np.float32, order="C")  # turned first: scaling along rows is 2.5 times as fast
    samples *= scale[:, None]
    samples += offset[:, None]
    return samples


def coding(spool: Spool, dtype: Held, names: tuple[str, ...], where: str) -> Coding:
    """A coding that clips nothing. Raises `DataError` for samples that are no numbers, or too wide a range for int16."""
    low, high, spread, whole = extent(spool, names, where)
    middle, distance = spool.robust()
    robust = TO_SD * distance
    robust = np.where(robust > 0, robust, np.where(spread > 0, spread, 1.0))
    if dtype == "float16":
        widest = np.maximum(high - middle, middle - low)
        return Coding(dtype, np.maximum(robust, widest / LARGEST), middle, robust)
    # counts and other whole numbers stay exactly what they are
    exact = whole & (high <= STEPS // 2) & (low >= -(STEPS // 2))
    fine = (high - low) / STEPS
    step = np.where(exact | (fine == 0), 1.0, fine)
    coarse = np.where(exact, 0.0, fine / 2 / robust)
    worst = int(coarse.argmax())
    if coarse[worst] > COARSEST:
        raise DataError(
            f"{where}: {names[worst]} has samples {(high - low)[worst] / robust[worst]:.0f} robust scales apart, too far for "
            f"int16 (errors up to {coarse[worst]:.1%} of one); prepare with `--dtype float16`, or clip with robust_scale first"
        )
    return Coding(dtype, step, np.where(exact, 0.0, (high + low) / 2), robust)


def extent(
    spool: Spool, names: tuple[str, ...], where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(sensor,) smallest and largest sample, standard deviation, and whether all samples are whole numbers."""
    sensors, times = spool.shape
    low, high = np.full(sensors, np.inf), np.full(sensors, -np.inf)
    total, squares, whole = np.zeros(sensors), np.zeros(sensors), np.ones(sensors, bool)
    first = np.asarray(spool[:, 0], np.float64)
    for block in spool.blocks():
        if not (finite := np.isfinite(block).all(axis=0)).all():
            raise DataError(
                f"{where}: {names[int(finite.argmin())]} has samples that are no numbers after its preparation; leave it out"
            )
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        away = block - first
        total, squares = total + away.sum(axis=0), squares + (away**2).sum(axis=0)
        whole &= (block == np.rint(block)).all(axis=0)
    spread = np.sqrt(np.maximum(squares / times - (total / times) ** 2, 0))
    return low, high, spread, whole
