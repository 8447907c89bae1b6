"""What an objective is shown of a micro-batch: windows, their tokens, what is hidden, and what the encoder makes of the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.tokens import Hidden, Tokenized, Tokens, join


@dataclass(frozen=True)
class Piece:
    """What one instrument gives: its windows, their tokens and what these stand for, and which of them are hidden."""

    batch: Batch
    tokenized: Tokenized
    hidden: Hidden

    @property
    def modality(self) -> str:
        return self.batch.modality

    @property
    def asked(self) -> Tokens:
        """The hidden tokens: where and when to be told of. What they say is not to be looked at."""
        return self.tokenized.tokens.take(self.hidden.hidden)


@dataclass(frozen=True)
class View:
    """The same windows as each of their instruments saw them. What the encoder makes of them is computed when first asked for."""

    pieces: tuple[Piece, ...]
    encoder: nn.Module
    chance: Chance
    teacher: Callable[[Batch], Tokens] | None = None
    """Tokens of whole windows by a slower copy of the network (a running mean of its weights), where the run keeps one."""
    teacher_tokens: Callable[[Batch], Tokens] | None = None
    """What that copy's tokenizer alone makes of them, before its encoder."""

    @cached_property
    def seen(self) -> tuple[Tokens, ...]:
        """What the encoder makes of the tokens that are not hidden, instrument by instrument."""
        return self._encoded([piece.hidden.seen for piece in self.pieces])

    @cached_property
    def alone(self) -> tuple[Tokens, ...]:
        """What it makes of each instrument's seen tokens by themselves, where none may hear what another saw."""
        if len(self.pieces) == 1:
            return self.seen
        streams = [piece.tokenized.tokens.take(piece.hidden.seen) for piece in self.pieces]
        return tuple(self.encoder(one) if one.count else one for one in streams)

    @cached_property
    def complement(self) -> tuple[Tokens, ...]:
        """What it makes of the hidden ones alone: the second half of a symmetric pass."""
        return self._encoded([piece.hidden.hidden for piece in self.pieces])

    @cached_property
    def whole(self) -> tuple[Tokens, ...]:
        """What it makes of all tokens, nothing hidden."""
        return self.changed([piece.tokenized.tokens for piece in self.pieces])

    @cached_property
    def past(self) -> tuple[Tokens, ...]:
        """What it makes of all tokens where each hears only what was over before it: a patch counts from its end on."""
        return self.changed([in_order(piece.tokenized.tokens) for piece in self.pieces])

    def changed(self, streams: Sequence[Tokens]) -> tuple[Tokens, ...]:
        """What it makes of tokens that were chosen or changed, those of each instrument, which it sees as one stream."""
        parts = self.encoder(join(streams)).embedding.split([one.count for one in streams], dim=1)
        return tuple(one.with_embedding(part) for one, part in zip(streams, parts, strict=True))

    def _encoded(self, which: Sequence[Int[Tensor, "batch kept"]]) -> tuple[Tokens, ...]:
        """What it makes of these tokens of each instrument alone."""
        pairs = zip(self.pieces, which, strict=True)
        return self.changed([piece.tokenized.tokens.take(index) for piece, index in pairs])


def in_order(tokens: Tokens) -> Tokens:
    """The tokens as a causal encoder is to read them: each at the moment from which on it may be heard, a patch at its end."""
    return replace(tokens, time=tokens.time + tokens.period / 2, causal=True)


def numbers(view: View) -> Int[Tensor, " window"]:
    """The number of each window in its step."""
    first = view.pieces[0].batch.signal
    return torch.arange(len(first), device=first.device) + view.chance.first


def taken(
    values: Float[Tensor, "batch token feature"], index: Int[Tensor, "batch kept"]
) -> Float[Tensor, "batch kept feature"]:
    """The rows at `index` of each window."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def counted(tokens: Tokens) -> Bool[Tensor, "batch token 1"] | None:
    """Which tokens a mean over windows counts: those that are no padding; None for all."""
    return tokens.valid.unsqueeze(-1) if tokens.padded else None


def mean_over_windows(values: Tensor, among: Tensor | None = None) -> Tensor:
    """The mean over windows of each window's own mean, over what is `among` the counted: so every window weighs the same.

    The windows of a step may then be divided over processes in any way: shares of a mean over windows add up.
    """
    flat = values.flatten(1)
    if among is None:
        return flat.mean(dim=1).mean()
    weight = among.expand_as(values).flatten(1).to(flat.dtype)
    return ((flat * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).mean()
