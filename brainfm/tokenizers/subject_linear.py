"""Subject-linear: one linear map of a person's voxels or contacts to one token (MindEye2, Du-IN).

Scotti et al. 2024, arXiv:2403.11207, §2.2: a linear layer for each subject, without a nonlinearity, brings all to one space; what
shrinks its weights is the optimiser's weight decay, so a stage of it must not exempt them (`undecayed: []`). Zheng et al. 2024
(Du-IN, arXiv:2405.11459, §3.2) map the contacts of a person to a few `channels` first, the same at all times, and read a stretch
of these by convolutions. Here a person's map is the rows that a vocabulary has for the sensors, so people are added by `adopt`
and sensors may come in any order.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from brainfm.batch import Batch, number_of
from brainfm.data.recording import Sensors
from brainfm.layers.embedding import Embed, embedding
from brainfm.layers.fixed import of_sensors
from brainfm.layers.patches import Rows, patches_of, tokenized
from brainfm.layers.vocabulary import Knowing, Vocabulary
from brainfm.tokenizers import Tokenizer
from brainfm.tokens import Tokenized


class SubjectLinear(Tokenizer):
    """One token for every `seconds`, whatever the number of voxels or contacts.

    Without `channels` each of its numbers is a weighted sum of all samples of all sensors. With them a person's map has one
    weight for each sensor and channel, and `embed` is everyone's.
    """

    reads = ("fmri", "seeg")

    channels: int | None = Field(default=None, ge=1)
    embed: Embed = "linear"
    start: float | None = Field(
        default=None,
        gt=0,
        description="standard deviation of a new person's weights; where sensors are chosen by theirs, a small one",
    )
    tells: bool = Field(
        default=False,
        description="whether channels are to tell the sensors that they are made of, and tokens stand for channels",
    )
    without: list[str] = Field(
        default=[], description='sensors that are not listened to, each "dataset/subject/name"'
    )

    def rows(self, sensors: Sensors, owner: str) -> tuple[str, ...]:
        return ("all sensors",)

    @property
    def held(self) -> int:
        return self.times * (self.channels or 1) if self.tells else self.times

    @model_validator(mode="after")
    def _embeds_channels(self) -> "SubjectLinear":
        if self.channels is None and self.tells:
            raise ValueError("tells: true is of channels; say how many `channels` a person's map has")
        if self.channels is None and self.embed != "linear":
            raise ValueError(
                f"embed: {self.embed} reads channels; say how many `channels` a person's map has"
            )
        return self

    def build(self, width: int, modality: int) -> "SubjectLinearTokenizer":
        return SubjectLinearTokenizer(self, width, modality)


class SubjectLinearTokenizer(Knowing):
    """`Batch -> Tokenized`, in order of time. A sensor that was never met has the mean of all rows, one left out has none."""

    def __init__(self, part: SubjectLinear, width: int, modality: int) -> None:
        super().__init__()
        self.part, self.modality = part, modality
        self.vocabulary = Vocabulary(part.channels or part.times * width, part.start)
        self.bias = nn.Parameter(torch.zeros(width))
        self.left_out = frozenset(map(number_of, part.without))
        """Identities of sensors that are not listened to (`leave_out`)."""
        if part.channels:
            self.embed = embedding(part.embed, part.times, width, part.channels)

    def known(self) -> dict[str, Any]:
        chosen = sorted(self.left_out - frozenset(map(number_of, self.part.without)))
        return super().known() | ({"left_out": chosen} if chosen else {})

    def restore(self, known: Mapping[str, Any]) -> None:
        super().restore(known)
        self.leave_out(known.get("left_out", ()))

    def leave_out(self, identities: Collection[int]) -> None:
        """Listen to these sensors no more. They keep their rows, which say nothing."""
        self.left_out |= frozenset(identities)

    def loudness(self) -> dict[int, float]:
        """By identity, how much of a sensor enters the token: the mean size of its weights (Du-IN, §3.4), if it is heard."""
        size = self.vocabulary.table.detach().abs().mean(dim=1).tolist()
        found = zip(self.vocabulary.ids, size, strict=True)
        return {identity: one for identity, one in found if identity not in self.left_out}

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tokenized:
        patches = patches_of(batch, self.part.times, self.part.sfreq)
        heard = batch.valid & self.heard(batch.identity)
        there = heard.to(patches.dtype)
        count = there.sum(dim=1).clamp(min=1).view(-1, 1, 1)
        patches = patches * there[:, :, None, None]
        held, losses = patches.sum(dim=1) / count, {}
        if self.part.channels:
            size = math.sqrt(self.part.channels) / count.sqrt().unsqueeze(-1)
            mixed = self.mixed(batch, patches) * size
            token = self.embed(mixed if self.part.channels > 1 else mixed.squeeze(2))
            if self.part.tells:
                held = mixed.flatten(2)
                losses = {"sensors": self.untold(batch, mixed * size, patches, there)}
        else:
            token = self.mapped(batch, patches) * math.sqrt(self.part.times * len(self.bias)) / count.sqrt()
        # a token of all sensors lies in their middle
        here = (batch.located & heard).to(patches.dtype).unsqueeze(-1)
        middle = (batch.position * here).sum(dim=1, keepdim=True) / here.sum(dim=1, keepdim=True).clamp(min=1)
        located = here.sum(dim=1) > 0
        nameless = torch.zeros_like(located, dtype=torch.int64)
        rows = Rows.all_there(middle, located, nameless, self.bias.expand(len(there), 1, -1))
        grid, value = token.unsqueeze(1), held.unsqueeze(1)
        return tokenized(batch, rows, grid, value, self.part.seconds, self.modality, losses)

    @of_sensors()
    def heard(self, identity: Int[Tensor, "batch sensor"]) -> Bool[Tensor, "batch sensor"]:
        """False where a sensor was left out."""
        without = torch.tensor(sorted(self.left_out), dtype=identity.dtype, device=identity.device)
        return ~torch.isin(identity, without)

    def mixed(
        self, batch: Batch, patches: Float[Tensor, "batch sensor patch time"]
    ) -> Float[Tensor, "batch patch channel time"]:
        """The channels of each patch, each a weighted sum of the sensors."""
        weight = self.vocabulary(batch.identity).to(patches.dtype)
        found: Tensor = torch.einsum("bspt,bsc->bpct", patches, weight)
        return found

    def untold(
        self,
        batch: Batch,
        mixed: Float[Tensor, "batch patch channel time"],
        patches: Float[Tensor, "batch sensor patch time"],
        there: Float[Tensor, "batch sensor"],
    ) -> Float[Tensor, ""]:
        """The share of the sensors' power that their channels do not tell, through the same weights the other way.

        Its least value has the channels span the sensors' first principal components, as of a linear autoencoder with tied
        weights (Baldi & Hornik 1989, Neural Networks 2, §3).
        """
        weight = self.vocabulary(batch.identity).to(mixed.dtype)
        told = torch.einsum("bpct,bsc->bspt", mixed, weight) * there[:, :, None, None]
        missed, power = ((one.square()).flatten(1).mean(dim=1) for one in (told - patches, patches))
        return (missed / power.clamp(min=1e-12)).mean()

    def mapped(
        self, batch: Batch, patches: Float[Tensor, "batch sensor patch time"]
    ) -> Float[Tensor, "batch patch width"]:
        """The sum over voxels of what each says by its row."""
        if bool((batch.identity == batch.identity[0]).all()):  # one person's: one product of matrices
            weight = self.vocabulary(batch.identity[:1])[0].unflatten(-1, (self.part.times, -1))
            found: Tensor = torch.einsum("bspt,stw->bpw", patches, weight.to(patches.dtype))
            return found
        several = self.vocabulary(batch.identity).unflatten(-1, (self.part.times, -1))
        return torch.einsum("bspt,bstw->bpw", patches, several.to(patches.dtype))
