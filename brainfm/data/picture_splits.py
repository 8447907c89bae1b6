"""Who saw what when: splits of trials by pictures, so that no picture is on both sides, in anybody.

A picture that is tested is dropped from everybody's training: with several people, a network that saw another person's
response to it has seen the picture (the leak that reviewers of Brain-IT asked about).
"""

from collections.abc import Sequence

import numpy as np

from brainfm.data.leaks import Fold
from brainfm.data.seen import Rows, Seen, refuse_mixed
from brainfm.errors import DataError


def shared_pictures(people: Sequence[Seen]) -> tuple[str, ...]:
    """The names of the pictures that everybody saw, sorted."""
    return tuple(sorted(set.intersection(*(set(one.shown) for one in people))))


def shared_test(people: Sequence[Seen]) -> list[Fold]:
    """For each person: the trials of the pictures that everybody saw are tested, the others are trained on.

    Raises `DataError` where fewer than two pictures are shared, or somebody saw nothing else.
    """
    refuse_mixed(people)
    shared = shared_pictures(people)
    if len(people) < 2 or len(shared) < 2:
        raise DataError(
            f"{len(people)} people share {len(shared)} pictures; take folds over pictures instead"
        )
    return [by_pictures(one, shared, f"{len(shared)} shared pictures") for one in people]


def by_pictures(seen: Seen, tested: Sequence[str], held_out: str = "") -> Fold:
    """The trials of the `tested` pictures, which may be other people's, against all others of a person."""
    test = seen.showing(tested)
    train = np.setdiff1d(np.arange(len(seen)), test)
    if not len(test) or not len(train):
        side = "test" if not len(test) else "training"
        raise DataError(f"{seen.who}: no trial is left on the {side} side of {held_out or 'these pictures'}")
    return Fold(train, test, held_out or f"{len(set(tested))} pictures")


def first_sessions(seen: Seen, count: int = 1) -> Rows:
    """The trials of the first sessions: of NSD, one of them is the "one hour" of MindEye2 (750 trials)."""
    there = np.unique(seen.session)
    if not 1 <= count <= len(there):
        raise DataError(f"{seen.who} has {len(there)} sessions, not {count}")
    return np.flatnonzero(np.isin(seen.session, there[:count])).astype(np.int64)
