"""Batch: the one crossing from numpy to torch. Left of it no torch, right of it no file."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from brainfm.data.recording import Sensors


@dataclass(frozen=True)
class Batch:
    """Windows of one modality and one layout (the same number of sensors and samples in every row)."""

    modality: str
    signal: Float[Tensor, "batch sensor time"]
    sfreq: float
    position: Float[Tensor, "batch sensor 3"]
    located: Bool[Tensor, "batch sensor"]
    valid: Bool[Tensor, "batch sensor"]
    recording: Int[Tensor, " batch"]
    """Row of the list of recordings that the windows were cut from."""
    padded: bool = False

    @classmethod
    def of(
        cls,
        modality: str,
        signal: NDArray[np.float32],
        sfreq: float,
        sensors: list[Sensors],
        recording: NDArray[np.int64] | None = None,
    ) -> "Batch":
        """From an array (window, sensor, time) and the sensor table of each window."""
        position = np.stack([np.nan_to_num(table.position) for table in sensors]).astype(np.float32)
        located = np.stack([table.located for table in sensors])
        rows = np.zeros(len(signal), np.int64) if recording is None else recording
        return cls(
            modality=modality,
            signal=torch.from_numpy(np.ascontiguousarray(signal, np.float32)),
            sfreq=float(sfreq),
            position=torch.from_numpy(position),
            located=torch.from_numpy(located),
            valid=torch.ones(located.shape, dtype=torch.bool),
            recording=torch.from_numpy(np.asarray(rows, np.int64)),
        )

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        if self.signal.device == device:
            return self
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("signal", "position", "located", "valid", "recording")
        }
        return replace(self, **moved)
