"""Words of codes: runs of them on one sensor (n-grams), counted, ranked by what they say of a class, and found again in time.

As EEGFormer reads its codes (Chen et al. 2024, arXiv:2401.10278, §3.3): n-grams and naive Bayes, after which every word that
speaks for a class can be shown on its sensor and at its seconds. It works on the codes of any codec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from brainfm.errors import DataError


@dataclass(frozen=True)
class Text:
    """The codes of windows, (window, row, times) each of a layout, as one code a token; `windows` are their numbers."""

    pages: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    """(windows (window,), codes (window, row, times))."""
    codes: int
    """How many there are."""
    count: int
    """Windows in all."""

    @classmethod
    def of(
        cls,
        pages: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
        sizes: Sequence[int],
        count: int,
        books: int = 1,
    ) -> "Text":
        """From codes (window, row, times, quantizer), by the first `books` quantizers together: more hardly ever repeat."""
        kept = sizes[:books]
        codes = int(np.prod(np.array(kept, np.int64)))
        scale = np.cumprod([1, *kept[:-1]], dtype=np.int64)
        return cls(
            [(rows, (ids[..., : len(kept)] * scale).sum(axis=-1)) for rows, ids in pages], codes, count
        )

    def beside(self, other: "Text") -> "Text":
        """These windows, and behind them those of another text of the same codes."""
        more = [(rows + self.count, ids) for rows, ids in other.pages]
        return Text([*self.pages, *more], self.codes, self.count + other.count)

    def words(self, length: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(windows, words (window, row, first token)) of runs of `length` codes, each a number in base `codes`."""
        for rows, ids in self.pages:
            if ids.shape[2] >= length:
                found = np.zeros((*ids.shape[:2], ids.shape[2] - length + 1), np.int64)
                for place in range(length):
                    found = found * self.codes + ids[:, :, place : place + found.shape[2]]
                yield rows, found


@dataclass(frozen=True)
class Lexicon:
    """The words of some windows by length, each length's sorted: a column of `counts` for each, the shortest first."""

    codes: int
    words: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, text: Text, longest: int, windows: NDArray[np.int64], least: int = 1) -> "Lexicon":
        """The words of up to `longest` codes that occur in at least `least` of these windows.

        Raises `DataError` where numbers of 64 bits can't tell so long words apart, or no word is left.
        """
        if text.codes**longest >= 2**62:
            raise DataError(
                f"words of {longest} of {text.codes} codes can't be counted; take shorter ones or fewer quantizers"
            )
        among = np.zeros(text.count, bool)
        among[windows] = True
        kept = []
        for length in range(1, longest + 1):
            pairs = [within(rows[among[rows]], found[among[rows]]) for rows, found in text.words(length)]
            word, times = np.unique(np.concatenate([one[1] for one in pairs] or [[]]), return_counts=True)
            kept.append(word[times >= least].astype(np.int64))
        if not sum(map(len, kept)):
            raise DataError(f"no word of codes occurs in {least} windows")
        return cls(text.codes, kept)

    def __len__(self) -> int:
        return sum(map(len, self.words))

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The column of the first word of each length."""
        return np.cumsum([0, *map(len, self.words)])

    def counts(self, text: Text) -> csr_matrix:
        """(window, word) how often each word occurs, over all sensors; words that are not known are not counted."""
        rows_, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for length, (known, first) in enumerate(zip(self.words, self.firsts, strict=False), start=1):
            for rows, found in text.words(length) if len(known) else ():
                flat = found.ravel()
                at = np.minimum(np.searchsorted(known, flat), len(known) - 1)
                there = known[at] == flat
                rows_.append(np.repeat(rows, found[0].size)[there])
                columns.append(at[there] + first)
        row, column = np.concatenate(rows_), np.concatenate(columns)
        return csr_matrix((np.ones(len(row)), (row, column)), (text.count, len(self)))

    def spelt(self, column: int) -> tuple[int, ...]:
        """The codes of a word, in order of time."""
        length = int(np.searchsorted(self.firsts, column, side="right"))
        word = int(self.words[length - 1][column - self.firsts[length - 1]])
        codes = [word // self.codes**place % self.codes for place in range(length)]
        return tuple(reversed(codes))

    def places(self, text: Text, column: int) -> NDArray[np.int64]:
        """(occurrence, 3) where a word occurs: window, row, its first token."""
        length = len(self.spelt(column))
        word = self.words[length - 1][column - self.firsts[length - 1]]
        found = [np.zeros((0, 3), np.int64)]
        for rows, words in text.words(length):
            at = np.argwhere(words == word)
            at[:, 0] = rows[at[:, 0]]
            found.append(at)
        return np.concatenate(found)


def within(rows: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """(2, pair) each window and each word that occurs in it, once."""
    return np.unique(np.stack([np.repeat(rows, found[0].size if len(found) else 0), found.ravel()]), axis=1)


def bayes(counts: Any, labels: NDArray[np.int64]) -> Any:
    """Multinomial naive Bayes of counts, all classes as likely as each other (scikit-learn)."""
    from sklearn.naive_bayes import MultinomialNB

    return MultinomialNB(fit_prior=False).fit(counts, labels)


def by_class(counts: Any, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(class, word) how often each word occurs in the windows of each class."""
    return np.stack([np.asarray(counts[labels == one].sum(axis=0)).ravel() for one in range(classes)])


def log_odds(counts: Any, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(class, word) log of how much more frequent a word is in a class than in all others together, one added to each count."""
    own = by_class(counts, labels, classes)
    share, rest = (
        np.log(part + 1) - np.log((part + 1).sum(axis=1, keepdims=True))
        for part in (own, own.sum(axis=0) - own)
    )
    return np.asarray(share - rest)


def telling(counts: Any, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(class, word) a word's whole evidence for a class: its log odds times how often it is used there.

    A word's odds alone rank first what occurred a few times by luck.
    """
    own = by_class(counts, labels, classes)
    share = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    return log_odds(counts, labels, classes) * share


def surprise(usual: Any, counts: Any) -> NDArray[np.float64]:
    """(window,) nats that a word of each window costs by how often the words are in usual windows, the mean over its words.

    `counts` and `usual` share a lexicon of words of one length; what is in it but not in usual windows counts as half once.
    """
    total = np.asarray(usual.sum(axis=0)).ravel() + 0.5
    cost = -np.log(total / total.sum())
    return np.asarray((counts @ cost) / np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1))


def aligned(
    stretches: NDArray[np.float64], rounds: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of stretches, (stretch, time), and their standard deviation, (time,) each, each shifted to fit the mean.

    A rhythm begins anywhere in a patch, so that a plain mean would be flat. Woody's filter (Woody 1967, Medical & Biological
    Engineering 5, 539): shifts are round the end, the loudest stretch is the first mean.
    """
    centred = stretches - stretches.mean(axis=1, keepdims=True)
    middle = centred[np.argmax((centred**2).sum(axis=1))]
    for _ in range(rounds):
        spectra = np.fft.rfft(centred) * np.fft.rfft(middle).conj()
        shift = np.fft.irfft(spectra, n=centred.shape[1]).argmax(axis=1)
        at = (np.arange(centred.shape[1]) + shift[:, None]) % centred.shape[1]
        moved = np.take_along_axis(centred, at, axis=1)
        middle = moved.mean(axis=0)
    return middle, moved.std(axis=0)
