"""MontageEncoder: a checkpoint under the signature that NeuralBench expects of a network, whatever the cap and the window."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from brainfm.data.modalities import modality as find_modality
from brainfm.data.positions import DEFAULT_MONTAGE, HEAD, canonical, head_positions, head_to_mni, to_mni
from brainfm.data.recording import Sensors
from brainfm.errors import DataError
from brainfm.window_encoder import backbone
from brainfm.window_reader import WindowReader, parted

RATE = 120.0
"""Hertz of NeuralBench's EEG and MEG."""
NOWHERE = -0.1
"""What NeuralBench gives for all three coordinates of a channel whose place it does not know."""


class MontageEncoder(nn.Module):
    """Windows (batch, channel, time) of any channels and length, `sfreq` hertz, to tokens (batch, row, patch, feature).

    NeuralBench builds one network for a whole suite and tells it with every batch which channels it sees:

        neuralbench.evaluate_model(MontageEncoder("brainfm-tiny"), "eeg", "motor_imagery", name="brainfm-tiny")

    `sfreq` is the rate of its EEG, unless `data.neuro.frequency` is overridden: windows don't tell theirs. A channel is where its
    name says; those that no montage knows are where `channel_positions` says, if `data.channel_positions.normalize` is false:
    places between 0 and 1 are none on a head. Filters, rate and scale as in `WindowReader`.
    """

    def __init__(self, checkpoint: Any = "brainfm-tiny", sfreq: float = RATE, modality: str = "eeg") -> None:
        super().__init__()
        self.backbone = backbone(checkpoint)
        self.backbone.require(modality)
        parted(self.backbone.steps(modality))  # or refused now, not with the first batch
        self.sfreq, self.modality = float(sfreq), modality
        self.readers: dict[tuple[tuple[str, ...], int], WindowReader] = {}

    def forward(
        self,
        x: Float[Tensor, "batch channel time"],
        channel_positions: Float[Tensor, "batch channel 3"] | None = None,
        ch_names: Sequence[str] | None = None,
    ) -> Float[Tensor, "batch row patch feature"]:
        """Tokens of every window. `channel_positions` are metres in head coordinates, `NOWHERE` where unknown.

        Raises `DataError` where they are not metres, where no channel has a place, and for windows too short for a patch.
        """
        names = tuple(ch_names or (f"E{number + 1}" for number in range(x.shape[1])))
        reader = self.reader(names, x.shape[2]).to(x.device)
        batch = reader(x, self.placed(reader, channel_positions))
        with unhooked([self.backbone, self.backbone.encoder, *self.backbone.tokenizers.values()]):
            tokens = self.backbone(batch)
        embedding: Tensor = tokens.embedding
        return embedding.unflatten(1, (tokens.rows, -1))

    def reader(self, names: tuple[str, ...], samples: int) -> WindowReader:
        """What reads windows of these channels and length, made once."""
        key = (names, samples)
        if key not in self.readers:
            sensors = by_name(names, self.modality)
            self.readers[key] = WindowReader(self.backbone, self.modality, sensors, samples, self.sfreq)
        return self.readers[key]

    def placed(self, reader: WindowReader, head: Tensor | None) -> Float[Tensor, "#batch channel 3"]:
        """Where each channel is, in metres in MNI, NaN where nobody knows."""
        like = reader.like.to(reader.matrix.device)
        known = like.located[0]
        place = like.position.where(known.unsqueeze(-1), torch.nan)
        if head is not None:
            place = place.where(known.unsqueeze(-1), told(head, ~known))
        if not place.isfinite().any():
            raise DataError(
                f"none of {place.shape[1]} channels has a place: give `ch_names` of a montage, or `channel_positions`"
            )
        return place


@contextmanager
def unhooked(modules: Sequence[nn.Module]) -> Iterator[None]:
    """No hooks for a while on layers that pass on `Tokens`: other tools (torchinfo, in NeuralBench) weigh tensors alone."""
    held = [(one, one._forward_pre_hooks, one._forward_hooks) for one in modules]
    for one in modules:
        one._forward_pre_hooks, one._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for one, before, after in held:
            one._forward_pre_hooks, one._forward_hooks = before, after


def by_name(names: Sequence[str], modality: str) -> Sensors:
    """The sensors of these names, where the standard montage has them; the others have no place."""
    kind, measured = next(iter(find_modality(modality).kinds.items()))
    places = head_positions(DEFAULT_MONTAGE) if modality == "eeg" else {}
    nowhere = np.full(3, np.nan)
    head = np.stack([places.get(canonical(name) or "", nowhere) for name in names])
    return Sensors.of(list(names), kind, measured.unit, position=to_mni(head), frame="approximate")


def told(
    head: Float[Tensor, "batch channel 3"], asked: Bool[Tensor, " channel"]
) -> Float[Tensor, "batch channel 3"]:
    """Head coordinates to MNI; NaN for `NOWHERE`. Raises `DataError` where channels that are asked for have no place on a head.

    All channels tell whether these are metres: a place between 0 and 1 may lie near the middle by chance.
    """
    head = head.masked_fill((head == NOWHERE).all(dim=-1, keepdim=True), torch.nan)
    farthest = float(head.norm(dim=-1).nan_to_num().max())
    if farthest > HEAD[1] and bool(head[:, asked].isfinite().any()):
        raise DataError(
            f"channel_positions are not metres in head coordinates: one lies {farthest:.3g} from its middle; with NeuralBench, "
            "override data.channel_positions.normalize=False"
        )
    matrix = torch.from_numpy(head_to_mni()).to(head)
    return head @ matrix[:3, :3].T + matrix[:3, 3]
