"""Properties of splits over drawn studies: nothing of the test side is on the training side, in any order of rows."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest

from brainfm.data.leaks import Fold, Split, check_fold, stimuli
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.splits import split
from brainfm.data.windows import Windows
from brainfm.data.windows.sliding import Sliding
from brainfm.errors import DataError
from brainfm.few_shot import first_of_each

hypothesis = pytest.importorskip("hypothesis", reason="drawn studies need hypothesis: pip install -e .[dev]")
st = hypothesis.strategies

SFREQ = 10.0
QUICK = hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
NAMES = get_args(Split)
Study = tuple[list[Recording], Windows]


def one(dataset: str, subject: str, session: str, run: str, labels: str, seconds: float) -> Recording:
    """An event of `seconds` per letter, one after another."""
    n = len(labels)
    signal = Signal(np.zeros((1, round(n * seconds * SFREQ))), SFREQ, Sensors.of(["A"], "eeg", "V"))
    place = f"{dataset}-{subject}-{session}-{run}"
    events = Events(np.arange(n) * seconds, np.full(n, seconds), tuple(labels))
    return Recording(
        {"eeg": signal}, events, dataset=dataset, subject=subject, session=session, run=run,
        source=place, content_hash=place,
    )  # fmt: skip


@st.composite
def studies(draw: "st.DrawFn") -> Study:
    """One to three datasets with subjects of the same names, sessions and runs; windows that may overlap, in any order."""
    recordings = []
    for dataset in range(draw(st.integers(1, 3))):
        for subject in range(draw(st.integers(1, 4))):
            for session in range(draw(st.integers(1, 3))):
                for run in range(draw(st.integers(1, 2))):
                    labels = draw(st.text("ab", min_size=4, max_size=10))
                    recordings.append(
                        one(f"d{dataset}", f"s{subject}", f"e{session}", f"r{run}", f"ab{labels}", 4.0)
                    )
    stride = draw(st.sampled_from([1.0, 2.0]))
    windows = Sliding(seconds=2.0, stride=stride, overlap=0.9)(recordings, "eeg", ["a", "b"])
    order = draw(st.integers(0, 2**32 - 1))
    return recordings, windows.rows(np.random.default_rng(order).permutation(len(windows)))


def suited(name: Split, study: Study) -> Study:
    """For CrossStimulus two events' names are two stimuli, so that what is told of a window has to be another thing."""
    recordings, windows = study
    if name != "CrossStimulus":
        return study
    return recordings, replace(windows, label=(windows.start // 2 % 2).astype(np.int64))


def folds_of(name: Split, study: Study) -> list[Fold]:
    """The folds, or none where the study can't be split so: that is said in one sentence."""
    recordings, windows = suited(name, study)
    try:
        return split(name, windows, recordings, folds=2 if name == "CrossStimulus" else None)
    except DataError as error:
        assert "\n" not in str(error)
        return []


def owners(study: Study, rows: np.ndarray, *fields: str) -> set[tuple[str, ...]]:
    recordings, windows = study
    return {tuple(getattr(recordings[index], field) for field in fields) for index in windows.recording[rows]}


SHARES = {
    "WithinSession": (),
    "CrossSession": ("dataset", "subject", "session"),
    "CrossSubject": ("subject",),
    "LeaveOneSubjectOut": ("subject",),
    "CrossDataset": ("dataset",),
    "CrossStimulus": (),  # nor a stimulus, which is no part of a recording's name: see below
}
"""What no split may have on both sides."""


@pytest.mark.parametrize("name", NAMES)
def test_nothing_crosses_a_split(name: Split) -> None:
    made: list[int] = []

    @QUICK
    @hypothesis.given(study=studies())
    def holds(study: Study) -> None:
        recordings, windows = study
        for fold in folds_of(name, study):
            made.append(len(fold.test))
            assert not set(fold.train) & set(fold.test)
            if name == "CrossStimulus":
                shown = stimuli(windows, recordings)
                assert not set(shown[fold.train]) & set(shown[fold.test])
            if SHARES[name]:
                assert not owners(study, fold.train, *SHARES[name]) & owners(study, fold.test, *SHARES[name])
            for index in np.unique(windows.recording):
                trained = windows.start[fold.train[windows.recording[fold.train] == index]]
                tested = windows.start[fold.test[windows.recording[fold.test] == index]]
                apart = np.abs(trained[:, None] - tested[None])
                assert not apart.size or apart.min() >= windows.seconds - 1e-9
            if name == "LeaveOneSubjectOut":
                assert len(owners(study, fold.test, "subject")) == 1
            if name in ("CrossSession", "WithinSession"):
                everyone = np.concatenate([fold.train, fold.test])
                assert (
                    len(owners(study, everyone, "subject")) == 1 or len({r.dataset for r in recordings}) > 1
                )

    holds()
    assert len(made) > 15, "most drawn studies can be split"


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_changes_no_fold(name: Split) -> None:
    @QUICK
    @hypothesis.given(study=studies(), seed=st.integers(0, 99))
    def holds(study: Study, seed: int) -> None:
        recordings, windows = study
        order = np.random.default_rng(seed).permutation(len(windows))
        before, after = folds_of(name, study), folds_of(name, (recordings, windows.rows(order)))
        assert [fold.held_out for fold in before] == [fold.held_out for fold in after]
        for one_, two in zip(before, after, strict=True):
            assert set(one_.test) == set(order[two.test]) and set(one_.train) == set(order[two.train])

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_leak_is_caught(name: Split) -> None:
    """A test row among the training rows, a neighbour in time, a window of the same owner, a file under another name."""
    planted: dict[str, int] = {"row": 0, "neighbour": 0, "owner": 0, "copy": 0}

    def refused(kind: str, fold: Fold, study: Study) -> None:
        planted[kind] += 1
        with pytest.raises(DataError):
            check_fold(name, fold, study[1], study[0])

    @QUICK
    @hypothesis.given(study=studies(), seed=st.integers(0, 99))
    def holds(study: Study, seed: int) -> None:
        study = suited(name, study)
        recordings, windows = study
        rng = np.random.default_rng(seed)
        for fold in folds_of(name, study)[:2]:
            check_fold(name, fold, windows, recordings)
            victim = int(rng.choice(fold.test))
            refused("row", replace(fold, train=np.append(fold.train, victim)), study)
            rest = np.setdiff1d(fold.test, [victim])
            if len(rest):  # one of the held-out owner's windows trains
                near = np.abs(windows.start[rest] - windows.start[victim]) < windows.seconds
                same = windows.recording[rest] == windows.recording[victim]
                moved = Fold(np.append(fold.train, victim), rest, fold.held_out)
                if (near & same).any():
                    refused("neighbour", moved, study)
                if SHARES[name] and owners(study, rest, *SHARES[name]) & owners(
                    study, np.array([victim]), *SHARES[name]
                ):
                    refused("owner", moved, study)
            trained, tested = windows.recording[fold.train[0]], windows.recording[victim]
            if trained != tested:
                twice = list(recordings)
                twice[trained] = replace(twice[trained], content_hash=twice[tested].content_hash)
                refused("copy", fold, (twice, windows))

    holds()
    assert planted["row"] > 10 and planted["neighbour"] > 5 and planted["copy"] > 5
    assert planted["owner"] > 5 or not SHARES[name]


def test_small_subsets_are_nested_and_hold_so_many_of_each_class() -> None:
    @QUICK
    @hypothesis.given(
        labels=st.lists(st.integers(0, 2), min_size=12, max_size=60),
        counts=st.lists(st.integers(1, 20), min_size=2, max_size=4),
        seed=st.integers(0, 99),
    )
    def holds(labels: list[int], counts: list[int], seed: int) -> None:
        label = np.array(labels)
        rows = np.flatnonzero(np.arange(len(label)) % 5 > 0)
        order = np.random.default_rng(seed + 1).permutation(len(rows))
        taken = [first_of_each(rows, label, count, np.random.default_rng(seed)) for count in sorted(counts)]
        for count, found in zip(sorted(counts), taken, strict=True):
            again = first_of_each(rows[order], label, count, np.random.default_rng(seed))
            np.testing.assert_array_equal(found, again)
            assert set(found) <= set(rows)
            for one_ in set(label[rows]):
                assert (label[found] == one_).sum() == min(count, (label[rows] == one_).sum())
        assert all(set(small) <= set(large) for small, large in pairwise(taken))

    holds()
