"""The data path: a step's micro-batches, cut ahead of time by worker processes and moved to the device."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from brainfm.corpus import Share


@dataclass(frozen=True)
class Micro:
    """A micro-batch: `count` of a step's `total` windows, from number `first` on. `content` is a batch or tensor, or a tuple."""

    content: Any
    first: int = 0
    count: int = 1
    total: int = 1

    @classmethod
    def of(cls, share: Share, content: Any) -> "Micro":
        """A piece of a plan's step; one that is there for company alone counts for nothing."""
        return cls(content, share.first, len(share.rows) if share.counted else 0, share.total)

    def to(self, device: torch.device) -> "Micro":
        """On the device; from pinned memory the copy runs beside the computation."""
        content = self.content
        parts = content if isinstance(content, tuple) else (content,)
        moved = tuple(part.to(device, non_blocking=True) for part in parts)
        return replace(self, content=moved if isinstance(content, tuple) else moved[0])

    def pin_memory(self) -> "Micro":
        """In memory that a GPU can copy from by itself; the loader asks for it."""
        content = self.content
        parts = content if isinstance(content, tuple) else (content,)
        pinned = tuple(part.pin_memory() for part in parts)
        return replace(self, content=pinned if isinstance(content, tuple) else pinned[0])


class Source(Protocol):
    """What micro-batches come from."""

    def item(self, step: int, part: int, parts: int) -> Micro:
        """One micro-batch, made again identically whenever it is asked for; runs in a loader worker."""


@dataclass(frozen=True)
class Feed:
    """What one of several processes reads of every step: its own pieces, and nobody else's."""

    source: Source
    steps: int
    accumulate: int
    workers: int
    process: int
    processes: int
    device: torch.device

    def after(self, first: int) -> Iterator[tuple[int, list[Micro]]]:
        """Each step from `first` with its micro-batches."""
        items = _Items(self)
        loader = iter(
            DataLoader(
                items,
                batch_size=None,
                sampler=range(first * self.accumulate, self.steps * self.accumulate),
                num_workers=self.workers,
                collate_fn=as_it_is,
                worker_init_fn=leave_signals,
                pin_memory=self.device.type == "cuda",
            )
        )
        for step in range(first, self.steps):
            yield step, [next(loader).to(self.device) for _ in range(self.accumulate)]


class _Items(Dataset[Any]):
    """Every micro-batch of one process, by number."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __getitem__(self, index: int) -> Micro:
        feed = self.feed
        step, micro = divmod(index, feed.accumulate)
        return feed.source.item(step, micro * feed.processes + feed.process, feed.accumulate * feed.processes)


def as_it_is(item: Any) -> Any:
    """Items are batches already."""
    return item


def leave_signals(_worker: int) -> None:
    """A terminal or a scheduler signals the whole group: the loop alone decides when to stop, and needs its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
