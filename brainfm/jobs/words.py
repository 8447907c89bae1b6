"""Words: a codec and a labelled card → runs of codes, how well they tell the labels, and which of them do, where and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from brainfm import code_pictures
from brainfm.batch import Batch
from brainfm.code_words import Lexicon, Text, aligned, bayes, log_odds, telling
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold, Split
from brainfm.data.modalities import owner
from brainfm.data.windows import n_samples
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.metrics import Probabilities
from brainfm.palette import Picture
from brainfm.report import Figures, Section
from brainfm.scores import Scores, number, plain

BATCH = 64  # windows whose codes are said at once
DRAWN = 500  # stretches of a word that its waveform is the mean of, at most


@dataclass(frozen=True)
class Options:
    """`longest` codes make a word, of the first `books` quantizers together; `top` words of each label are shown."""

    longest: int = 3
    books: int = 1
    least: int = 5
    """Windows that a word must occur in."""
    top: int = 5
    split: Split | None = None
    metric: str | None = None
    limit: int | None = None
    shuffles: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Word:
    """A run of codes that speaks for a label."""

    label: str
    codes: tuple[int, ...]
    times_as_frequent: float
    """In windows of the label as in all others, by counts with one added to each."""
    windows: int
    """Of the label, that it occurs in."""
    others: int
    """Windows of other labels that it occurs in."""
    where: Sequence[str]
    """Its first places: recording, sensor, seconds."""
    column: int = field(repr=False)

    @property
    def name(self) -> str:
        """Its codes, in order of time."""
        return "·".join(map(str, self.codes))


@dataclass(frozen=True)
class Told:
    """How well words tell the labels of a card, and which of them do."""

    scores: Scores
    words: Sequence[Word]
    page: Path

    @property
    def json(self) -> dict[str, Any]:
        """What `tokenize words --json` prints."""
        rows = [vars(row) for row in self.scores.rows]
        shown = [{key: value for key, value in vars(word).items() if key != "column"} for word in self.words]
        return {
            "card": self.scores.card,
            "metric": self.scores.metric,
            "rows": plain(rows),
            "words": plain(shown),
        }


def words(run: str | Path, card: str, out: Path, options: Options | None = None) -> Told:
    """Count the words of a card's windows, score naive Bayes of them out of fold, rank them by label, write the page.

    Raises `DataError` where the codec is another instrument's, or a window no whole number of its patches.
    """
    from brainfm.jobs.reporting import texts, write

    options = options or Options()
    codec = Codec.load(run)
    evaluation = Evaluation.of(
        DataCard.load(card), options.split, metric=options.metric, limit=options.limit, seed=options.seed
    )
    stream = windows_of(codec, evaluation)
    text = coded(codec, stream, options.books)
    scores = scored(codec, evaluation, text, options)
    lexicon = Lexicon.of(text, options.longest, np.arange(text.count), options.least)
    found = ranked(stream, text, lexicon, options.top)
    pictures = [drawn(codec, stream, text, lexicon, label, found) for label in stream.windows.labels]
    sentence = (
        "Runs of codes on one sensor, those first whose evidence for the label is largest: how much more frequent they are in "
        "its windows, on the log scale, times how often they occur there. Waveforms are means of stretches shifted in time "
        "to fit their mean (Woody 1967), so noise alone would leave a little of a wave, too; grey: one standard deviation."
    )
    sections: list[Section] = [
        scores,
        Figures("Words that speak for a label", pictures, sentence, list(map(row, found))),
    ]
    write(
        f"Words of {evaluation.modality} codes on {card}",
        [*sections, texts(codec.recipe, [card])],
        out,
        codec.recipe,
    )
    return Told(scores, found, out / "report.html")


def row(word: Word) -> dict[str, str]:
    """A word as a row of a table."""
    return {
        "label": word.label,
        "word": word.name,
        "times as frequent": f"{word.times_as_frequent:.1f}",
        "windows": str(word.windows),
        "others": str(word.others),
        "for example": "; ".join(word.where),
    }


def windows_of(codec: Codec, evaluation: Evaluation) -> Stream:
    """The labelled windows as the codec was trained to see signal. Raises `DataError` for another instrument's."""
    modality = evaluation.modality
    if modality not in codec.modalities:
        raise DataError(f"this codec has codes for {' and '.join(codec.modalities)}, not {modality}")
    prepared = codec.prepare(evaluation.recordings, modality)
    return Stream(modality, prepared, evaluation.windows, codec.recipe.prepare, codec.recipe.tokenizer)


def coded(codec: Codec, stream: Stream, books: int = 1) -> Text:
    """The codes of every window, of one that is longer than those of training piece by piece."""
    pages = []
    for rows in stream.layouts:
        for part in np.array_split(rows, -(-len(rows) // BATCH)):
            codes = [by_rows(codec, piece).numpy() for piece in pieces(codec, stream.batch(part))]
            pages.append((part, np.concatenate(codes, axis=2)))
    return Text.of(pages, codec.sizes, len(stream.windows), books)


def by_rows(codec: Codec, batch: Batch) -> Int[Tensor, "batch row times quantizer"]:
    """The codes of a batch, row by row."""
    tokens = codec.tokenize(batch).tokens
    assert tokens.code is not None  # a codec's tokens have theirs
    return tokens.code.unflatten(1, (tokens.rows, -1))


def pieces(codec: Codec, batch: Batch) -> Iterator[Batch]:
    """A batch in stretches as long as the codec's windows of training, the last one shorter."""
    length = n_samples(codec.recipe.seconds, batch.sfreq)
    for first in range(0, batch.signal.shape[-1], length):
        yield replace(batch, signal=batch.signal[..., first : first + length])


def scored(codec: Codec, evaluation: Evaluation, text: Text, options: Options) -> Scores:
    """Naive Bayes of the words, out of fold, beside chance, shuffled labels and the card's classical decoder."""
    predictions = told(evaluation, text, options)
    if evaluation.card.baseline is not None and evaluation.comparable:
        kind = evaluation.card.baseline.kind
        predictions[f"classical:{kind}"] = [evaluation.baseline(evaluation.card.baseline)]
    saw = {codec.manifest.verdict(one, evaluation.modality) for one in evaluation.recordings}
    seen = any(verdict.startswith("seen") for verdict in saw)
    return Scores(
        card=evaluation.card.name,
        split=evaluation.words,
        held_out=[fold.held_out for fold in evaluation.folds],
        metric=evaluation.metric,
        chance=evaluation.chance().score,
        rows=[evaluation.chance(), *(evaluation.row(name, several) for name, several in predictions.items() if several)],
        unit=evaluation.unit,
        title="How well words tell the labels",
        contamination="the codec was trained on tested recordings, without labels" if seen else "",
        contaminated=seen,
        seed=evaluation.seed,
    )  # fmt: skip


def told(evaluation: Evaluation, text: Text, options: Options) -> dict[str, list[Probabilities]]:
    """What naive Bayes says of every tested window, and where labels are shuffled; words are those of the training windows."""
    windows, label = evaluation.windows, evaluation.windows.label
    rng = np.random.default_rng([evaluation.seed, 5])
    found = {name: np.full((draws, len(windows), evaluation.classes), np.nan) for name, draws in
             (("shuffled", options.shuffles), ("words", 1))}  # fmt: skip
    for fold in evaluation.folds:
        counts = Lexicon.of(text, options.longest, fold.train, options.least).counts(text)
        draws = [evaluation.shuffled(fold, rng) for _ in range(options.shuffles)]
        for name, labels in (("shuffled", draws), ("words", [label])):
            for draw, one in enumerate(labels):
                found[name][draw, fold.test] = by_words(counts, fold, one, evaluation.classes)
    return {name: [one[evaluation.tested] for one in several] for name, several in found.items()}


def by_words(counts: Any, fold: Fold, label: NDArray[np.int64], classes: int) -> Probabilities:
    """(test window, class) by counts of words, fitted on the training windows."""
    model = bayes(counts[fold.train], label[fold.train])
    found = np.zeros((len(fold.test), classes))
    found[:, model.classes_] = model.predict_proba(counts[fold.test])
    return found


def ranked(stream: Stream, text: Text, lexicon: Lexicon, top: int) -> list[Word]:
    """The `top` words of a lexicon that speak most for each label, over all windows."""
    counts, label, names = lexicon.counts(text), stream.windows.label, stream.windows.labels
    evidence, odds = telling(counts, label, len(names)), log_odds(counts, label, len(names))
    found = []
    for number_, name in enumerate(names):
        for column in np.argsort(-evidence[number_], kind="stable")[:top].tolist():
            there = np.asarray((counts[:, column] > 0).todense()).ravel()
            places = lexicon.places(text, column)
            own = places[label[places[:, 0]] == number_][:3]
            found.append(
                Word(
                    label=name,
                    codes=lexicon.spelt(column),
                    times_as_frequent=float(np.exp(odds[number_, column])),
                    windows=int(there[label == number_].sum()),
                    others=int(there[label != number_].sum()),
                    where=[said(stream, place) for place in own],
                    column=column,
                )
            )
    return found


def said(stream: Stream, place: NDArray[np.int64]) -> str:
    """A place, (window, row, first token), in words."""
    window, row_, first = place.tolist()
    assert stream.tokenizer is not None
    index = int(stream.windows.recording[window])
    recording = stream.recordings[index]
    sensors = stream.tokenizer.rows(
        recording.signal(stream.modality).sensors, owner(recording, stream.modality)
    )
    at = stream.windows.start[window] + first * stream.tokenizer.seconds
    return f"{recording.subject or recording.name} {sensors[row_]} {number(at)} s"


def drawn(
    codec: Codec, stream: Stream, text: Text, lexicon: Lexicon, label: str, found: Sequence[Word]
) -> Picture:
    """The mean waveforms of a label's words, on its own windows."""
    shown = []
    number_ = stream.windows.labels.index(label)
    for word in [one for one in found if one.label == label][:4]:
        places = lexicon.places(text, word.column)
        places = places[stream.windows.label[places[:, 0]] == number_][:DRAWN]
        middle, spread = aligned(stretches(codec, stream, places, len(word.codes)))
        shown.append((word.name, middle, spread))
    return code_pictures.waveforms(shown, codec.recipe.tokenizer.sfreq, label)


def stretches(codec: Codec, stream: Stream, places: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """(place, time) what the tokens of a word hold at each of its places (window, row, first token)."""
    found = []
    for window in np.unique(places[:, 0]):
        tokenized, times = codec.held(stream.batch(np.array([window])))
        patches = tokenized.targets[stream.modality].value[0].unflatten(0, (-1, times))
        for _, row_, first in places[places[:, 0] == window].tolist():
            found.append(patches[row_, first : first + length].flatten().double().numpy())
    return np.array(found) if found else np.zeros((1, length * codec.recipe.tokenizer.times))
