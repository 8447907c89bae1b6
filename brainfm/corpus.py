"""Which windows make up which step: a pure function of seed and step, so that any step can be made again at any time.

No sampler has a state to lose: a resumed run asks for step 412 and gets what the uninterrupted run got, whatever the
number of loader workers and of processes.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

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
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without what is whole of them, fill [0, 1) evenly, however many there are."""


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
    its weight: a small one is repeated, of a large one other windows are left out in every pass, which may then be some steps
    longer or shorter than others. A step holds about `batch` windows or, where that is given, `tokens` tokens; windows of one
    step share a layout.
    """

    streams: Mapping[str, AnyStream]
    batch: int
    seed: int
    tokens: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    def rows(self, step: int) -> tuple[str, NDArray[np.int64]]:
        """The stream's name and the windows of a step (counted from 0)."""
        lap, place = self._place(step)
        layout, share = self._lap(lap)[place].tolist()
        return self._layouts[layout][0], self._shuffled(lap, layout)[share]

    def piece(self, step: int, part: int, parts: int) -> Share:
        """One of `parts` nearly equal pieces of a step: the windows of a micro-batch of one process."""
        name, rows = self.rows(step)
        return Share.of(self.streams[name], rows, part, parts)

    def steps_of(self, lap: int) -> range:
        """The steps of a pass (counted from 0, as they are)."""
        first = self._first(lap)
        return range(first, first + self._length(lap))

    @cached_property
    def steps_in_pass(self) -> int:
        """Steps of the first pass, and without `weights` of every other one; with them see `steps_of`."""
        return self._length(0)

    def _place(self, step: int) -> tuple[int, int]:
        """The pass that a step lies in, and its place there."""
        if not self.weights:
            return divmod(step, self.steps_in_pass)
        last = len(self._firsts) - 1
        while self._first(last) <= step:
            last += 1
        lap = bisect_right(range(len(self._firsts)), step, key=self._firsts.__getitem__) - 1
        return lap, step - self._firsts[lap]

    def _first(self, lap: int) -> int:
        """The first step of a pass. With weights passes differ in length, so all before it are counted, once."""
        if not self.weights:
            return lap * self.steps_in_pass
        for known in range(len(self._firsts) - 1, lap):
            self._firsts[known + 1] = self._firsts[known] + self._length(known)
        return self._firsts[lap]

    @cached_property
    def _firsts(self) -> dict[int, int]:
        """Pass → its first step, for the passes that were asked for and all before them."""
        return {0: 0}

    def _length(self, lap: int) -> int:
        """The number of steps of a pass."""
        return int(self._shares(lap).sum())

    @lru_cache(maxsize=2)  # noqa: B019 - a run has one plan, and it lives as long as the run
    def _lap(self, lap: int) -> NDArray[np.int64]:
        """(step, 2) the layout of every step of a pass, and which share of its windows."""
        shares = self._shares(lap)
        layout = np.repeat(np.arange(len(shares)), shares)
        share = np.arange(len(layout)) - np.repeat(np.cumsum(shares) - shares, shares)
        order = np.random.default_rng([self.seed, lap]).permutation(len(layout))
        return np.stack([layout, share], axis=1)[order]

    @lru_cache(maxsize=8)  # noqa: B019 - as above
    def _shares(self, lap: int) -> NDArray[np.int64]:
        """(layout,) the steps that each layout's windows fill in a pass. They are nearly equal, so no rest is lost."""
        rows = self._sizes(lap)
        steps = rows / self.batch if self.tokens is None else rows * self._tokens_each / self.tokens
        return np.minimum(rows, np.maximum(1, np.rint(steps).astype(np.int64)))

    def _sizes(self, lap: int) -> NDArray[np.int64]:
        """(layout,) how many windows of each layout occur in a pass, those that are repeated as often as they are."""
        if not self.weights:
            return np.array([len(self.streams[name].layouts[layout]) for name, layout in self._layouts])
        more = self._more(lap)
        each = [int(self._often[one]) * held + more[one] for one, held in self._held.items()]
        return np.sum(each, axis=0, dtype=np.int64)

    @lru_cache(maxsize=64)  # noqa: B019 - as above
    def _shuffled(self, lap: int, layout: int) -> list[NDArray[np.int64]]:
        mixed = self._rng(lap, layout).permutation(self._drawn(lap, layout))
        return np.array_split(mixed, int(self._shares(lap)[layout]))

    def _drawn(self, lap: int, layout: int) -> NDArray[np.int64]:
        """The windows of a layout in a pass; with weights not the same in every pass, nor always as many."""
        if not self.weights:
            name, number = self._layouts[layout]
            return self.streams[name].layouts[number]
        rng, more = self._rng(lap, layout, 1), self._more(lap)
        return np.concatenate(
            [
                repeated(rows, int(self._often[one]), int(more[one][layout]), rng)
                for one, rows in self._members[layout].items()
            ]
        )

    @lru_cache(maxsize=8)  # noqa: B019 - as above
    def _more(self, lap: int) -> dict[str, NDArray[np.int64]]:
        """dataset → (layout,) how many windows of it occur once more in a pass than `_often` has whole times.

        They are rounded along the layouts, not in each: where a layout holds a window or two, all would go the same way and a
        dataset of such layouts never occur, or always. From pass to pass it is others that get them.
        """
        at = (float(np.random.default_rng([self.seed]).random()) + lap * GOLDEN) % 1
        return {
            one: np.minimum(held, rounded(self._often[one] % 1 * held, at))
            for one, held in self._held.items()
        }

    def _rng(self, lap: int, layout: int, use: int = 0) -> np.random.Generator:
        name, number = self._layouts[layout]
        which = list(self.streams).index(name)
        return np.random.default_rng([self.seed, lap, which, number, use])

    @cached_property
    def _layouts(self) -> list[tuple[str, int]]:
        """(layout,) the stream of each layout of all streams, and its number there."""
        return [(name, number) for name, one in self.streams.items() for number in range(len(one.layouts))]

    @cached_property
    def _tokens_each(self) -> NDArray[np.float64]:
        """(layout,) the tokens of a window, on average."""
        streams = self.streams.values()
        return np.array([float(one.tokens[rows].mean()) for one in streams for rows in one.layouts])

    @cached_property
    def _members(self) -> list[dict[str, NDArray[np.int64]]]:
        """(layout,) dataset → its windows of that layout."""
        found = []
        for stream in self.streams.values():
            names = datasets(stream)
            found += [
                {one: rows[names[rows] == one] for one in distinct(names[rows])} for rows in stream.layouts
            ]
        return found

    @cached_property
    def _held(self) -> dict[str, NDArray[np.int64]]:
        """dataset → (layout,) how many windows of it each layout holds."""
        return {
            one: np.array([len(members.get(one, ())) for members in self._members], np.int64)
            for one in self._often
        }

    @cached_property
    def _often(self) -> dict[str, float]:
        """How often a window of each dataset occurs in a pass, whose tokens are as many as all datasets hold."""
        held: dict[str, float] = {}
        for stream in self.streams.values():
            names = datasets(stream)
            for name in distinct(names):
                held[name] = held.get(name, 0.0) + float(stream.tokens[names == name].sum())
        shares = {name: self.weights.get(name, 1.0) for name in held}
        return {name: shares[name] / sum(shares.values()) * sum(held.values()) / held[name] for name in held}

    def __hash__(self) -> int:
        return id(self)


def datasets(stream: AnyStream) -> NDArray[np.str_]:
    """(window,) the dataset of each window."""
    return np.array([recording.dataset for recording in stream.recordings])[stream.windows.recording]


def distinct(names: NDArray[np.str_]) -> list[str]:
    """Every name once, in order of its first."""
    return list(dict.fromkeys(names.tolist()))


def repeated(rows: NDArray[np.int64], whole: int, more: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each row `whole` times, and `more` random ones once more."""
    return np.concatenate([np.tile(rows, whole), rng.permutation(rows)[:more]])


def rounded(want: NDArray[np.floating], at: float) -> NDArray[np.int64]:
    """Whole numbers whose sums from the first on are those of `want`, within one.

    Each is rounded up or down, up for its share of all `at` in [0, 1): systematic sampling (Madow 1949, "On the theory of
    systematic sampling, II").
    """
    return np.diff(np.floor(np.cumsum(want) + at), prepend=0.0).astype(np.int64)
