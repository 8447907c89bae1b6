"""Units: what one of each is in SI, and how this house spells it."""

import numpy as np

from brainfm.errors import DataError

UNITS: dict[str, dict[str, float]] = {
    "V": {"V": 1.0, "mV": 1e-3, "µV": 1e-6, "nV": 1e-9},
    "T": {"T": 1.0, "µT": 1e-6, "nT": 1e-9, "pT": 1e-12, "fT": 1e-15},
    "A m": {"A m": 1.0, "nA m": 1e-9, "pA m": 1e-12},
    "%": {"%": 1.0, "1": 100.0, "z": 1.0},
    "Hz": {"s": 1.0, "ms": 1e3, "µs": 1e6},
    "T/m": {"T/m": 1.0, "T/cm": 1e2, "pT/m": 1e-12, "fT/m": 1e-15, "pT/cm": 1e-10, "fT/cm": 1e-13},
}
"""Of each SI unit, the units in which files hold it; of firing rates, the unit of the spikes' times."""
WORDS = {"V": "volts", "mV": "millivolts", "µV": "microvolts", "nV": "nanovolts"}
PREFIXES = {0: "", -1: "m", -2: "µ", -3: "n", -4: "p", -5: "f"}


def spelled(unit: str) -> str:
    """The unit as this house writes it: `uV` and the Greek letter mu are `µV`."""
    return unit.strip().replace("\u03bc", "µ").replace("uV", "µV").replace("uT", "µT")


def in_si(unit: str, si: str = "V") -> float:
    """What one `unit` is in the SI unit. Raises `DataError` for a unit of something else."""
    name = spelled(unit)
    if name not in UNITS[si]:
        raise DataError(f"unit {unit!r} is not known; use one of {', '.join(UNITS[si])}")
    return UNITS[si][name]


def words(unit: str) -> str:
    """The unit in a sentence."""
    return WORDS.get(unit, unit)


def readable(amplitude: float, si: str = "V") -> str:
    """An amplitude with the prefix that keeps it short."""
    if si in ("%", "Hz") or not 1e-15 < amplitude < 1e6:
        return f"{amplitude:.3g} {si}"
    exponent = int(np.clip(np.floor(np.log10(amplitude) / 3 + 1e-9), -5, 0))
    return f"{amplitude / 10.0 ** (3 * exponent):.3g} {PREFIXES[exponent]}{si}"
