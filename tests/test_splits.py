"""Splits: who is held out, that nothing leaks in any order of rows, that every leak is refused by name."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from brainfm.data.leaks import Fold, check_fold
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.splits import Split, groups, in_words, inner_groups, split, strictest
from brainfm.data.windows import Windows
from brainfm.data.windows.sliding import Sliding
from brainfm.data.windows.trials import Trials
from brainfm.errors import DataError

SFREQ = 10.0


def recording(
    labels: str = "abab",
    subject: str = "1",
    session: str = "1",
    run: str = "",
    seconds: float = 2.0,
    content: str = "",
) -> Recording:
    """One event of `seconds` per letter, one after another."""
    n = len(labels)
    signal = Signal(np.zeros((1, round(n * seconds * SFREQ))), SFREQ, Sensors.of(["A"], "eeg", "V"))
    events = Events(np.arange(n) * seconds, np.full(n, seconds), tuple(labels))
    return Recording(
        {"eeg": signal}, events, subject=subject, session=session, run=run, content_hash=content,
        source=f"{subject}-{session}-{run}",
    )  # fmt: skip


def cut(recordings: list[Recording], labels: str = "ab", seconds: float = 2.0) -> Windows:
    return Trials(seconds=seconds)(recordings, "eeg", list(labels))


def study(subjects: int = 5, sessions: int = 3, labels: str = "abbaabab") -> list[Recording]:
    return [recording(labels, f"s{s}", f"e{e}") for s in range(subjects) for e in range(sessions)]


def orders(windows: Windows) -> list[np.ndarray]:
    n = len(windows)
    return [np.arange(n), np.arange(n)[::-1], np.random.default_rng(0).permutation(n)]


def who(recordings: list[Recording], windows: Windows, rows: np.ndarray, field: str) -> set[str]:
    return {getattr(recordings[index], field) for index in windows.recording[rows]}


@pytest.mark.parametrize("folds", [None, 2, 3, 5])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_cross_subject_keeps_subjects_apart_in_any_order_of_rows(folds: int | None, order: int) -> None:
    recordings = study()
    windows = cut(recordings)
    windows = windows.rows(orders(windows)[order])
    made = split("CrossSubject", windows, recordings, folds)
    assert len(made) == (folds or 5)
    for fold in made:
        assert not who(recordings, windows, fold.train, "subject") & who(
            recordings, windows, fold.test, "subject"
        )
        assert sorted([*fold.train, *fold.test]) == list(range(len(windows)))
    held = np.concatenate([fold.test for fold in made])
    assert sorted(held) == list(range(len(windows))), "every window is tested once"


@pytest.mark.parametrize("order", [0, 1, 2])
def test_who_is_held_out_does_not_depend_on_the_order_of_rows(order: int) -> None:
    recordings = study()
    windows = cut(recordings)
    shuffled = windows.rows(orders(windows)[order])
    for name in ("CrossSubject", "CrossSession"):
        one, two = split(name, windows, recordings), split(name, shuffled, recordings)
        assert [fold.held_out for fold in one] == [fold.held_out for fold in two]
        for before, after in zip(one, two, strict=True):
            assert set(orders(windows)[order][after.test]) == set(before.test)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_cross_session_stays_within_a_subject(order: int) -> None:
    recordings = [*study(), recording(subject="alone")]
    windows = cut(recordings)
    windows = windows.rows(orders(windows)[order])
    made = split("CrossSession", windows, recordings)
    assert len(made) == 15
    for fold in made:
        (subject,) = who(recordings, windows, np.concatenate([fold.train, fold.test]), "subject")
        assert subject != "alone"
        (session,) = who(recordings, windows, fold.test, "session")
        assert who(recordings, windows, fold.train, "session") == {"e0", "e1", "e2"} - {session}


@pytest.mark.parametrize("order", [0, 1, 2])
def test_within_session_blocks_are_contiguous_with_a_gap(order: int) -> None:
    recordings = [recording("ab" * 40)]
    windows = cut(recordings)
    windows = windows.rows(orders(windows)[order])
    made = split("WithinSession", windows, recordings, gap=4.0)
    assert len(made) == 5
    for fold in made:
        tested, trained = np.sort(windows.start[fold.test]), windows.start[fold.train]
        np.testing.assert_allclose(np.diff(tested), 2.0)
        apart = np.abs(trained[:, None] - tested[None]).min()
        assert apart >= 2.0 + 4.0
        assert set(windows.label[fold.train]) == set(windows.label[fold.test]) == {0, 1}
        assert len(trained) == 80 - 16 - (2 if 0.0 in tested or 158.0 in tested else 4)


def test_the_gap_is_a_window_unless_given() -> None:
    recordings = [recording("ab" * 40)]
    windows = cut(recordings)
    (first, *_) = split("WithinSession", windows, recordings)
    assert windows.start[first.train].min() - windows.start[first.test].max() == 4.0


def test_within_session_holds_out_whole_runs() -> None:
    recordings = [recording("abab", run=str(run)) for run in range(4)]
    windows = cut(recordings)
    made = split("WithinSession", windows, recordings)
    assert len(made) == 4
    for number, fold in enumerate(made):
        assert who(recordings, windows, fold.test, "run") == {str(number)}
        assert len(fold.train) == 12, "runs need no gap"
    assert len(split("WithinSession", windows, recordings, folds=2)) == 2


def test_runs_that_lack_a_class_are_held_out_in_groups() -> None:
    recordings = [
        recording(labels, run=str(run)) for run, labels in enumerate(["aa", "bb", "aab", "aa", "bb", "ab"])
    ]
    windows = cut(recordings)
    for fold in split("WithinSession", windows, recordings):
        assert not who(recordings, windows, fold.train, "run") & who(recordings, windows, fold.test, "run")
        assert set(windows.label[fold.test]) == set(windows.label[fold.train]) == {0, 1}


@pytest.mark.parametrize("labels", ["ababaaab", "abbabacacabac"])
def test_labels_in_blocks_are_dealt_out_whole(labels: str) -> None:
    """Blocks of 10 s of one label: no block is cut in two, and the second case can't be cut in time alone."""
    recordings = [recording(labels, seconds=10.0)]
    windows = Sliding(seconds=2.0)(recordings, "eeg", sorted(set(labels)))
    change = np.cumsum([0, *(one != two for one, two in pairwise(labels))])
    blocks = change[(windows.start // 10).astype(int)]
    made = split("WithinSession", windows, recordings, gap=0.0, folds=3)
    assert len(made) == 3
    for fold in made:
        assert not set(blocks[fold.train]) & set(blocks[fold.test])
        assert set(windows.label[fold.test]) == set(windows.label[fold.train]) == set(windows.label)


def test_labels_that_come_once_are_refused() -> None:
    """Rest first, task after: a split inside would tell early from late, not rest from task."""
    recordings = [recording("ab", seconds=40.0)]
    windows = Sliding(seconds=4.0)(recordings, "eeg", ["a", "b"])
    with pytest.raises(DataError, match="label 'a' comes in 1 unbroken block") as caught:
        split("WithinSession", windows, recordings)
    assert "\n" not in str(caught.value)
    two_files = [recording("a", run="1", seconds=40.0), recording("b", run="2", seconds=40.0)]
    with pytest.raises(DataError, match="unbroken block"):
        split("WithinSession", Sliding(seconds=4.0)(two_files, "eeg", ["a", "b"]), two_files)


@pytest.mark.parametrize(
    ("name", "recordings", "words"),
    [
        ("CrossSubject", [recording()], "at least two subjects"),
        ("CrossSession", [recording(), recording(subject="2")], "at least two sessions"),
        ("CrossSubject", [recording(subject=""), recording()], "needs the subject of every recording"),
        (
            "CrossSubject",
            [recording("aa"), recording("bb", subject="2")],
            "no training window is labelled 'a'",
        ),
        ("WithinSession", [recording("aaaa")], "no window labelled 'b'"),
    ],
)
def test_what_the_data_do_not_allow_is_one_sentence(
    name: Split, recordings: list[Recording], words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        split(name, cut(recordings), recordings)
    assert "\n" not in str(caught.value)


def test_fold_counts_that_can_not_be_had_are_refused() -> None:
    recordings = study(3)
    with pytest.raises(DataError, match="3 subjects can't be held out in 4 groups"):
        split("CrossSubject", cut(recordings), recordings, folds=4)
    with pytest.raises(DataError, match="at least 2 folds"):
        split("CrossSubject", cut(recordings), recordings, folds=1)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("name", "train", "test", "words"),
    [
        ("CrossSubject", rows(0, 1), rows(1, 4), "1 windows are in both train and test, the first is row 1"),
        ("CrossSubject", rows(0, 1), rows(2, 3), "subject one is in both"),
        ("CrossSession", rows(0, 1), rows(2, 3, 7), "session one/x is in both"),
        ("CrossSubject", rows(0, 1), rows(), "no window is held out"),
        ("CrossSubject", rows(), rows(0, 1), "no window is left to train on"),
        ("CrossSubject", rows(0, 1, 1), rows(4), "occurs twice"),
        ("CrossSubject", rows(0, 1), rows(99), "row 99 is not in the table"),
        ("CrossSubject", rows(0, 2), rows(4), "no training window is labelled 'b'"),
    ],
)
def test_a_users_own_folds_are_checked(name: Split, train: np.ndarray, test: np.ndarray, words: str) -> None:
    recordings = [recording(subject="one", session="x"), recording(subject="two", session="x")]
    windows = cut(recordings)
    with pytest.raises(DataError, match=f"mine: .*{words}") as caught:
        check_fold(name, Fold(train, test, "mine"), windows, recordings)
    assert "\n" not in str(caught.value)


def test_windows_that_overlap_in_time_are_refused() -> None:
    recordings = [recording("abab")]
    windows = Sliding(seconds=2.0, stride=1.0)(recordings, "eeg", ["a", "b"])
    train, test = np.flatnonzero(windows.start < 4), np.flatnonzero(windows.start >= 4)
    with pytest.raises(DataError, match="1 training windows overlap a test window in time"):
        check_fold("WithinSession", Fold(train, test, "mine"), windows, recordings)


@pytest.mark.parametrize("name", ["CrossSubject", "CrossSession", "WithinSession"])
def test_one_file_under_two_names_is_found(name: Split) -> None:
    recordings = [
        recording(subject=subject, session=session, run=run, content=f"{subject}{session}{run}")
        for subject in "12"
        for session in "12"
        for run in "12"
    ]
    windows = cut(recordings)
    assert split(name, windows, recordings)
    other = {"CrossSubject": 4, "CrossSession": 2, "WithinSession": 1}[name]
    recordings[other] = replace(recordings[other], content_hash=recordings[0].content_hash)
    with pytest.raises(DataError, match="the same signal, in 1-1-1 and"):
        split(name, windows, recordings)


def test_the_bootstrap_draws_subjects_else_sessions_else_windows() -> None:
    everyone = study(3, 2)
    number, word = groups("CrossSession", cut(everyone), everyone)
    assert word == "subject" and len(set(number)) == 3
    one = study(1, 5)
    number, word = groups("CrossSession", cut(one), one)
    assert word == "session" and len(set(number)) == 5
    few = study(1, 2)
    number, word = groups("CrossSession", cut(few), few)
    assert word == "window" and len(set(number)) == len(number) == 16
    single = study(1, 1)
    number, word = groups("WithinSession", cut(single), single)
    assert word == "window" and len(set(number)) == len(number) == 8


@pytest.mark.parametrize("order", [0, 1, 2])
def test_inner_groups_are_what_the_split_holds_out(order: int) -> None:
    recordings = study(4, 3)
    windows = cut(recordings)
    windows = windows.rows(orders(windows)[order])
    for fold in split("CrossSubject", windows, recordings):
        inner = inner_groups("CrossSubject", windows, recordings, fold.train)
        assert len(inner) == len(fold.train) and len(set(inner)) == 3
        subject = np.array([recordings[index].subject for index in windows.recording[fold.train]])
        assert all(len(set(subject[inner == one])) == 1 for one in set(inner))
    (fold, *_) = split("CrossSession", windows, recordings)
    inner = inner_groups("CrossSession", windows, recordings, fold.train)
    assert len(set(inner)) == 2


def test_inner_groups_fall_back_to_blocks_of_time() -> None:
    recordings = [recording("ab" * 20)]
    windows = cut(recordings)
    inner = inner_groups("WithinSession", windows, recordings, np.arange(40))
    assert len(set(inner)) == 5
    for one in set(inner):
        assert set(windows.label[inner != one]) == {0, 1}
        for label in (0, 1):
            times = windows.start[(inner == one) & (windows.label == label)]
            np.testing.assert_allclose(np.diff(times), 4.0)


def test_inner_groups_where_each_subject_has_one_class() -> None:
    """Leaving one subject out would leave one class: blocks serve instead."""
    recordings = [recording("aaaa", "1"), recording("bbbb", "2")]
    windows = cut(recordings)
    inner = inner_groups("CrossSubject", windows, recordings, np.arange(8))
    assert all(set(windows.label[inner != one]) == {0, 1} for one in set(inner))


def words(name: Split, recordings: list[Recording], folds: int | None = None) -> str:
    windows = cut(recordings)
    return in_words(name, split(name, windows, recordings, folds), windows, recordings)


def test_the_split_is_said_in_words() -> None:
    assert words("CrossSubject", study(8, 2)) == (
        "CrossSubject: 8 folds, each holds out one of 8 subjects (s0, s1, s2, s3, s4, s5, …); "
        "the other subjects' windows train"
    )
    assert "4 folds, each holds out a group of the 8 subjects" in words("CrossSubject", study(8, 2), 4)
    mixed = words("CrossSession", [*study(2, 2), recording(subject="alone")])
    assert "4 folds, each holds out one session of one of 2 subjects (s0, s1)" in mixed
    assert mixed.endswith("1 with one session are not used")
    assert "whole runs" in words("WithinSession", [recording(run=str(run)) for run in range(3)])
    blocks = words("WithinSession", [recording("ab" * 20)])
    assert "contiguous blocks, with a gap, of a session of one subject (1)" in blocks


def test_folds_that_are_left_out_are_not_said() -> None:
    recordings = study(8, 2)
    windows = cut(recordings)
    folds = split("CrossSubject", windows, recordings)
    said = in_words("CrossSubject", folds[2:4], windows, recordings)
    assert said.startswith("CrossSubject: 2 folds, each holds out one of 2 subjects (s2, s3); the other")
    said = in_words("CrossSubject", folds[2:3], windows, recordings)
    assert said.startswith("CrossSubject: 1 fold holds out one subject (s2); the other")


def test_the_strictest_split_that_the_data_allow() -> None:
    assert strictest(study(2, 1)) == "CrossSubject"
    assert strictest(study(1, 2)) == "CrossSession"
    assert strictest(study(1, 1)) == "WithinSession"
