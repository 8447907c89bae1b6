"""What would leak: checks that nothing of the test side of a fold is on its training side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.data.recording import Recording
from brainfm.data.windows import Windows
from brainfm.errors import DataError

Split = Literal[
    "WithinSession", "CrossSession", "CrossSubject", "LeaveOneSubjectOut", "CrossStimulus", "CrossDataset"
]
ACROSS_PEOPLE = ("CrossSubject", "LeaveOneSubjectOut")
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows of a window table to train on and to test on, and who is held out, in words."""

    train: Rows
    test: Rows
    held_out: str


def check_fold(name: Split, fold: Fold, windows: Windows, recordings: Sequence[Recording]) -> None:
    """Raise `DataError`, naming what leaks, unless the two sides are disjoint in the sense of the split.

    Checked: rows exist and stand on one side only; every label is trained on; no window overlaps one of the
    other side in time; no signal that was read twice, under whatever name, is on both sides; and no subject
    (CrossSubject, LeaveOneSubjectOut), session (CrossSession), stimulus (CrossStimulus) or dataset (CrossDataset) is.
    """
    check_rows(fold, windows)
    if overlapping := near(windows, fold.train, fold.test, 0.0).sum():
        raise DataError(
            f"{fold.held_out}: {overlapping} training windows overlap a test window in time; leave a gap"
        )
    if missing := lacking(windows, fold.train):
        raise DataError(f"{fold.held_out}: no training window is labelled {missing[0]!r}; hold out less")
    refuse_shared(fold, copies(windows, recordings), "the same signal, in", "leave one copy out")
    if name in ACROSS_PEOPLE:
        who = subjects(windows, recordings)
        if "" in set(who):
            raise DataError(
                f"{name} needs the subject of every recording; put {{subject}} into the card's `files`"
            )
        refuse_shared(fold, who, "subject", "hold out whole subjects")
    if name == "CrossSession":
        refuse_shared(fold, subject_sessions(windows, recordings), "session", "hold out whole sessions")
    if name == "CrossStimulus":
        refuse_shared(fold, stimuli(windows, recordings), "stimulus", "hold it out for everyone")
    if name == "CrossDataset":
        refuse_shared(fold, datasets(windows, recordings), "dataset", "hold out whole datasets")


def check_rows(fold: Fold, windows: Windows) -> None:
    """Raise `DataError` unless both sides hold rows of the table, each once."""
    both = np.concatenate([fold.train, fold.test])
    if not len(fold.train) or not len(fold.test):
        raise DataError(
            f"{fold.held_out}: no window is {'left to train on' if len(fold.test) else 'held out'}"
        )
    if both.min() < 0 or both.max() >= len(windows):
        raise DataError(f"{fold.held_out}: row {both.max()} is not in the table of {len(windows)} windows")
    if len(shared := np.intersect1d(fold.train, fold.test)):
        raise DataError(
            f"{fold.held_out}: {len(shared)} windows are in both train and test, the first is row {shared[0]}"
        )
    if len(np.unique(both)) != len(both):
        raise DataError(f"{fold.held_out}: a window occurs twice on one side")


def refuse_shared(fold: Fold, what: NDArray[np.str_], word: str, advice: str) -> None:
    """Raise `DataError` that names what is on both sides."""
    shared = sorted((set(what[fold.train]) & set(what[fold.test])) - {""})
    if shared:
        names = ", ".join(shared[:5])
        raise DataError(f"{fold.held_out}: {word} {names} is in both train and test; {advice}")


def near(windows: Windows, rows: Rows, test: Rows, gap: float) -> NDArray[np.bool_]:
    """(row,) True where less than `gap` seconds lie between a window and a test window of its recording."""
    out = np.zeros(len(rows), bool)
    for recording in np.unique(windows.recording[test]):
        here = windows.recording[rows] == recording
        tested = np.sort(windows.start[test[windows.recording[test] == recording]])
        start = windows.start[rows[here]]
        after = np.searchsorted(tested, start)
        to_next = np.where(after < len(tested), tested[np.minimum(after, len(tested) - 1)] - start, np.inf)
        to_last = np.where(after > 0, start - tested[np.maximum(after - 1, 0)], np.inf)
        # windows that begin `seconds` apart touch; a nanosecond forgives the rounding of their starts
        out[here] = np.minimum(to_next, to_last) < windows.seconds + gap - 1e-9
    return out


def lacking(windows: Windows, rows: Rows) -> list[str]:
    """The labels of the task that none of these rows carries."""
    found = set(windows.label[rows].tolist())
    return [label for index, label in enumerate(windows.labels) if index not in found]


def datasets(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) the dataset of each."""
    return per_window(windows, [recording.dataset for recording in recordings])


def persons(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) dataset and subject of each: two datasets may both have a subject 01."""
    return per_window(windows, [f"{recording.dataset}/{recording.subject}" for recording in recordings])


def subjects(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) the subject of each."""
    return per_window(windows, [recording.subject for recording in recordings])


def sessions(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) the session of each, as the subject names it."""
    return per_window(windows, [recording.session for recording in recordings])


def subject_sessions(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) dataset, subject and session of each."""
    names = [f"{one.dataset}/{one.subject}/{one.session}".removeprefix("/") for one in recordings]
    return per_window(windows, names)


def stimuli(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) the label of the event that each window begins in, "" for none: whoever hears or sees it, it is the same."""
    out = np.zeros(len(windows), dtype=object)
    for index, recording in enumerate(recordings):
        rows = np.flatnonzero(windows.recording == index)
        events = recording.events
        order = np.argsort(events.onset, kind="stable")
        onset = events.onset[order]
        last = np.searchsorted(onset, windows.start[rows] + 1e-6, side="right") - 1
        ended = windows.start[rows] > onset[last] + events.duration[order][last] if len(onset) else True
        labels = np.array([*(events.label[one] for one in order), ""], dtype=object)
        out[rows] = labels[np.where((last < 0) | ended, len(onset), last)]
    return np.array([str(label or "") for label in out], dtype=np.str_)


def runs(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) a name for the recording of each."""
    return per_window(windows, [f"{index:06d}" for index in range(len(recordings))])


def copies(windows: Windows, recordings: Sequence[Recording]) -> NDArray[np.str_]:
    """(window,) the names of all recordings that hold the same signal as its own, "" where no other does."""
    names: dict[str, list[str]] = {}
    for recording in recordings:
        names.setdefault(recording.content_hash, []).append(recording.name)
    same = {key: " and ".join(found) for key, found in names.items() if key and len(found) > 1}
    return per_window(windows, [same.get(recording.content_hash, "") for recording in recordings])


def per_window(windows: Windows, values: Sequence[str]) -> NDArray[np.str_]:
    """(window,) each window's recording's value."""
    return np.array(values, dtype=np.str_)[windows.recording]
