"""Batch: the one crossing from numpy to torch. Left of it no torch, right of it no file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from brainfm.data.lobes import lobe_of
from brainfm.data.recording import Sensors

KINDS = (
    "eeg", "mag", "grad", "source", "seeg", "ecog", "dbs", "voxel", "vertex", "parcel", "neuron", "multiunit", "track",
)  # fmt: skip
"""Kinds of sensor by the number under which a network knows them: a new one is added at the end, so that it shifts none."""


@dataclass(frozen=True)
class Batch:
    """Windows of one modality and one layout (the same number of sensors and samples in every row).

    `identity` and `region` are words made numbers (`number_of`), the same in every process and every run: of one sensor of one
    person, of its anatomical label and of the lobe that it lies in; 0 stands for none.
    """

    modality: str
    signal: Float[Tensor, "batch sensor time"]
    sfreq: float
    position: Float[Tensor, "batch sensor 3"]
    located: Bool[Tensor, "batch sensor"]
    orientation: Float[Tensor, "batch sensor 3"]
    """Unit vectors; zeros where a sensor has none or it is unknown."""
    kind: Int[Tensor, "batch sensor"]
    """Index into `KINDS`."""
    identity: Int[Tensor, "batch sensor"]
    region: Int[Tensor, "batch sensor"]
    lobe: Int[Tensor, "batch sensor"]
    valid: Bool[Tensor, "batch sensor"]
    recording: Int[Tensor, " batch"]
    """Row of the list of recordings that the windows were cut from."""
    padded: bool = False
    subject: Int[Tensor, " batch"] | None = None
    """Whose each window is: `number_of` "dataset/subject", 0 where that is not known; None where nobody's is."""

    @classmethod
    def of(
        cls,
        modality: str,
        signal: NDArray[np.float32],
        sfreq: float,
        sensors: Sequence[Sensors],
        recording: NDArray[np.int64] | None = None,
        places: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
    ) -> "Batch":
        """From an array (window, sensor, time), the sensor table of each window, and whose each is.

        `places` say whose the sensors are, where they are someone's own, `subjects` whose the brain is ("dataset/subject").
        """
        rows = np.zeros(len(signal), np.int64) if recording is None else np.asarray(recording, np.int64)
        whose = places if places is not None else [""] * len(signal)
        described = [_described(*pair) for pair in zip(map(_Table, sensors), whose, strict=True)]
        named: dict[str, Any] = {
            name: torch.from_numpy(np.stack([one[name] for one in described])) for name in described[0]
        }
        return cls(
            modality=modality,
            signal=torch.from_numpy(np.ascontiguousarray(signal, np.float32)),
            sfreq=float(sfreq),
            recording=torch.from_numpy(rows),
            subject=None if subjects is None else torch.tensor([number_of(name) for name in subjects]),
            **named,
        )

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """The same batch on another device; `non_blocking` copies from pinned memory beside the computation."""
        if self.signal.device == device:
            return self
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in memory that a GPU copies from by itself; a `DataLoader` asks for it."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: change(one) for name, one in named.items() if isinstance(one, Tensor)
        }
        return replace(self, **changed)

    def windows(self, part: slice | Int[Tensor, " row"]) -> "Batch":
        """Some of the windows, any as often as it is named, with all their sensors."""
        tensors = [field.name for field in fields(self) if isinstance(getattr(self, field.name), Tensor)]
        return replace(self, **{name: getattr(self, name)[part] for name in tensors})

    def sensors(self, rows: Int[Tensor, " kept"]) -> "Batch":
        """The same windows with these sensors alone, in this order."""
        names = (
            "signal",
            "position",
            "located",
            "orientation",
            "kind",
            "identity",
            "region",
            "lobe",
            "valid",
        )
        return replace(self, **{name: getattr(self, name)[:, rows] for name in names})


class _Table:
    """A sensor table as a key of a cache: the same object, the same key."""

    def __init__(self, sensors: Sensors) -> None:
        self.sensors = sensors

    def __hash__(self) -> int:
        return id(self.sensors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and self.sensors is other.sensors


@lru_cache(maxsize=4096)
def _described(table: _Table, place: str) -> dict[str, NDArray[np.generic]]:
    """What a network is told of each sensor of one window."""
    sensors = table.sensors
    return {
        "position": np.nan_to_num(sensors.position).astype(np.float32),
        "located": sensors.located,
        "orientation": np.nan_to_num(sensors.orientation).astype(np.float32),
        "kind": np.array([KINDS.index(kind) for kind in sensors.kind], np.int64),
        "identity": np.array([number_of(f"{place}/{name}") for name in sensors.name], np.int64),
        "region": np.array([number_of(name) for name in sensors.region], np.int64),
        "lobe": np.array([number_of(lobe_of(name)) for name in sensors.region], np.int64),
        "valid": np.ones(len(sensors), dtype=bool),
    }


def number_of(word: str) -> int:
    """A word as a signed 64-bit number, by SHA-256; 0 for the empty word."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little", signed=True) if word else 0
