"""Which windows make up which step: a pure function of seed and step, so that any step can be made again at any time.

No sampler has a state to lose: a resumed run asks for step 412 and gets what the uninterrupted run got, whatever the
number of loader workers and of processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.batch import Batch
from brainfm.data.modalities import owner
from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, layouts, take
from brainfm.lengths import size_class
from brainfm.tokenizers import Tokenizer

BLOCK = 32
"""Windows that are read at once where each is looked at alone."""


@dataclass(frozen=True)
class Stream:
    """The prepared recordings of one modality, the windows cut from them, and what makes tokens of them."""

    modality: str
    recordings: Sequence[Recording]
    windows: Windows
    steps: Sequence[Step] = ()
    tokenizer: Tokenizer | None = None

    @property
    def ragged(self) -> bool:
        """Whether windows are lists of events, of different lengths."""
        return self.tokenizer is not None and self.tokenizer.ragged

    @property
    def parts(self) -> tuple["Stream", ...]:
        """The streams of single instruments: itself."""
        return (self,)

    def batches(self, rows: NDArray[np.int64]) -> tuple[Batch, ...]:
        """These windows, which share a layout, as a batch of each instrument."""
        return (self.batch(rows),)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """These windows, which share a layout."""
        owners = self.windows.recording[rows]
        signals = [self.recordings[owner].signal(self.modality) for owner in owners]
        array = take(self.recordings, self.windows, rows, self.modality, self.steps)
        return Batch.of(
            self.modality,
            array,
            signals[0].sfreq,
            [signal.sensors for signal in signals],
            owners,
            [self.owners[owner] for owner in owners],
            [self.subjects[owner] for owner in owners],
        )

    @cached_property
    def subjects(self) -> list[str]:
        """Whose each recording is, "" where that is not known."""
        return [f"{one.dataset}/{one.subject}" if one.subject else "" for one in self.recordings]

    @cached_property
    def owners(self) -> list[str]:
        """Whose each recording's sensors are."""
        return [owner(recording, self.modality) for recording in self.recordings]

    @cached_property
    def layout(self) -> NDArray[np.int64]:
        """(window,) a number that windows share if they can share a batch.

        They are of one sensor table, and of one person where sensors are a person's own. Windows of events share it with those
        of about as many; people may mix there, since every event says whose it is.
        """
        alike = np.zeros(len(self.recordings), np.int64)
        for number, recordings in enumerate(layouts(self.recordings, self.modality)):
            alike[recordings] = number
        whose = np.unique(self.owners, return_inverse=True)[1]
        length = size_class(self.lengths) if self.ragged else whose[self.windows.recording]
        return numbered(np.stack([alike[self.windows.recording], length]))

    @cached_property
    def layouts(self) -> list[NDArray[np.int64]]:
        """The windows of each layout."""
        return [np.flatnonzero(self.layout == one) for one in range(self.layout.max() + 1)]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(window,) how many events each window holds."""
        held = np.empty(len(self.windows), np.int64)
        for rows in self._blocks():
            counts = take(self.recordings, self.windows, rows, self.modality, self.steps)
            held[rows] = counts.sum(axis=(1, 2))
        return held

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """(window,) how many tokens each window gives."""
        assert self.tokenizer is not None  # who asks has a tokenizer
        if self.ragged:
            return self.lengths
        times = round(self.windows.seconds / self.tokenizer.seconds)
        tables = [recording.signal(self.modality).sensors for recording in self.recordings]
        rows = [len(self.tokenizer.rows(*pair)) for pair in zip(tables, self.owners, strict=True)]
        return np.array(rows, np.int64)[self.windows.recording] * times

    def _blocks(self) -> Iterator[NDArray[np.int64]]:
        """All windows, a few of one recording at a time: read together, and never all in memory."""
        for recording in np.unique(self.windows.recording):
            rows = np.flatnonzero(self.windows.recording == recording)
            yield from np.split(rows, range(BLOCK, len(rows), BLOCK))

    def of_each(self) -> Iterator[Batch]:
        """The first window of every recording that has one: between them they show every sensor."""
        for row in np.unique(self.windows.recording, return_index=True)[1]:
            yield self.batch(np.array([row]))


@dataclass(frozen=True)
class Together:
    """Windows that several instruments recorded at once: the same windows in each of `parts`."""

    parts: tuple[Stream, ...]

    @property
    def windows(self) -> Windows:
        return self.parts[0].windows

    @property
    def recordings(self) -> Sequence[Recording]:
        return self.parts[0].recordings

    @cached_property
    def layouts(self) -> list[NDArray[np.int64]]:
        """The windows of each layout: those that share one in every instrument."""
        layout = numbered(np.stack([part.layout for part in self.parts]))
        return [np.flatnonzero(layout == one) for one in range(layout.max() + 1)]

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """(window,) how many tokens each window gives, of all instruments."""
        return np.sum([part.tokens for part in self.parts], axis=0)

    def batches(self, rows: NDArray[np.int64]) -> tuple[Batch, ...]:
        """These windows, a batch of each instrument."""
        return tuple(part.batch(rows) for part in self.parts)


AnyStream = Stream | Together


def numbered(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """(window,) which windows have the same column of `keys`, numbered in order of their first."""
    _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group].astype(np.int64)


@dataclass(frozen=True)
class Share:
    """A piece of a step's windows: what one process computes at once. `first` of `total` windows is its first."""

    stream: AnyStream
    rows: NDArray[np.int64]
    first: int
    total: int
    counted: bool = True
    """False where there are more pieces than windows, and this one repeats another's for company."""

    @classmethod
    def of(cls, stream: AnyStream, rows: NDArray[np.int64], part: int, parts: int) -> "Share":
        """Number `part` of `parts` nearly equal pieces of these windows."""
        pieces = np.array_split(rows, min(parts, len(rows)))
        mine = part % len(pieces)
        first = sum(len(piece) for piece in pieces[:mine])
        return cls(stream, pieces[mine], first, len(rows), part < len(pieces))


@dataclass(frozen=True)
class Plan:
    """The order of batches, pass after pass over all streams.

    Every window occurs once in a pass; with `weights`, by dataset, as often as makes each dataset's share of the tokens that of
    its weight: a small one is repeated, of a large one other windows are left out in every pass. A step holds about `batch`
    windows or, where that is given, `tokens` tokens; windows of one step share a layout.
    """

    streams: Mapping[str, AnyStream]
    batch: int
    seed: int
    tokens: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    def rows(self, step: int) -> tuple[str, NDArray[np.int64]]:
        """The stream's name and the windows of a step (counted from 0)."""
        lap, place = divmod(step, self.steps_in_pass)
        name, layout, share = self._lap(lap)[place]
        return name, self._shuffled(lap, name, layout)[share]

    def piece(self, step: int, part: int, parts: int) -> Share:
        """One of `parts` nearly equal pieces of a step: the windows of a micro-batch of one process."""
        name, rows = self.rows(step)
        return Share.of(self.streams[name], rows, part, parts)

    @cached_property
    def steps_in_pass(self) -> int:
        return len(self._places)

    @cached_property
    def _places(self) -> list[tuple[str, int, int]]:
        """(stream, layout, share) of every batch of a pass, unshuffled. Shares are nearly equal, so no rest is lost."""
        return [
            (name, layout, share)
            for name, stream in self.streams.items()
            for layout in range(len(stream.layouts))
            for share in range(self._shares(name, layout))
        ]

    @cache  # noqa: B019 - a run has one plan, and it lives as long as the run
    def _shares(self, name: str, layout: int) -> int:
        """Steps that a layout's windows fill in a pass."""
        rows = len(self._drawn(0, name, layout))
        if not rows:
            return 0
        if self.tokens is None:
            return max(1, round(rows / self.batch))
        stream = self.streams[name]
        each = float(stream.tokens[stream.layouts[layout]].mean())
        return min(rows, max(1, round(rows * each / self.tokens)))

    @lru_cache(maxsize=2)  # noqa: B019 - as above
    def _lap(self, lap: int) -> list[tuple[str, int, int]]:
        order = np.random.default_rng([self.seed, lap]).permutation(len(self._places))
        return [self._places[place] for place in order]

    @lru_cache(maxsize=64)  # noqa: B019 - as above
    def _shuffled(self, lap: int, name: str, layout: int) -> list[NDArray[np.int64]]:
        mixed = self._rng(lap, name, layout).permutation(self._drawn(lap, name, layout))
        return np.array_split(mixed, self._shares(name, layout))

    def _drawn(self, lap: int, name: str, layout: int) -> NDArray[np.int64]:
        """The windows of a layout in a pass; as many in every pass, though with weights not the same."""
        stream = self.streams[name]
        rows = stream.layouts[layout]
        if not self.weights:
            return rows
        rng = self._rng(lap, name, layout, 1)
        sets = datasets(stream)[rows]
        return np.concatenate(
            [repeated(rows[sets == one], self._often[one], rng) for one in dict.fromkeys(sets.tolist())]
        )

    def _rng(self, lap: int, name: str, layout: int, use: int = 0) -> np.random.Generator:
        which = list(self.streams).index(name)
        return np.random.default_rng([self.seed, lap, which, layout, use])

    @cached_property
    def _often(self) -> dict[str, float]:
        """How often a window of each dataset occurs in a pass, whose tokens are as many as all datasets hold."""
        held: dict[str, float] = {}
        for stream in self.streams.values():
            names = datasets(stream)
            for name in dict.fromkeys(names.tolist()):
                held[name] = held.get(name, 0.0) + float(stream.tokens[names == name].sum())
        shares = {name: self.weights.get(name, 1.0) for name in held}
        return {name: shares[name] / sum(shares.values()) * sum(held.values()) / held[name] for name in held}

    def __hash__(self) -> int:
        return id(self)


def datasets(stream: AnyStream) -> NDArray[np.str_]:
    """(window,) the dataset of each window."""
    return np.array([recording.dataset for recording in stream.recordings])[stream.windows.recording]


def repeated(rows: NDArray[np.int64], often: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each row `often` times, which need not be whole: random ones occur once more than the others."""
    whole = int(often)
    more = round((often - whole) * len(rows))
    return np.concatenate([np.tile(rows, whole), rng.permutation(rows)[:more]])
