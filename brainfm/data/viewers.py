"""The people of a card who looked at pictures, and which of their trials train and which test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainfm.data.cards import DataCard
from brainfm.data.leaks import Fold
from brainfm.data.picture_splits import by_pictures, first_sessions, shared_test
from brainfm.data.recording import Recording
from brainfm.data.seen import Rows, Scaling, Seen
from brainfm.errors import DataError


@dataclass(frozen=True)
class Viewer:
    """One person's standardised trials, and the rows that train and that test: no picture is on both sides."""

    seen: Seen
    train: Rows
    test: Rows

    @property
    def name(self) -> str:
        """The subject."""
        return self.seen.subject

    def training(self, average: bool = True, share: float = 1.0, sessions: int | None = None) -> Seen:
        """The first `share` of the training trials, of the first `sessions` or all; one row a picture if they are averaged."""
        rows = self.train
        if sessions is not None:
            rows = np.intersect1d(rows, first_sessions(self.seen, sessions))
        kept = self.seen.rows(rows[: max(2, round(share * len(rows)))])
        return kept.averaged() if average else kept

    def testing(self) -> Seen:
        """A row for every tested picture: the mean over its repeats."""
        return self.seen.rows(self.test).averaged()


def people_of(card: DataCard) -> list[Seen]:
    """Everybody's trials, one table a person, in order of their names."""
    if card.viewing is not None:
        return card.viewing.people(card.path)
    found: dict[str, list[Recording]] = {}
    for recording in card.recordings():
        found.setdefault(recording.subject, []).append(recording)
    return [Seen.of(found[name]) for name in sorted(found)]


def by_shared(people: Sequence[Seen], scaling: Scaling) -> list[Viewer]:
    """Pictures that everybody saw test, everybody's others train."""
    return [viewer(one, fold, scaling) for one, fold in zip(people, shared_test(people), strict=True)]


def by_fold(people: Sequence[Seen], folds: int, fold: int, scaling: Scaling) -> list[Viewer]:
    """One of `folds` parts of all pictures tests, in everybody; who saw none of it is refused."""
    named = sorted({name for one in people for name in one.shown})
    if not 2 <= folds <= len(named):
        raise DataError(f"{len(named)} pictures can't be tested in {folds} folds")
    order = np.random.default_rng(folds).permutation(len(named))
    tested = [named[row] for row in np.array_split(order, folds)[fold]]
    return [viewer(one, by_pictures(one, tested, f"fold {fold} of {folds}"), scaling) for one in people]


def viewer(seen: Seen, fold: Fold, scaling: Scaling) -> Viewer:
    """A person, standardised as `scaling` says: by training trials alone, or by all."""
    scaled = seen.standardised(scaling, fold.train if scaling == "session_train" else None)
    return Viewer(scaled, fold.train, fold.test)
