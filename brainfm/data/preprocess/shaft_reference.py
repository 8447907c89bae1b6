"""Re-reference contacts along their shaft: against the next one, or against the mean of both neighbours."""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.preprocess import Change, Step, at_each_time
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

NUMBERED = re.compile(r"^(.*?)(\d+)$")
"""A contact's name: its shaft, and its number from the tip or the surface on."""


class ShaftReference(Step):
    """What one contact measures that its neighbours don't.

    `bipolar`: the difference of neighbours, placed half way between them, called A1-A2 (Du-IN). `laplacian`: a contact less the
    mean of its two neighbours (Li et al. 2018; BaRISTA); the ends of a shaft have one neighbour and are left out. Neighbours
    are contacts of one shaft whose numbers follow each other: a gap in the numbers is a gap in space.
    """

    each_time = True

    to: Literal["bipolar", "laplacian"]

    def __call__(self, recording: Recording, modality: str) -> Recording:
        """Raises `DataError` where a name has no number, or where no contact has the neighbours it takes."""
        signal = recording.signal(modality)
        change, table, notes = self._change(signal, recording.name)
        made = replace(signal, data=change(signal.load()), sensors=table)
        return recording.with_signal(modality, made).noting(*notes)

    def lazily(self, recording: Recording, modality: str, scratch: Path) -> Recording:
        """Each time on its own."""
        signal = recording.signal(modality)
        change, table, notes = self._change(signal, recording.name)
        return recording.with_signal(modality, at_each_time(signal, change, table)).noting(*notes)

    def _change(self, signal: Signal, where: str) -> tuple[Change, Sensors, list[str]]:
        """What is done to (contact, time), the table of what it gives, and notes."""
        runs = neighbours(signal.sensors, where)
        length = 2 if self.to == "bipolar" else 3
        groups = [run[start : start + length] for run in runs for start in range(len(run) - length + 1)]
        if not groups:
            raise DataError(f"{where}: no shaft has {length} contacts in a row, which {self.to} needs")
        weights = np.array([1.0, -1.0]) if self.to == "bipolar" else np.array([-0.5, 1.0, -0.5])

        def change(data: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([weights @ data[group] for group in groups])

        table = (
            paired(signal.sensors, groups)
            if self.to == "bipolar"
            else signal.sensors.take([g[1] for g in groups])
        )
        used = {row for group in groups for row in group}
        alone = [name for row, name in enumerate(signal.sensors.name) if row not in used]
        notes = [f"shaft_reference: {self.to}, {len(groups)} of {len(signal.sensors)} contacts"]
        return (
            change,
            table,
            [*notes, *([f"left out, without neighbours: {', '.join(alone)}"] if alone else [])],
        )


def neighbours(sensors: Sensors, where: str) -> list[list[int]]:
    """Rows of contacts that follow each other on a shaft, in the order of their numbers."""
    shafts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, name in enumerate(sensors.name):
        match = NUMBERED.match(name)
        if match is None:
            raise DataError(
                f"{where}: {name} has no number, so its place on a shaft is not known; leave it out with pick"
            )
        shafts[match[1]].append((int(match[2]), row))
    runs: list[list[int]] = []
    for contacts in shafts.values():
        last = None
        for number, row in sorted(contacts):
            if last is not None and number == last + 1:
                runs[-1].append(row)
            else:
                runs.append([row])
            last = number
    return runs


def paired(sensors: Sensors, pairs: list[list[int]]) -> Sensors:
    """The table of differences: half way between the two contacts, in a region where both are."""
    first = sensors.take([pair[0] for pair in pairs])
    second = sensors.take([pair[1] for pair in pairs])
    middle: NDArray[np.float64] = (first.position + second.position) / 2
    both = zip(first.region, second.region, strict=True)
    return replace(
        first,
        name=tuple(f"{a}-{b}" for a, b in zip(first.name, second.name, strict=True)),
        position=middle,
        region=tuple(a if a == b else "" for a, b in both),
    )
