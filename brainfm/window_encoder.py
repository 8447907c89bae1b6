"""WindowEncoder: a checkpoint under the signature that braindecode, Open EEG Bench and NeuralBench expect of a network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import Given
from brainfm.data.preprocess import Filter, Step, prepare
from brainfm.data.preprocess.resample import Resample
from brainfm.data.preprocess.robust_scale import TO_SD, RobustScale
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.data.selection import SensorChoice
from brainfm.errors import DataError
from brainfm.model import BrainFM
from brainfm.pooling import Pool, pool_tokens, pooled_width


class WindowEncoder(nn.Module):
    """Windows (batch, channel, time) to logits; the backbone is a checkpoint's, `final_layer` a new linear head.

    `n_chans` or `chs_info` (MNE's `info["chs"]`: names and places in head coordinates), `n_times` or `input_window_seconds`, and
    `sfreq` say what the windows are. Filters and the change of rate that pretraining had are one fixed matrix here, so that
    gradients pass; the scale, which pretraining took over a recording, is that of each window. Raises `DataError` for steps that
    are neither, and for windows that no whole patch fits.
    """

    matrix: Tensor

    def __init__(
        self,
        n_outputs: int | None = None,
        n_chans: int | None = None,
        chs_info: Sequence[Any] | None = None,
        n_times: int | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
        checkpoint: Any = "brainfm-tiny",
        modality: str = "eeg",
        pool: Pool = "sensor",
    ) -> None:
        super().__init__()
        if sfreq is None or (n_times is None and input_window_seconds is None):
            raise DataError("windows need `sfreq`, and `n_times` or `input_window_seconds`")
        if n_chans is None and chs_info is None:
            raise DataError("windows need `n_chans` or `chs_info`")
        samples = n_times if n_times is not None else round((input_window_seconds or 0.0) * sfreq)
        self.backbone = backbone(checkpoint)
        self.backbone.require(modality)
        self.pool = pool
        self.n_outputs, self.n_times, self.sfreq = n_outputs, samples, float(sfreq)
        sensors = table_of(chs_info, n_chans, modality)
        self.n_chans = len(sensors)
        linear, self.scales = parted(self.backbone.steps(modality))
        matrix, rate = as_matrix(linear, samples, float(sfreq), modality)
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)
        signal = self.backbone.signals[modality]
        count = round(matrix.shape[1] / rate / signal.tokenizer.seconds)
        if count < 1:
            raise DataError(
                f"windows of {samples / sfreq:g} s hold no patch of {signal.tokenizer.seconds:g} s"
            )
        empty = np.zeros((1, len(sensors), matrix.shape[1]), np.float32)
        self.like = Batch.of(modality, empty, rate, [sensors], places=[""])
        rows = len(signal.tokenizer.rows(sensors, "")) or 1
        width = pooled_width(self.backbone.width, pool, rows, count)
        self.final_layer: nn.Module = nn.Identity() if n_outputs is None else nn.Linear(width, n_outputs)
        self.width = width

    def forward(
        self,
        x: Float[Tensor, "batch channel time"],
        channel_positions: Float[Tensor, "batch channel 3"] | None = None,
        ch_names: Sequence[str] | None = None,
        return_features: bool = False,
    ) -> Any:
        """Logits (batch, output), or with `return_features` a mapping of `features` (batch, feature) and `cls_token` None.

        `channel_positions`, in metres in the frame of `chs_info` after it was brought to MNI, take the place of those that it
        gave; `ch_names` must be the channels it was built for.
        """
        if ch_names is not None and len(ch_names) != self.n_chans:
            raise DataError(f"this encoder was built for {self.n_chans} channels, not {len(ch_names)}")
        features = pool_tokens(self.backbone(self.batch(x, channel_positions)), self.pool)
        return {"features": features, "cls_token": None} if return_features else self.final_layer(features)

    def reset_head(self, n_outputs: int) -> None:
        """A new head for another number of outputs."""
        self.n_outputs = n_outputs
        self.final_layer = nn.Linear(self.width, n_outputs).to(next(self.parameters()).device)

    def batch(self, x: Float[Tensor, "batch channel time"], position: Tensor | None = None) -> Batch:
        """The windows as the backbone reads them."""
        if x.shape[1:] != (self.n_chans, self.n_times):
            raise DataError(f"windows of shape {tuple(x.shape[1:])} are not ({self.n_chans}, {self.n_times})")
        signal = x @ self.matrix.to(x.dtype)
        for step in self.scales:
            signal = scaled(signal, step, self.like)
        made = self.like.to(x.device)
        spread = {
            name: getattr(made, name).expand(len(x), *getattr(made, name).shape[1:])
            for name in ("position", "located", "orientation", "kind", "identity", "region", "lobe", "valid")
        }
        if position is not None:
            spread |= {"position": position.nan_to_num(), "located": position.isfinite().all(dim=-1)}
        recording = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return replace(made, signal=signal.float(), recording=recording, **spread)


def backbone(checkpoint: Any) -> Any:
    """A checkpoint by its name, or a model itself."""
    return checkpoint if isinstance(checkpoint, nn.Module) else BrainFM.from_pretrained(checkpoint)


def table_of(chs_info: Sequence[Any] | None, n_chans: int | None, modality: str) -> Sensors:
    """The sensors of MNE's channel mappings; without them so many of unknown place."""
    kind, measured = next(iter(find_modality(modality).kinds.items()))
    if chs_info is None:
        return Sensors.of([f"E{number + 1}" for number in range(n_chans or 0)], kind, measured.unit)
    names = [str(one["ch_name"]) for one in chs_info]
    places = np.array([np.asarray(one.get("loc", [np.nan] * 3), float)[:3] for one in chs_info])
    places[~places.any(axis=1)] = np.nan
    known = bool(np.isfinite(places).all(axis=1).any())
    given = Given(places, np.full_like(places, np.nan)) if known else None
    return SensorChoice().select(names, [kind] * len(names), given, "chs_info", modality).sensors


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
