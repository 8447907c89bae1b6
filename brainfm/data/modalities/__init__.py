"""Modalities: one file per instrument, with its unit, its plausible amplitudes and its view of the
simulated brain."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.part import suggest


@dataclass(frozen=True)
class Kind:
    """What one kind of sensor measures.

    `plausible` are the smallest and largest typical amplitudes (the standard deviation within a second,
    median over seconds and sensors) and `flat` the one under which a sensor measures nothing, all in the SI
    `unit`.
    """

    unit: str
    plausible: tuple[float, float]
    typical: float
    flat: float


@dataclass(frozen=True)
class Modality:
    """What holds for every recording of one instrument. `kinds` are its kinds of sensor, under MNE's names."""

    name: str
    words: str
    kinds: Mapping[str, Kind]
    montage: str
    sfreq: float
    simulate: Callable[..., Recording]


def known() -> list[str]:
    """The modalities that brainfm has, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def modality(name: str) -> Modality:
    """The modality called `name`, from the file of that name. Raises `DataError` with the nearest name."""
    if name not in known():
        raise DataError(f"modality {name!r} is not known{suggest(name, known())}")
    found: Modality = getattr(importlib.import_module(f"{__name__}.{name}"), name.upper())
    return found
