"""Tokens, the narrow waist: every instrument becomes these, and encoders, objectives and heads never ask which one made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Table:
    """Where every row of a window is, those whose tokens are hidden included."""

    position: Float[Tensor, "batch row 3"]
    """Metres in MNI space."""
    located: Bool[Tensor, "batch row"]
    """False for padding, too."""
    modality: Int[Tensor, "batch row"]


@dataclass(frozen=True)
class Tokens:
    """One stream of tokens for a batch of windows.

    A regular stream lists the tokens of a sensor in order of time, sensor after sensor (`sensor · n_times + time`); `period`
    is the time in seconds between two of them, 0 for events.
    """

    embedding: Float[Tensor, "batch token width"]
    time: Float[Tensor, "batch token"]
    """Centre of the token in seconds from the window's start."""
    position: Float[Tensor, "batch token 3"]
    """Metres in MNI space; zeros where unknown (a NaN would poison gradients)."""
    located: Bool[Tensor, "batch token"]
    modality: Int[Tensor, "batch token"]
    """Index into the model's `modalities`, whose names its config keeps."""
    sensor: Int[Tensor, "batch token"]
    """Row of the window's sensor table; with `virtual` of the tokenizer's own table (latent sources, clusters, regions)."""
    region: Int[Tensor, "batch token"]
    """Its region as a number (`batch.number_of` of the label); 0 for none."""
    valid: Bool[Tensor, "batch token"]
    """False is padding."""
    period: float = 0.0
    padded: bool = False
    """Whether any token is padding, known on the host so that the usual case needs no attention mask."""
    virtual: bool = False
    """Whether a token stands for several sensors together."""
    rows: int = 0
    """How many rows `sensor` counts."""
    table: Table | None = None
    """The rows that `sensor` counts, whichever tokens are taken: what a place means may depend on all of them."""
    causal: bool = False
    """Whether a token may hear earlier ones alone, for encoders that can (`Encoder.causal`)."""
    who: Float[Tensor, "batch token known"] | None = None
    """What is known of a token before its signal is seen, where place and time don't say all: a decoder asks with it."""
    lobe: Int[Tensor, "batch token"] | None = None
    """The lobe that its region lies in, as a number, 0 for none; None where the tokenizer does not say."""
    code: Int[Tensor, "batch token quantizer"] | None = None
    """What a trained codec says of the token (`codec.Codec`); None where none is attached."""

    @property
    def count(self) -> int:
        """Tokens in each row."""
        return self.embedding.shape[1]

    def with_embedding(self, embedding: Float[Tensor, "batch token width2"]) -> "Tokens":
        """The same tokens saying something else."""
        return replace(self, embedding=embedding)

    def take(self, index: Int[Tensor, "batch kept"]) -> "Tokens":
        """The tokens at `index` of each row, in that order."""

        first = torch.arange(len(index), device=index.device).unsqueeze(1) * self.count
        rows = (first + index).flatten()

        def pick(values: Tensor) -> Tensor:  # whole rows: a gather of single numbers takes twice as long
            return values.flatten(0, 1).index_select(0, rows).unflatten(0, index.shape)

        return replace(
            self,
            embedding=pick(self.embedding),
            time=pick(self.time),
            position=pick(self.position),
            located=pick(self.located),
            modality=pick(self.modality),
            sensor=pick(self.sensor),
            region=pick(self.region),
            valid=pick(self.valid),
            who=None if self.who is None else pick(self.who),
            lobe=None if self.lobe is None else pick(self.lobe),
            code=None if self.code is None else pick(self.code),
        )


def join(streams: Sequence[Tokens]) -> Tokens:
    """The tokens of several instruments as one stream, one after another; each keeps rows of its own."""
    if len(streams) == 1:
        return streams[0]
    first = np.cumsum([0, *(one.rows for one in streams)])

    def along(name: str) -> Tensor:
        return torch.cat([getattr(one, name) for one in streams], dim=1)

    periods = {one.period for one in streams}
    lobes = [one.lobe for one in streams if one.lobe is not None]
    return Tokens(
        **{name: along(name) for name in ("embedding", "time", "position", "located", "modality")},
        sensor=torch.cat([one.sensor + int(at) for one, at in zip(streams, first[:-1], strict=True)], dim=1),
        **{name: along(name) for name in ("region", "valid")},
        period=periods.pop() if len(periods) == 1 else 0.0,
        padded=any(one.padded for one in streams),
        virtual=any(one.virtual for one in streams),
        causal=any(one.causal for one in streams),
        rows=int(first[-1]),
        table=tables(streams),
        lobe=torch.cat(lobes, dim=1) if len(lobes) == len(streams) else None,
    )


def tables(streams: Sequence[Tokens]) -> Table | None:
    """The rows of several instruments, one instrument's after another's; None where one doesn't say."""
    several = [one.table for one in streams if one.table is not None]
    if len(several) < len(streams):
        return None
    return Table(*(torch.cat([getattr(one, item.name) for one in several], dim=1) for item in fields(Table)))


@dataclass(frozen=True)
class Target:
    """What a reconstruction must give back for every token of one stream: `value` is (batch, token, time)."""

    value: Float[Tensor, "batch token time"]
    sfreq: float
    level: bool = False
    """Whether its level and size are to be told too, not its shape alone."""


@dataclass(frozen=True)
class Tokenized:
    """Tokens, and beside them what they stand for, keyed by modality, and what the tokenizer itself is to learn."""

    tokens: Tokens
    targets: Mapping[str, Target] = field(default_factory=dict)
    losses: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    who: Float[Tensor, "batch row width"] | None = None
    """Where tokens are events: what is known of everyone who may have one."""


@dataclass(frozen=True)
class Hidden:
    """Which tokens a mask hides: indices of the seen and of the hidden ones, the same count in every row."""

    seen: Int[Tensor, "batch seen"]
    hidden: Int[Tensor, "batch hidden"]

    def mask(self) -> Bool[Tensor, "batch token"]:
        """True where hidden."""
        batch, n_seen = self.seen.shape
        mask = torch.zeros(batch, n_seen + self.hidden.shape[1], dtype=torch.bool, device=self.seen.device)
        return mask.scatter_(1, self.hidden, True)
