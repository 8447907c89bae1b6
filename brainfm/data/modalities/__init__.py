"""Modalities: one file per instrument, with its unit, its plausible amplitudes and its view of the
simulated brain; and behaviour, which no instrument of the brain measures."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.amplitude import variation
from brainfm.data.recording import Recording, Signal
from brainfm.errors import DataError
from brainfm.part import suggest

Whose = Literal["all", "subject", "session"]


@dataclass(frozen=True)
class Kind:
    """What one kind of sensor measures.

    `plausible` are the smallest and largest typical amplitudes (the modality's `amplitude`, median over sensors) and `flat`
    the one under which a sensor measures nothing, all in the SI `unit`. `whose` are its names: Cz is everyone's, a contact or
    a voxel one person's, a sorted neuron one session's.
    """

    unit: str
    plausible: tuple[float, float]
    typical: float
    flat: float
    whose: Whose = "all"


@dataclass(frozen=True)
class Modality:
    """What holds for every recording of one instrument. `kinds` are its kinds of sensor, under MNE's names where it has one.

    `title` is its name as people write it, `words` what it measures. `amplitude` gives (sensor,) how large a signal typically is,
    `verb` says it in a sentence, `dead` what is said of a sensor that measures nothing. `of_brain` is False for what went with
    the brain: it is made of a recording's tracks, so no card is of it and no gate has looked at it.
    """

    name: str
    title: str
    words: str
    kinds: Mapping[str, Kind]
    montage: str
    sfreq: float
    simulate: Callable[..., Recording]
    amplitude: Callable[[Signal], NDArray[np.float64]] = variation
    verb: str = "typically varies by"
    dead: str = "is flat"
    of_brain: bool = True


def known() -> list[str]:
    """The modalities that brainfm has, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def instruments() -> list[str]:
    """Those that measure the brain, sorted: what a card can be of."""
    return [name for name in known() if modality(name).of_brain]


def modality(name: str) -> Modality:
    """The modality called `name`, from the file of that name. Raises `DataError` with the nearest name."""
    if name not in known():
        raise DataError(f"modality {name!r} is not known{suggest(name, known())}")
    found: Modality = getattr(importlib.import_module(f"{__name__}.{name}"), name.upper())
    return found


def whose(recording: Recording, name: str) -> Whose:
    """Whose the sensors' names are: a session's where those of one kind are, else a person's, else everyone's."""
    kinds = modality(name).kinds
    found = {kinds[kind].whose for kind in set(recording.signal(name).sensors.kind) if kind in kinds}
    return "session" if "session" in found else "subject" if "subject" in found else "all"


def owner(recording: Recording, name: str) -> str:
    """Whose the sensors' names are, "dataset/subject" or "dataset/subject/session"; "" where they mean the same to everyone."""
    of = whose(recording, name)
    person = f"{recording.dataset}/{recording.subject}" if recording.subject else recording.name
    if of == "session":
        # of two files of one person that stand in no dataset and name no session, each is one of its own
        alone = recording.subject and not recording.dataset
        return f"{person}/{recording.session or (recording.source if alone else '')}"
    return person if of == "subject" else ""
