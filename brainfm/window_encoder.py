"""WindowEncoder: a checkpoint under the signature that braindecode and Open EEG Bench expect of a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import Given, canonical
from brainfm.data.recording import Sensors
from brainfm.data.selection import SensorChoice
from brainfm.errors import DataError
from brainfm.model import BrainFM
from brainfm.pooling import Pool, pool_tokens, pooled_width
from brainfm.window_reader import WindowReader


class WindowEncoder(nn.Module):
    """Windows (batch, channel, time) to logits; the backbone is a checkpoint's, `final_layer` a new linear head.

    `n_chans` or `chs_info` (MNE's `info["chs"]`: names and places in head coordinates), `n_times` or `input_window_seconds`, and
    `sfreq` say what the windows are. Filters and the change of rate that pretraining had are one fixed matrix here, so that
    gradients pass; the scale, which pretraining took over a recording, is that of each window. Raises `DataError` for steps that
    are neither, and for windows that no whole patch fits.
    """

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
        # Nobody calls braindecode's windows by names, but its models (Labram) and benchmarks around them pass such ones on, in
        # upper case or as a file has them. Channels that were only counted have no names to compare.
        self.names = sensors.name if chs_info is not None else ()
        self.reader = WindowReader(self.backbone, modality, sensors, samples, self.sfreq)
        width = pooled_width(self.backbone.width, pool, self.reader.rows, self.reader.patches)
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
        gave; `ch_names` must be the channels it was built for, in their order. Raises `DataError` for others.
        """
        if ch_names is not None:
            self.require(ch_names)
        features = pool_tokens(self.backbone(self.reader(x, channel_positions)), self.pool)
        return {"features": features, "cls_token": None} if return_features else self.final_layer(features)

    def require(self, names: Sequence[str]) -> None:
        """Raise `DataError` unless these are the channels that it was built for, in their order: each has a place and weights."""
        if len(names) != self.n_chans:
            raise DataError(f"this encoder was built for {self.n_chans} channels, not {len(names)}")
        for number, (own, name) in enumerate(zip(self.names, names, strict=False), 1):
            if called(own) != called(name):
                raise DataError(
                    f"channel {number} is {name}, and this encoder was built for {own} there; "
                    "give windows with the channels of `chs_info`, in its order"
                )

    def reset_head(self, n_outputs: int) -> None:
        """A new head for another number of outputs."""
        self.n_outputs = n_outputs
        self.final_layer = nn.Linear(self.width, n_outputs).to(next(self.parameters()).device)


def called(name: str) -> str:
    """A channel's name however it is written: FP1, Fp1. and EEG Fp1-REF are one."""
    return (canonical(name) or name).casefold()


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
