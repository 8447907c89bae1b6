"""Neurodynamics: what was seen must tell how the whole window is as a process, not only what it held.

A window-level target is what makes frozen features usable (REVE, El Ouahidi et al. 2025; DeeperBrain, arXiv:2601.06134, whose
band powers, phase locking, phase-amplitude coupling and sample entropy are among what can be asked for).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from torch import Tensor, nn

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.errors import DataError
from brainfm.objectives import Loss, Objective, Sampled, Shapes
from brainfm.part import suggest
from brainfm.pooling import pool_tokens
from brainfm.statistics import (
    USUAL,
    blocks,
    known_blocks,
    pair_fields,
    pair_statistics,
    pairs_of,
    row_fields,
    row_statistics,
)
from brainfm.statistics.fields import PLACES, SUMMARY
from brainfm.statistics.memory import Memory, of_this_process
from brainfm.tokens import Tokenized, Tokens
from brainfm.view import View, mean_over_windows

Waves = Float[Tensor, "batch row time"]
"""The signal of every row of tokens."""
CHUNK = 32
"""Windows described at once when the corpus's spread is learnt: pairs of many rows take room."""


class Neurodynamics(Objective):
    """The statistics of each row of tokens, of pairs of rows and of the window as a whole, z-scored over the corpus.

    By Smooth-L1. Rows, pairs and the window weigh the same, and among each of them the blocks that they have.
    """

    of: list[str] = Field(
        default=list(USUAL), min_length=1, description="blocks; each modality takes those that it has"
    )
    block_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="block → its weight beside the others of its level (1)"
    )
    rank: int = Field(default=16, ge=1, description="of the bilinear form that tells of pairs")
    pair_rows: int = Field(
        default=64, ge=2, description="rows of a window whose pairs are asked for, at most"
    )
    shared: bool = Field(
        default=False,
        description="whether instruments of which the same is asked are told of by the same maps",
    )

    @field_validator("of")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in known_blocks():
                raise ValueError(f"{name!r} is not known{suggest(name, known_blocks())}")
        return value

    @field_validator("block_weights")
    @classmethod
    def _asked_for(cls, value: dict[str, float], info: object) -> dict[str, float]:
        for name in value.keys() - set(getattr(info, "data", {}).get("of", value)):
            raise ValueError(f"{name!r} has a weight but is not asked for; add it to `of`")
        return value

    def build(self, shapes: Shapes) -> "NeurodynamicsLoss":
        return NeurodynamicsLoss(self, shapes)


class NeurodynamicsLoss(nn.Module):
    """A `Describe` for each modality, and one memory of what is slow to compute."""

    def __init__(self, part: Neurodynamics, shapes: Shapes) -> None:
        super().__init__()
        self.part, self.memory = part, of_this_process()
        made = {one: Describe(part, shapes.width, one, self.memory) for one in shapes.patches}
        if part.shared:
            share(list(made.values()))
        self.describe = nn.ModuleDict(made)

    @torch.no_grad()
    def fit(self, sampled: Sampled) -> None:
        """Learn the corpus's mean and spread of each statistic of each modality, so that all weigh the same."""
        for modality, describe in self.describe.items():
            assert isinstance(describe, Describe)
            describe.fit([pair for pair in sampled if pair[0].modality == modality])

    def forward(self, view: View) -> Loss:
        told = [
            torch.stack([answer.error for answer in answers.values()]).sum()
            for answers in self.answers(view)
            if answers
        ]
        return Loss({"statistics": torch.stack(told).mean()}, {"statistics": 1.0})

    def answers(self, view: View) -> Iterator[dict[str, "Answer"]]:
        """What is told and what is so, level by level, of every piece of which anything was seen."""
        for piece, seen in zip(view.pieces, view.seen, strict=True):
            describe: nn.Module = self.describe[piece.modality]
            yield (
                describe(piece.batch, waves(piece.batch, piece.tokenized), seen, view.chance)
                if seen.count
                else {}
            )


@dataclass(frozen=True)
class Answer:
    """Statistics of some things (rows, pairs, or the one window), z-scored: as they were told and as they are."""

    told: Float[Tensor, "batch thing statistic"]
    wanted: Float[Tensor, "batch thing statistic"]
    counted: Bool[Tensor, "batch thing"]
    """False for things of which nothing was seen."""
    share: Float[Tensor, " statistic"]
    """What each statistic weighs."""

    @property
    def error(self) -> Float[Tensor, ""]:
        """Smooth-L1 with β = 1."""
        apart = F.smooth_l1_loss(self.told.float(), self.wanted, reduction="none")
        return mean_over_windows(apart @ self.share, self.counted)


class Describe(nn.Module):
    """Tell of each row from the mean of its seen tokens, of two rows from both means, of the window from the mean of all tokens.

    A row is a sensor, or what stands for several. The targets come from the whole window, hidden parts included; a row of
    which nothing was seen is not asked.
    """

    def __init__(self, part: Neurodynamics, width: int, modality: str, memory: Memory) -> None:
        super().__init__()
        self.part, self.modality, self.memory = part, modality, memory
        asked = blocks(modality, part.of)
        self.names = {name: tuple(block.names) for name, block in asked.items()}
        self.sizes = {
            "row": {name: len(block.names) for name, block in asked.items() if not block.pairs},
            "pair": {name: len(block.names) for name, block in asked.items() if block.pairs},
        }
        """By level, the blocks asked for and how many statistics each has there."""
        self.sizes["window"] = {name: len(PLACES) * size for name, size in self.sizes["row"].items()}
        self.sizes["window"] |= {name: len(SUMMARY) * size for name, size in self.sizes["pair"].items()}
        self.scales = nn.ModuleDict(
            {level: Scale(found, part.block_weights) for level, found in self.sizes.items() if found}
        )
        told = {level: sum(found.values()) for level, found in self.sizes.items() if found}
        heads: dict[str, Callable[[int], nn.Module]] = {
            "row": lambda n: nn.Linear(width, n),
            "pair": lambda n: PairHead(width, n, part.rank),
            "window": lambda n: nn.Linear(width, n),
        }
        self.heads = nn.ModuleDict({level: heads[level](n) for level, n in told.items()})
        self.lender: tuple[Describe, ...] = ()

    def borrow(self, lender: "Describe") -> None:
        """Tell by the maps of another instrument, so that tokens of both must say the same thing in the same way."""
        del self.heads
        self.lender = (lender,)  # in a tuple, lest its maps be counted twice

    def tells(self, level: str) -> nn.Module:
        """What tells of this level."""
        (owner,) = self.lender or (self,)
        found: nn.Module = owner.heads[level]
        return found

    def fit(self, sampled: Sampled) -> None:
        """Mean and spread of each statistic over these windows, their rows, and pairs of rows that are evenly spaced."""
        found: dict[str, list[Tensor]] = {level: [] for level in self.scales}
        for batch, made in sampled:
            signal = waves(batch, made)
            few = torch.linspace(0, signal.shape[1] - 1, min(signal.shape[1], self.part.pair_rows)).long()
            for first in range(0, len(batch), CHUNK):
                part = slice(first, first + CHUNK)
                piece = batch.windows(part)
                values = self.statistics(piece, signal[part], few.expand(len(piece), -1), made.tokens.virtual)
                for level, value in values.items():
                    if not value.isfinite().all():  # as over a single sample: every step would be no number
                        raise DataError(
                            f"windows of {signal.shape[-1]} samples of {self.modality} are too short to be described as a "
                            "process; leave the objective neurodynamics out"
                        )
                    found[level].append(value.flatten(0, 1))
        for level, several in found.items():
            scale = self.scales[level]
            assert isinstance(scale, Scale)
            scale.fit(torch.cat(several))

    def statistics(
        self, batch: Batch, signal: Waves, rows: Int[Tensor, "batch kept"], virtual: bool
    ) -> dict[str, Float[Tensor, "batch thing statistic"]]:
        """Of every row, of every two of `rows`, and of the window: from its sensors, and from those pairs."""
        of = (self.modality, self.part.of)
        found = {}
        fields = []
        if "row" in self.scales:
            found["row"] = row_statistics(signal, batch.sfreq, *of, self.memory)
            sensors = row_statistics(batch.signal, batch.sfreq, *of, self.memory) if virtual else found["row"]
            fields.append(row_fields(sensors, batch.position, batch.located))
        if "pair" in self.scales:
            some = signal.gather(1, rows.unsqueeze(-1).expand(-1, -1, signal.shape[-1]))
            found["pair"] = pair_statistics(some, batch.sfreq, *of)
            fields.append(pair_fields(found["pair"]))
        return {**found, "window": torch.cat(fields, dim=-1).unsqueeze(1)}

    def forward(self, batch: Batch, signal: Waves, seen: Tokens, chance: Chance) -> dict[str, Answer]:
        pooled, counted = per_row(seen, signal.shape[1])
        rows = self.some(counted, chance)
        # in full precision: a product in bf16 would round powers and correlations to two digits
        with torch.no_grad(), torch.autocast(signal.device.type, enabled=False):
            wanted = self.statistics(batch, signal, rows, seen.virtual)
        told = {"window": self.tells("window")(pool_tokens(seen, "mean")).unsqueeze(1)}
        asked = {"window": torch.ones(len(batch), 1, dtype=torch.bool, device=signal.device)}
        if "row" in self.scales:
            told["row"], asked["row"] = self.tells("row")(pooled), counted
        if "pair" in self.scales:
            both = pairs_of(rows.shape[1], signal.device)
            of_rows = pooled.gather(1, rows.unsqueeze(-1).expand(-1, -1, pooled.shape[-1]))
            told["pair"] = self.tells("pair")(of_rows, both)
            asked["pair"] = counted.gather(1, rows)[:, both].all(dim=1)
        return {level: self.scales[level](told[level], wanted[level], asked[level]) for level in told}

    def some(self, counted: Bool[Tensor, "batch row"], chance: Chance) -> Int[Tensor, "batch kept"]:
        """Rows whose pairs are asked for: all, or `pair_rows` drawn at random, those of which anything was seen first."""
        n_batch, n_rows = counted.shape
        if n_rows <= self.part.pair_rows or "pair" not in self.scales:
            return torch.arange(n_rows, device=counted.device).expand(n_batch, -1)
        drawn = chance.uniform(n_batch, n_rows).to(counted.device) + ~counted
        return drawn.argsort(dim=1)[:, : self.part.pair_rows].sort(dim=1).values


def share(several: list[Describe]) -> None:
    """Let each tell by the maps of the first of which the same is asked."""
    for one in several:
        first = next(other for other in several if other.names == one.names)
        if first is not one:
            one.borrow(first)


class Scale(nn.Module):
    """What brings statistics of one level to mean 0 and variance 1, and what each weighs: every block the same unless said."""

    def __init__(self, sizes: Mapping[str, int], weights: Mapping[str, float]) -> None:
        super().__init__()
        n = sum(sizes.values())
        self.mean, self.std = nn.Buffer(torch.zeros(n)), nn.Buffer(torch.ones(n))
        share = torch.cat(
            [torch.full((size,), weights.get(name, 1.0) / size) for name, size in sizes.items()]
        )
        self.share = nn.Buffer(share / share.sum())

    def fit(self, values: Float[Tensor, "thing statistic"]) -> None:
        """Take mean and spread from these; without any (one sensor has no pairs) they stay 0 and 1."""
        if not len(values):
            return
        self.mean.copy_(values.mean(dim=0))
        self.std.copy_(values.std(dim=0, correction=0).clamp(min=1e-3))

    def forward(self, told: Tensor, values: Tensor, counted: Tensor) -> Answer:
        wanted = ((values - self.mean) / self.std).clamp(-5, 5)
        return Answer(told, wanted, counted, self.share)


class PairHead(nn.Module):
    """Numbers of two rows, the same whichever comes first: a bilinear form of low rank, and what each row says alone."""

    def __init__(self, width: int, told: int, rank: int) -> None:
        super().__init__()
        self.side = nn.Linear(width, rank)
        self.mix = nn.Linear(rank, told)
        self.alone = nn.Linear(width, told, bias=False)

    def forward(
        self, rows: Float[Tensor, "batch row width"], pairs: Int[Tensor, "two pair"]
    ) -> Float[Tensor, "batch pair statistic"]:
        side, alone = self.side(rows), self.alone(rows)
        first, second = pairs
        return self.mix(side[:, first] * side[:, second]) + alone[:, first] + alone[:, second]


def waves(batch: Batch, tokenized: Tokenized) -> Waves:
    """The signal that each row of tokens stands for, over the whole window: its sensor's own, in the unit of the window.

    A tokenizer may tell of something else (roots of counts); only where a row stands for several sensors is that all there is.
    """
    if not tokenized.tokens.virtual:
        return batch.signal
    return tokenized.targets[batch.modality].value.unflatten(1, (tokenized.tokens.rows, -1)).flatten(2)


def per_row(tokens: Tokens, rows: int) -> tuple[Float[Tensor, "batch row width"], Bool[Tensor, "batch row"]]:
    """The mean of each row's tokens, and which rows have any."""
    member = F.one_hot(tokens.sensor, rows).to(tokens.embedding.dtype) * tokens.valid.unsqueeze(-1)
    count = member.sum(dim=1)
    pooled = member.transpose(1, 2) @ tokens.embedding / count.clamp(min=1).unsqueeze(-1)
    return pooled, count > 0
