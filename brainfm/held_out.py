"""Windows that a run does not train on, so that its checkpoints can be judged: stretches of the same recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from brainfm.corpus import AnyStream, Share, Together
from brainfm.data.windows import Windows
from brainfm.feed import Micro

T = TypeVar("T", bound=AnyStream)
BLOCK = 2
"""Windows in a stretch: kept back one by one, they would be told by their neighbours."""
MOST = 512
"""Windows of a stream that a checkpoint is judged by."""


def kept_back(whole: T, every: int) -> tuple[T, T | None]:
    """A stream without every `every`-th stretch of `BLOCK` windows' length, and these alone; None where there are none.

    A window that lies in a stretch of both kinds is in neither, and is counted as dropped.
    """
    windows, length = whole.windows, BLOCK * whole.windows.seconds
    tiny = 1e-6 * windows.seconds
    first, last = (
        np.floor(at / length).astype(np.int64)
        for at in (windows.start + tiny, windows.start + windows.seconds - tiny)
    )
    back = [(block % every) == every - 1 for block in (first, last)]
    test, train = np.flatnonzero(back[0] & back[1]), np.flatnonzero(~(back[0] | back[1]))
    if not len(test) or not len(train):
        return whole, None
    between = len(windows) - len(test) - len(train)
    dropped = {**windows.dropped, "between what is trained on and what is kept back": between}
    rest = replace(windows.rows(train), dropped=dropped if between else windows.dropped)
    return with_windows(whole, rest), with_windows(whole, windows.rows(test))


def with_windows(stream: T, windows: Windows) -> T:
    """A stream with other windows, the same in each of its instruments."""
    parts = tuple(replace(part, windows=windows) for part in stream.parts)
    return cast(T, Together(parts) if isinstance(stream, Together) else parts[0])


@dataclass(frozen=True)
class HeldOut:
    """Windows of each stream in batches, evenly spaced, `MOST` of a stream at most and one of each layout at least."""

    streams: Mapping[str, AnyStream]
    batch: int

    @cached_property
    def _pieces(self) -> list[tuple[str, NDArray[np.int64]]]:
        found = []
        for name, stream in self.streams.items():
            share = min(1.0, MOST / len(stream.windows))
            for rows in stream.layouts:
                places = np.linspace(0, len(rows) - 1, max(1, round(share * len(rows)))).round().astype(int)
                found += [
                    (name, part) for part in np.array_split(rows[places], -(-len(places) // self.batch))
                ]
        return found

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return len(self._pieces)

    @cached_property
    def windows(self) -> int:
        """How many windows they hold."""
        return sum(len(rows) for _, rows in self._pieces)

    def item(self, number: int, part: int, parts: int) -> Micro:
        """One of `parts` pieces of a batch."""
        name, rows = self._pieces[number]
        share = Share.of(self.streams[name], rows, part, parts)
        return Micro.of(share, share.stream.batches(share.rows))
