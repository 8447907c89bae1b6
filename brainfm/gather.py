"""Gather: cards → prepared recordings → the windows that a run is trained on, stream by stream."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.batch import Batch
from brainfm.corpus import AnyStream, Stream, Together
from brainfm.data.cards import DataCard
from brainfm.data.preprocess import fit, has, prepare
from brainfm.data.recording import Recording
from brainfm.data.store import Store, open_store
from brainfm.data.windows import Windows, measured, place, without
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.manifest import Manifest
from brainfm.recipe import PretrainRecipe, SignalRecipe, Simultaneous
from brainfm.recipe_corpus import Corpus, span

FITTED_ON = 512  # windows that the corpus's statistics are learnt from
FEWEST = 8  # events of a window that is trained on


def gather(
    recipe: PretrainRecipe, limit: int | None = None
) -> tuple[PretrainRecipe, dict[str, AnyStream], Manifest]:
    """Read and prepare the corpus. The recipe comes back with what its steps learnt from these recordings."""
    streams: dict[str, AnyStream] = {}
    signals: dict[str, SignalRecipe] = {}
    manifest = Manifest()
    store = open_store(recipe.data.store) if recipe.data.store else None
    raw, _ = corpus(recipe.data, limit, store)
    ready: dict[str, dict[int, Recording]] = {}
    for modality, settings in recipe.signals.items():
        which = [number for number, one in enumerate(raw) if has(one, settings.prepare, modality)]
        recordings = [raw[number] for number in which]
        if not recordings:
            raise DataError(
                f"the cards {', '.join(recipe.data.cards)} hold no {modality} recording to train on"
            )
        manifest += entered(recordings, modality, recipe.signals)
        done = store.done(settings.prepare, modality) if store else 0
        steps = [*settings.prepare[:done], *fit(settings.prepare[done:], recordings, modality)]
        signals[modality] = settings.model_copy(update={"prepare": steps})
        prepared = prepare(recordings, steps[done:], modality)
        ready[modality] = dict(zip(which, prepared, strict=True))
    for one in recipe.together:
        both = joined(one, signals, ready)
        streams["+".join(one.modalities)] = both
    for modality, found in ready.items():
        if found:
            streams[modality] = cut(list(found.values()), signals[modality], modality)
    return recipe.model_copy(update={"signals": signals}), streams, manifest


def weights(data: Corpus) -> dict[str, float]:
    """Each dataset's weight, by the name that its recordings carry."""
    return (
        {DataCard.load(name).name: data.weights.get(Path(name).stem, 1.0) for name in data.cards}
        if data.weights
        else {}
    )


def entered(recordings: Sequence[Recording], modality: str, trained: Collection[str]) -> Manifest:
    """What these recordings add to the manifest when this modality of them is trained on.

    One that lacks the modality, which is made of a track, is known by a signal of the brain: by one that is `trained` on and
    entered anyway, else by its first.
    """
    own = [one for one in recordings if modality in one.signals]
    alone = [one for one in recordings if not one.signals.keys() & trained]
    found = [Manifest.of([one], next(iter(one.signals)), with_labels=False) for one in alone if one.signals]
    return sum(found, Manifest.of(own, modality, with_labels=False))


def joined(
    one: Simultaneous, signals: Mapping[str, SignalRecipe], ready: dict[str, dict[int, Recording]]
) -> Together:
    """The windows of the recordings that hold all these instruments, which are taken out of `ready`.

    They are cut where the slowest instrument has its samples. Raises `DataError` where no recording holds all, or no window fits.
    """
    words = " and ".join(one.modalities)
    shared = sorted(set.intersection(*(set(ready[name]) for name in one.modalities)))
    if not shared:
        raise DataError(f"no recording holds {words} at once; remove that from together")
    seconds = one.seconds or max(signals[name].seconds for name in one.modalities)
    recordings = {name: [ready[name].pop(number) for number in shared] for name in one.modalities}
    slowest = min(one.modalities, key=lambda name: recordings[name][0].signal(name).sfreq)
    windows = Sliding(seconds=seconds, stride=one.stride)(recordings[slowest], slowest, [])
    windows = allowed(windows, recordings[slowest])
    streams = tuple(
        Stream(name, recordings[name], windows, signals[name].prepare, signals[name].tokenizer)
        for name in one.modalities
    )
    left = without(windows, np.all([fits(stream_) for stream_ in streams], axis=0), f"not whole in {words}")
    if not len(left):
        raise DataError(f"no window of {seconds:g} s lies in {words} at once; shorten together.seconds")
    return Together(tuple(replace(stream_, windows=left) for stream_ in streams))


def fits(stream_: Stream) -> NDArray[np.bool_]:
    """(window,) whether the window lies whole in its recording, all of it was measured, and it holds events enough where it is
    of events."""
    signals = [recording.signal(stream_.modality) for recording in stream_.recordings]
    table = stream_.windows
    inside = np.array(
        [
            place(signals[row], start, table.seconds) is not None
            for row, start in zip(table.recording, table.start, strict=True)
        ],
        dtype=bool,
    )
    there = np.flatnonzero(inside)
    inside[there] &= measured(stream_.recordings, table.rows(there), stream_.modality)
    if stream_.ragged:
        inside[there] &= replace(stream_, windows=table.rows(there)).lengths >= FEWEST
    return inside


def corpus(
    data: Corpus, limit: int | None = None, store: Store | None = None
) -> tuple[list[Recording], list[Recording]]:
    """The recordings of all cards, raw or from a store, and those held out.

    Raises `DataError` where a held-out place is in no card.
    """
    kept: list[Recording] = []
    out: list[Recording] = []
    for name in data.cards:
        card = DataCard.load(name)
        recordings, every = recordings_of(card, limit, store)
        held = [data.held(card.name, one.subject, one.session, one.run) for one in recordings]
        unread = [data.held(card.name, *place) for place in every[len(held) :]]
        if unknown := set(data.hold_out.get(card.name, [])).difference(*held, *unread):
            raise DataError(
                f"data.hold_out: {card.name} has no recording of {', '.join(sorted(unknown))}; "
                f"its subjects are {', '.join(sorted({one.subject for one in recordings}))}"
            )
        for recording, places in zip(recordings, held, strict=True):
            spans = [span(place_) for place_ in sorted(places)]
            if None in spans:
                out.append(recording)
            else:
                kept.append(replace(recording, kept_out=tuple(one for one in spans if one)))
    return kept, out


def recordings_of(
    card: DataCard, limit: int | None, store: Store | None
) -> tuple[list[Recording], list[tuple[str, str, str]]]:
    """A card's first recordings, from a store where one is given, and the places (subject, session, run) of all."""
    if store is not None:
        stored = store.recordings(card.name)
        return stored[:limit], [(one.subject, one.session, one.run) for one in stored]
    entries = card.entries()
    return card.recordings(limit, entries), [(one.subject, one.session, one.run) for one in entries]


def stream(recordings: Sequence[Recording], settings: SignalRecipe, modality: str, done: int = 0) -> Stream:
    """Recordings, prepared, and every whole window in them; the first `done` steps are behind them already."""
    return cut(prepare(recordings, settings.prepare[done:], modality), settings, modality)


def cut(prepared: Sequence[Recording], settings: SignalRecipe, modality: str) -> Stream:
    """Prepared recordings and every whole window in them."""
    windows = allowed(
        Sliding(seconds=settings.seconds, stride=settings.stride)(prepared, modality, []), prepared
    )
    if not len(windows):
        raise DataError(
            f"no recording is as long as a window of {settings.seconds:g} s; shorten signals.{modality}.seconds"
        )
    windows = without(windows, measured(prepared, windows, modality), "not measured throughout")
    if not len(windows):
        raise DataError(f"{modality} was measured throughout no window; shorten signals.{modality}.seconds")
    found = Stream(modality, prepared, windows, settings.prepare, settings.tokenizer)
    return with_enough(found) if found.ragged else found


def allowed(windows: Windows, recordings: Sequence[Recording]) -> Windows:
    """The windows that touch nothing that is kept out; the others are counted as dropped."""
    stop = windows.start + windows.seconds
    touching = np.zeros(len(windows), bool)
    for index, recording in enumerate(recordings):
        for start, end in recording.kept_out:
            touching |= (windows.recording == index) & (windows.start < end) & (stop > start)
    return without(windows, ~touching, "held out")


def with_enough(stream_: Stream) -> Stream:
    """A stream of events less the windows that hold too few to hide some and see others; these are counted as dropped."""
    enough = stream_.lengths >= FEWEST
    if not enough.any():
        raise DataError(f"no window of {stream_.modality} holds {FEWEST} events; lengthen it")
    return replace(stream_, windows=without(stream_.windows, enough, f"fewer than {FEWEST} events"))


def sample(stream_: Stream, seed: int) -> list[Batch]:
    """Random windows of a stream, layout by layout, `FITTED_ON` at most."""
    rng = np.random.default_rng([seed, 2])
    share = min(1.0, FITTED_ON / len(stream_.windows))
    return [
        stream_.batch(rng.choice(rows, size=max(1, round(share * len(rows))), replace=False))
        for rows in stream_.layouts
    ]
