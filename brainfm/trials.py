"""Trials of several people as batches: each step's are one person's, and which they are follows from (seed, step) alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from brainfm.batch import Batch
from brainfm.data.seen import Rows, Seen
from brainfm.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Trials of one person, and features of the pictures of its table, by name."""

    seen: Seen
    features: Mapping[str, Float[Tensor, "picture token width"]]

    def __post_init__(self) -> None:
        for name, feature in self.features.items():
            if len(feature) != len(self.seen.names):
                raise DataError(
                    f"{self.seen.who}: {len(feature)} features {name!r} do not fit {len(self.seen.names)} pictures"
                )

    def targets(self, rows: Rows, names: Sequence[str]) -> tuple[Tensor, ...]:
        """(trial, token, width) of what was seen at these trials, each of these features."""
        pictures = torch.from_numpy(self.seen.picture[rows])
        return tuple(self.features[name][pictures] for name in names)


def batch_of(seen: Seen, rows: Sequence[int] | Rows | None = None) -> Batch:
    """Trials as windows of one sample, at a nominal rate of 1 Hz; whose voxels they are travels along."""
    response = seen.response if rows is None else seen.response[np.asarray(rows, np.int64)]
    count = len(response)
    one = Batch.of("fmri", response[:1, :, None], 1.0, [seen.voxels], places=[seen.who], subjects=[seen.who])
    # the table of one window stands for all of them: thousands of voxels need not be written down for each
    shared = {
        name: getattr(one, name).expand(count, *getattr(one, name).shape[1:])
        for name in ("position", "located", "orientation", "kind", "identity", "region", "lobe", "valid")
    }
    assert one.subject is not None
    return Batch(
        modality="fmri",
        signal=torch.from_numpy(np.ascontiguousarray(response[:, :, None], np.float32)),
        sfreq=1.0,
        recording=torch.zeros(count, dtype=torch.int64),
        subject=one.subject.expand(count),
        **shared,
    )


def identities(seen: Seen) -> list[int]:
    """What each voxel is known by, in order."""
    found: list[int] = batch_of(seen, [0]).identity[0].tolist()
    return found


@dataclass(frozen=True)
class TrialPlan:
    """In every pass each trial once, in batches of one person each, in an order drawn anew; a short rest is left out.

    Somebody with fewer trials than `batch` has one batch of all in every pass.
    """

    counts: tuple[int, ...]
    """Trials of each person."""
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise DataError("every person needs a trial to train on")

    @property
    def steps(self) -> int:
        """Batches in one pass."""
        return sum(max(1, count // self.batch) for count in self.counts)

    def rows(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """Whose trials a step is of, and which."""
        number, at = divmod(step, self.steps)
        return drawn_pass(self.counts, self.batch, self.seed, number)[at]

    def piece(self, step: int, part: int, parts: int) -> tuple[int, NDArray[np.int64], int, int, int]:
        """One of `parts` micro-batches: person, trials, the number of the first, how many count, how many the step has."""
        person, rows = self.rows(step)
        pieces = np.array_split(rows, parts)
        first, mine = sum(len(one) for one in pieces[:part]), pieces[part]
        # one that has no trial takes one along, so that all processes compute, and counts for nothing
        return person, mine if len(mine) else rows[:1], first, len(mine), len(rows)


@lru_cache(maxsize=4)
def drawn_pass(
    counts: tuple[int, ...], batch: int, seed: int, number: int
) -> tuple[tuple[int, NDArray[np.int64]], ...]:
    """The batches of one pass."""
    found = []
    for person, count in enumerate(counts):
        order = np.random.default_rng([seed, number, person]).permutation(count)
        size = min(batch, count)
        found += [(person, order[at : at + size]) for at in range(0, count - size + 1, size)]
    turn = np.random.default_rng([seed, number]).permutation(len(found))
    return tuple(found[one] for one in turn)
