"""Windows as others cut them, to what a backbone reads: its filters, its rate and its scale, inside a network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.preprocess import Filter, Step, prepare
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import TO_SD, RobustScale
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError


class WindowReader(nn.Module):
    """Windows (batch, channel, time) of one montage, length and rate to a `Batch`.

    Filters and the change of rate that pretraining had are one fixed matrix here, so that gradients pass; the scale, which
    pretraining took over a recording, is that of each window. `rows` and `patches` are how many tokens a window becomes. Raises
    `DataError` for steps that are neither, and for windows that no whole patch fits.
    """

    matrix: Tensor

    def __init__(self, backbone: Any, modality: str, sensors: Sensors, samples: int, sfreq: float) -> None:
        super().__init__()
        linear, self.scales = parted(backbone.steps(modality))
        matrix, rate = as_matrix(linear, samples, sfreq, modality)
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)
        tokenizer = backbone.signals[modality].tokenizer
        self.samples, self.rows = samples, len(tokenizer.rows(sensors, "")) or 1
        self.patches = round(matrix.shape[1] / rate / tokenizer.seconds)
        if self.patches < 1:
            raise DataError(f"windows of {samples / sfreq:g} s hold no patch of {tokenizer.seconds:g} s")
        empty = np.zeros((1, len(sensors), matrix.shape[1]), np.float32)
        self.like = Batch.of(modality, empty, rate, [sensors], places=[""])

    def forward(
        self,
        x: Float[Tensor, "batch channel time"],
        position: Float[Tensor, "#batch channel 3"] | None = None,
    ) -> Batch:
        """The windows as the backbone reads them; `position`, metres in MNI or NaN, takes the place of the sensors' own."""
        wanted = (self.like.signal.shape[1], self.samples)
        if x.shape[1:] != wanted:
            raise DataError(f"windows of shape {tuple(x.shape[1:])} are not {wanted}")
        signal = x @ self.matrix.to(x.dtype)
        for step in self.scales:
            signal = scaled(signal, step, self.like)
        made = self.like.to(x.device)
        spread = {
            name: getattr(made, name).expand(len(x), *getattr(made, name).shape[1:])
            for name in ("position", "located", "orientation", "kind", "identity", "region", "lobe", "valid")
        }
        if position is not None:
            position = position.expand(len(x), -1, -1)
            spread |= {"position": position.nan_to_num(), "located": position.isfinite().all(dim=-1)}
        recording = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return replace(made, signal=signal.float(), recording=recording, **spread)


def parted(steps: Sequence[Step]) -> tuple[list[Step], list[RobustScale]]:
    """Steps that are linear in each sensor's time course, and the scales after them. Raises `DataError` for others."""
    linear: list[Step] = [step for step in steps if isinstance(step, Filter | Resample)]
    scales = [step for step in steps if isinstance(step, RobustScale)]
    other = [step.kind for step in steps if step not in linear and step not in scales]
    if other or list(steps) != [*linear, *scales]:
        raise DataError(
            f"the checkpoint prepares recordings by {', '.join(other) or 'scaling before it filters'}, which can't be done to "
            "single windows; use brainfm.Embedder"
        )
    return linear, scales


def as_matrix(
    steps: Sequence[Step], samples: int, sfreq: float, modality: str
) -> tuple[NDArray[np.float32], float]:
    """(time, time after the steps) what they do to a window, found by giving them each single sample; and the rate after them."""
    names = [str(row) for row in range(samples)]
    signal = Signal(np.eye(samples), sfreq, Sensors.of(names, "eeg", "V"))
    made = prepare([Recording({modality: signal})], steps, modality)[0].signal(modality)
    return made.load().astype(np.float32), made.sfreq


def scaled(
    signal: Float[Tensor, "batch channel time"], step: RobustScale, like: Batch
) -> Float[Tensor, "batch channel time"]:
    """Each window by its own median and MAD; with `per: all`, sensors of a kind share the median of theirs."""
    centre = middle(signal, -1)
    size = TO_SD * middle((signal - centre).abs(), -1)
    if step.per == "all":
        for kind in like.kind[0].unique():
            rows = like.kind[0] == kind
            size[:, rows] = middle(size[:, rows], 1)
    out = (signal - centre) / size.detach().clamp(min=torch.finfo(signal.dtype).tiny)
    return out if step.clip is None else out.clamp(-step.clip, step.clip)


def middle(values: Tensor, dim: int) -> Tensor:
    """The median along a dimension that stays, of an even number the mean of the two in the middle, as numpy has it."""
    ordered = values.sort(dim=dim).values
    count = values.shape[dim]
    return (ordered.narrow(dim, (count - 1) // 2, 1) + ordered.narrow(dim, count // 2, 1)) / 2
