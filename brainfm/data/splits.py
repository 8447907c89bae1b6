"""Who is held out: folds with MOABB's names and meanings, checked for leaks, and said in words.

WithinSession: part of a session is held out, the rest of the same session trains. CrossSession: one session
of a subject is held out, the subject's other sessions train. CrossSubject: subjects are held out, the other
subjects train; LeaveOneSubjectOut is CrossSubject with every subject held out by itself, whatever groups a card
asks for. CrossDataset: a dataset is held out, subject after subject, and only other datasets train. (Chevallier et
al. 2024, "The largest EEG-based BCI reproducibility study", section 2.3.) CrossStimulus, which MOABB has not: stimuli are held
out for everyone who saw or heard them; what everyone made of the others trains.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np

from brainfm.data.leaks import (
    ACROSS_PEOPLE,
    Fold,
    Rows,
    Split,
    check_fold,
    datasets,
    lacking,
    near,
    persons,
    runs,
    sessions,
    stimuli,
    subject_sessions,
    subjects,
)
from brainfm.data.recording import Recording
from brainfm.data.windows import Windows, bouts
from brainfm.errors import DataError

Unit = TypeVar("Unit")

SESSIONS = 5
"""Sessions of a single subject that a bootstrap can draw from: of two, it has three things to draw."""
BLOCKS = 5
"""Contiguous blocks that a session is cut into where the caller names no number."""


def split(
    name: Split,
    windows: Windows,
    recordings: Sequence[Recording],
    folds: int | None = None,
    gap: float | None = None,
) -> list[Fold]:
    """The folds of a split; each has passed `check_fold`.

    `folds`: how many groups of subjects, of runs or of blocks (default: each subject out once; each run once;
    five blocks). `gap`, in seconds (default: one window, at least 1 s): WithinSession's blocks leave out
    training windows nearer than this to a test window. Rows do not depend on the order of subjects in the
    table. Raises `DataError` where the data can't be split so.
    """
    if folds is not None and folds < 2:
        raise DataError(f"a split needs at least 2 folds, not {folds}")
    if folds is not None and name in ("LeaveOneSubjectOut", "CrossDataset"):
        raise DataError(f"{name} has a fold for every subject and takes no number of them")
    gap = max(1.0, windows.seconds) if gap is None else gap
    makers: dict[str, Callable[[], Iterator[Fold]]] = {
        "CrossSubject": lambda: cross_subject(windows, recordings, folds),
        "LeaveOneSubjectOut": lambda: cross_subject(windows, recordings, None),
        "CrossStimulus": lambda: cross_stimulus(windows, recordings, folds),
        "CrossDataset": lambda: cross_dataset(windows, recordings),
        "CrossSession": lambda: cross_session(windows, recordings),
        "WithinSession": lambda: within_session(windows, recordings, folds, gap),
    }
    if name not in makers:
        raise DataError(f"the split {name!r} is not known; it is one of {', '.join(makers)}")
    made = list(makers[name]())
    for fold in made:
        check_fold(name, fold, windows, recordings)
    return made


def cross_subject(windows: Windows, recordings: Sequence[Recording], folds: int | None) -> Iterator[Fold]:
    """Leave one subject out, or one of `folds` groups of subjects."""
    subject = subjects(windows, recordings)
    everyone = sorted(set(subject))
    if len(everyone) < 2:
        raise DataError(
            "CrossSubject needs at least two subjects with windows; use CrossSession or WithinSession"
        )
    if folds is not None and folds > len(everyone):
        raise DataError(f"{len(everyone)} subjects can't be held out in {folds} groups; ask for fewer folds")
    for group in chunks(everyone, folds or len(everyone)):
        out = np.isin(subject, group)
        word = "subject" if len(group) == 1 else "subjects"
        yield Fold(np.flatnonzero(~out), np.flatnonzero(out), f"{word} {', '.join(group)}")


def cross_stimulus(windows: Windows, recordings: Sequence[Recording], folds: int | None) -> Iterator[Fold]:
    """Leave one of `folds` groups of stimuli (default: `BLOCKS`) out for everyone, each group as good as drawn at random.

    Groups follow from the stimuli's names alone (by hash, as Défossez et al. 2023 split sentences), so that another recording
    of the same study is split alike.
    """
    stimulus = stimuli(windows, recordings)
    if "" in set(stimulus):
        raise DataError(
            "CrossStimulus needs every window to begin inside an event, which names the stimulus; cut windows by `inside`"
        )
    every = sorted(set(stimulus), key=lambda name: hashlib.sha256(name.encode()).digest())
    number = folds or BLOCKS
    if len(every) < number:
        raise DataError(f"{len(every)} stimuli can't be held out in {number} groups; ask for fewer folds")
    for group in chunks(every, number):
        out = np.isin(stimulus, group)
        yield Fold(np.flatnonzero(~out), np.flatnonzero(out), f"{len(group)} of {len(every)} stimuli")


def cross_dataset(windows: Windows, recordings: Sequence[Recording]) -> Iterator[Fold]:
    """Each subject of each dataset once, with the windows of all other datasets to train on."""
    dataset, subject = datasets(windows, recordings), subjects(windows, recordings)
    if len(set(dataset)) < 2:
        raise DataError("CrossDataset needs windows of at least two datasets; name others to train on")
    for held in sorted(set(dataset)):
        train = np.flatnonzero(dataset != held)
        for who in sorted(set(subject[dataset == held])):
            test = np.flatnonzero((dataset == held) & (subject == who))
            yield Fold(train, test, f"{held}, subject {who}" if who else held)


def cross_session(windows: Windows, recordings: Sequence[Recording]) -> Iterator[Fold]:
    """Leave one session out within each subject that has more than one."""
    subject, session = subjects(windows, recordings), sessions(windows, recordings)
    several = False
    for who in sorted(set(subject)):
        mine = subject == who
        theirs = sorted(set(session[mine]))
        for one in theirs if len(theirs) > 1 else []:
            several, out = True, mine & (session == one)
            yield Fold(np.flatnonzero(mine & ~out), np.flatnonzero(out), f"{place(who)}session {one}")
    if not several:
        raise DataError("CrossSession needs a subject with at least two sessions; use WithinSession")


def within_session(
    windows: Windows, recordings: Sequence[Recording], folds: int | None, gap: float
) -> Iterator[Fold]:
    """Hold out runs or blocks of every session; every class is on both sides of every fold."""
    subject, session = subjects(windows, recordings), sessions(windows, recordings)
    for who, one in sorted(set(zip(subject.tolist(), session.tolist(), strict=True))):
        rows = np.flatnonzero((subject == who) & (session == one))
        where = f"{place(who)}session {one}" if one else (f"subject {who}" if who else "the recording")
        parts, word = parts_of_session(windows.rows(rows), recordings, folds, where)
        for index, part in enumerate(parts):
            test = rows[part]
            rest = np.setdiff1d(rows, test)
            train = rest if word == "run" else rest[~near(windows, rest, test, gap)]
            if missing := lacking(windows, train):
                raise DataError(
                    f"{where}: the gap of {gap:g} s leaves no {missing[0]!r} to train on; shorten it"
                )
            yield Fold(train, test, f"{where}, {word} {index + 1} of {len(parts)}")


def parts_of_session(
    windows: Windows, recordings: Sequence[Recording], folds: int | None, where: str
) -> tuple[list[Rows], str]:
    """The test rows of each fold of one session, and whether they are runs or blocks.

    Runs are held out whole where every group of runs has every class, else contiguous blocks of time; where
    labels come in long blocks themselves, these are dealt out label by label. No unbroken block of one label
    is cut in two: its windows have more in common than the label.
    """
    if missing := lacking(windows, np.arange(len(windows))):
        raise DataError(f"{where} has no window labelled {missing[0]!r}; use another split")
    found = bouts(windows, recordings)
    by_run = [np.flatnonzero(windows.recording == index) for index in np.unique(windows.recording)]
    word, units, most = ("run", by_run, len(by_run)) if len(by_run) > 1 else ("block", found, BLOCKS)
    for number in [folds] if folds else range(min(most, len(units)), 1, -1):
        parts = [np.concatenate(part) for part in chunks(units, number)] if number <= len(units) else []
        if parts and all(complete(windows, side) for side in both_sides(parts)):
            return parts, word
    return blocks_of_labels(windows, found, folds, where), "block"


def blocks_of_labels(windows: Windows, found: Sequence[Rows], folds: int | None, where: str) -> list[Rows]:
    """Unbroken blocks, dealt label by label in time. Raises `DataError` where a label has too few."""
    labels = np.unique(windows.label)
    by_label = [[rows for rows in found if windows.label[rows[0]] == label] for label in labels]
    fewest = min(by_label, key=len)
    number = folds or min(BLOCKS, len(fewest))
    if len(fewest) < max(2, number):
        word = windows.labels[windows.label[fewest[0][0]]] if windows.labels else "none"
        raise DataError(
            f"{where}: label {word!r} comes in {len(fewest)} unbroken block(s); a split inside one "
            "would test on neighbours of what it trained on; use another split or fewer folds"
        )
    dealt = [chunks(blocks, number) for blocks in by_label]
    parts = [[rows for blocks in dealt for rows in blocks[part]] for part in range(number)]
    return [np.sort(np.concatenate(part)) for part in parts]


def groups(name: Split, windows: Windows, recordings: Sequence[Recording]) -> tuple[Rows, str]:
    """What a bootstrap draws, as a number per window, and its name: subject, else session, else window.

    Windows of one subject are not independent draws, so whole subjects are drawn where there are at least
    two, and whole sessions of a single subject where there are enough to make an interval of.
    """
    units = [("subject", subjects(windows, recordings), 2)]
    if name not in (*ACROSS_PEOPLE, "CrossDataset"):
        units.append(("session", subject_sessions(windows, recordings), SESSIONS))
    for word, unit, fewest in units:
        if len(set(unit)) >= fewest:
            return np.unique(unit, return_inverse=True)[1].astype(np.int64), word
    return np.arange(len(windows), dtype=np.int64), "window"


def inner_groups(
    name: Split, windows: Windows, recordings: Sequence[Recording], rows: Rows, blocks: int = BLOCKS
) -> Rows:
    """A group number per training row, for folds inside a training fold (scikit-learn's `LeaveOneGroupOut`).

    What the split holds out is what the groups are (datasets, subjects, sessions, runs), as far as leaving any one out
    leaves every class to train on; else whole blocks of each label, else contiguous blocks. Raises
    `DataError` where none can be made.
    """
    inside = windows.rows(rows)
    finer = [datasets, persons, subject_sessions, runs]
    coarsest = {"CrossDataset": 0, "CrossSession": 2, "WithinSession": 3}.get(name, 1)
    for unit in [each(inside, recordings) for each in finer[coarsest:]]:
        parts = [np.flatnonzero(unit == one) for one in sorted(set(unit))]
        if len(parts) > 1 and all(complete(inside, rest) for rest in both_sides(parts)[1::2]):
            return numbered(parts, len(rows))
    for number in range(blocks, 1, -1):
        parts = [part for part in even_blocks(inside, recordings, number) if len(part)]
        if len(parts) > 1 and all(complete(inside, rest) for rest in both_sides(parts)[1::2]):
            return numbered(parts, len(rows))
    raise DataError(
        "the training windows are too few to choose a regularisation on: every class needs two or more"
    )


def even_blocks(windows: Windows, recordings: Sequence[Recording], number: int) -> list[Rows]:
    """Each label's windows in `number` blocks of time; unbroken ones stay whole where there are enough."""
    found = bouts(windows, recordings)
    parts: list[list[Rows]] = [[] for _ in range(number)]
    for label in np.unique(windows.label):
        mine = [rows for rows in found if windows.label[rows[0]] == label]
        units = mine if len(mine) >= number else list(np.concatenate(mine)[:, None])
        for part, chunk in zip(parts, chunks(units, min(number, len(units))), strict=False):
            part.extend(chunk)
    return [np.concatenate(part) if part else np.zeros(0, np.int64) for part in parts]


def in_words(name: Split, folds: Sequence[Fold], windows: Windows, recordings: Sequence[Recording]) -> str:
    """Who was held out, for a report: one sentence, of the subjects that these folds test."""
    tested = np.unique(windows.recording[np.concatenate([fold.test for fold in folds])])
    subjects = sorted({recordings[index].subject for index in tested})
    people, one_of = said(subjects), "one of " if len(subjects) > 1 else ""
    several = f"{len(folds)} fold{'s, each holds' if len(folds) > 1 else ' holds'} out"
    if name == "CrossDataset":
        tests = sorted({recordings[index].dataset for index in tested})
        trained = np.unique(windows.recording[np.concatenate([fold.train for fold in folds])])
        trains = sorted({recordings[index].dataset for index in trained})
        return f"CrossDataset: {several} {one_of}{people} of {', '.join(tests)}; all windows of {', '.join(trains)} train"
    if name in ACROSS_PEOPLE:
        alone = all(fold.held_out.startswith("subject ") for fold in folds)
        each = f"{one_of if alone else 'a group of the '}{people}"
        return f"{name}: {several} {each}; the other subjects' windows train"
    if name == "CrossStimulus":
        return f"CrossStimulus: {several} stimuli of {people}, for everyone; what everyone made of the others trains"
    if name == "CrossSession":
        single = single_sessions(recordings)
        unused = f"; {single} with one session are not used" if single else ""
        return f"CrossSession: {several} one session of {one_of}{people}; the same subject's other sessions train{unused}"
    run = all(", run " in fold.held_out for fold in folds)
    what = "whole runs" if run else "contiguous blocks, with a gap,"
    each = f"{what} of a session of {one_of}{people}"
    return f"WithinSession: {several} {each}; the rest of the session trains"


def single_sessions(recordings: Sequence[Recording]) -> int:
    """How many subjects have one session alone."""
    visits = {(recording.subject, recording.session) for recording in recordings}
    return sum(number == 1 for number in Counter(subject for subject, _ in visits).values())


def said(people: Sequence[str]) -> str:
    """How many subjects, and who they are."""
    listed = ", ".join(people[:6]) + (", …" if len(people) > 6 else "")
    return f"{len(people)} subjects ({listed})" if len(people) > 1 else f"one subject ({listed or 'unnamed'})"


def strictest(recordings: Sequence[Recording]) -> Split:
    """The strictest split that the recordings allow, by their subjects and sessions."""
    people = {recording.subject for recording in recordings} - {""}
    if len(people) > 1:
        return "CrossSubject"
    return (
        "CrossSession" if len({recording.session for recording in recordings} - {""}) > 1 else "WithinSession"
    )


def chunks(units: Sequence[Unit], number: int) -> list[list[Unit]]:
    """`units`, in order, in `number` contiguous chunks of nearly equal length."""
    edges = np.linspace(0, len(units), number + 1).round().astype(int)
    return [list(units[a:b]) for a, b in pairwise(edges)]


def both_sides(parts: Sequence[Rows]) -> list[Rows]:
    """Each part and, after it, all that is not in it."""
    everything = np.concatenate(parts)
    return [rows for part in parts for rows in (part, np.setdiff1d(everything, part))]


def numbered(parts: Sequence[Rows], n: int) -> Rows:
    """The number of each row's part."""
    out = np.zeros(n, np.int64)
    for number, part in enumerate(parts):
        out[part] = number
    return out


def complete(windows: Windows, rows: Rows) -> bool:
    """True where these rows carry every label that the table does, and any."""
    return len(rows) > 0 and set(windows.label[rows]) == set(windows.label)


def place(subject: str) -> str:
    """The beginning of a name inside a subject."""
    return f"subject {subject}, " if subject else ""
