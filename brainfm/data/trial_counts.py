"""Counts in bins, trial by trial: what one variable of a file holds, whatever the order of its axes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.segments import as_word
from brainfm.data.variables import variable
from brainfm.errors import DataError
from brainfm.part import Settings

Axis = Literal["neuron", "trial", "bin"]
AXES = (["bin", "neuron"], ["bin", "neuron", "trial"])
"""The axes that counts can have, sorted."""


class Piece(Settings):
    """The variables of one stretch of counts. `a.b` is the field b of the struct a."""

    counts: str
    labels: str = Field(
        default="", description="a code per trial, or per bin where trials follow one another"
    )
    condition: str = Field(default="", description="what trials of neurons recorded apart are matched by")
    tracks: dict[str, str] = Field(default={}, description="a track's name to its variable, (bin, ...)")
    trial: int | None = Field(
        default=None, ge=1, description="bins of each trial, where trials follow one another along one axis"
    )
    first: int | None = Field(default=None, ge=1, description="bins of the first of them, where it was cut")


@dataclass(frozen=True)
class Run:
    """Bins from `start` to before `stop` under one label ("": none); `whole` says that they are one trial of the file."""

    start: int
    stop: int
    label: str
    whole: bool


@dataclass(frozen=True)
class TrialCounts:
    """Values (neuron, bin), the bins at which a contiguous stretch ends, and which bins carry which label."""

    values: NDArray[np.float64]
    ends: tuple[int, ...]
    runs: tuple[Run, ...]
    tracks: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, piece: Piece, axes: Sequence[Axis], apart: bool, content: Mapping[str, Any], where: str
    ) -> Self:
        """The piece's variables. Raises `DataError` where shapes, labels and axes do not fit one another."""
        if sorted(axes) not in AXES:
            raise DataError(
                f"{where}: axes {list(axes)} must be neuron and bin, or neuron, trial and bin, each once"
            )
        value = variable(content, piece.counts, where)
        if apart:
            blocks, labels, notes = paired(value, piece, axes, content, where)
        else:
            array = ordered(value, axes, piece.counts, where)
            labels = words(content, piece.labels, where)
            blocks, notes = split(array, piece, where), ()
        ends = tuple(int(end) for end in np.cumsum([block.shape[1] for block in blocks]))
        tracks = {
            name: track(content, variable_, ends[-1], where) for name, variable_ in piece.tracks.items()
        }
        return cls(np.concatenate(blocks, axis=1), ends, runs(labels, ends, where), tracks, notes)


def ordered(value: Any, axes: Sequence[Axis], name: str, where: str) -> NDArray[np.float64]:
    """(neuron, trial, bin), or (neuron, bin) without trials."""
    array = np.asarray(value)
    if array.dtype == object and array.ndim == 1 and len({np.shape(one) for one in array}) == 1:
        array = np.stack(list(array))  # a MATLAB cell per entry of the first axis
    if array.ndim != len(axes) or array.dtype.kind not in "iuf":
        said = "cells of other shapes" if array.dtype == object else f"shape {array.shape}"
        raise DataError(f"{where}: {name} has {said}, which does not fit axes {list(axes)}")
    order = [axes.index(axis) for axis in ("neuron", "trial", "bin") if axis in axes]
    return np.asarray(array, np.float64).transpose(order)


def split(array: NDArray[np.float64], piece: Piece, where: str) -> list[NDArray[np.float64]]:
    """Each trial's (neuron, bin); without trials, all of it, or every `trial` bins after the `first`."""
    if array.ndim == 3:
        return list(array.transpose(1, 0, 2))
    if piece.trial is None:
        return [array]
    first = piece.first or piece.trial
    if first > array.shape[1]:
        raise DataError(
            f"{where}: a first trial of {first} bins does not fit {array.shape[1]} bins of {piece.counts}"
        )
    return np.split(array, range(first, array.shape[1], piece.trial), axis=1)


def words(content: Mapping[str, Any], name: str, where: str) -> list[str]:
    """The codes of one variable as words; none without a name."""
    return [as_word(code) for code in np.ravel(variable(content, name, where))] if name else []


def runs(labels: Sequence[str], ends: Sequence[int], where: str) -> tuple[Run, ...]:
    """What is labelled: each trial, or each run of equal labels inside a trial where there is a label per bin."""
    spans = list(pairwise((0, *ends)))
    if not labels:
        return ()
    if len(labels) == len(ends) and len(ends) < ends[-1]:
        return tuple(Run(a, b, label, True) for (a, b), label in zip(spans, labels, strict=True))
    if len(labels) != ends[-1]:
        raise DataError(f"{where}: {len(labels)} labels fit neither {len(ends)} trials nor {ends[-1]} bins")
    found = []
    for start, stop in spans:
        edges = [start, *(at for at in range(start + 1, stop) if labels[at] != labels[at - 1]), stop]
        found += [Run(a, b, labels[a], len(edges) == 2) for a, b in pairwise(edges)]
    return tuple(found)


def track(content: Mapping[str, Any], name: str, bins: int, where: str) -> NDArray[Any]:
    """A variable with one entry per bin along its first axis, or along its last."""
    array = np.atleast_1d(np.asarray(variable(content, name, where)))
    if len(array) != bins:
        array = np.moveaxis(array, -1, 0)
    if len(array) != bins or array.dtype.kind not in "iuf":
        raise DataError(f"{where}: {name} has shape {array.shape}, which does not fit {bins} bins")
    return np.asarray(array, np.float64)


def paired(
    value: Any, piece: Piece, axes: Sequence[Axis], content: Mapping[str, Any], where: str
) -> tuple[list[NDArray[np.float64]], list[str], tuple[str, ...]]:
    """Trials of neurons recorded apart as trials of one population: the k-th of a condition of each neuron.

    They come condition after condition within k, so that blocks of trials hold every condition. The label is that of the
    first neuron's trial.
    """
    if axes[0] != "neuron" or not piece.condition:
        raise DataError(f"{where}: neurons recorded apart need `condition:`, and the neuron as first axis")
    trials = [np.asarray(one, np.float64) for one in each(value)]
    if any(one.ndim != 2 for one in trials):
        raise DataError(f"{where}: {piece.counts} should hold trials and bins of each neuron")
    trials = [one if axes[1] == "trial" else one.T for one in trials]
    conditions = by_neuron(content, piece.condition, trials, where)
    labels = by_neuron(content, piece.labels or piece.condition, trials, where)
    where_is = [places(one) for one in conditions]
    common = sorted(set.intersection(*(set(one) for one in where_is)))
    count = {name: min(len(one[name]) for one in where_is) for name in common}
    order = [(k, name) for k in range(max(count.values(), default=0)) for name in common if k < count[name]]
    if not order:
        raise DataError(f"{where}: no condition of {piece.condition} was shown to every neuron")
    blocks = [
        np.stack([one[at[name][k]] for one, at in zip(trials, where_is, strict=True)]) for k, name in order
    ]
    chosen = [labels[0][where_is[0][name][k]] for k, name in order]
    unused = sum(len(one) for one in trials) - len(order) * len(trials)
    said = f"{len(trials)} neurons were recorded apart: their trials are paired by {piece.condition}"
    left = f"; {unused} trials of single neurons have no partner and were left out" if unused else ""
    return blocks, chosen, (said + left,)


def by_neuron(
    content: Mapping[str, Any], name: str, trials: Sequence[NDArray[np.float64]], where: str
) -> list[list[str]]:
    """The words of every trial of every neuron."""
    found = [[as_word(word) for word in np.ravel(one)] for one in each(variable(content, name, where))]
    if len(found) != len(trials) or any(len(one) != len(of) for one, of in zip(found, trials, strict=True)):
        raise DataError(f"{where}: {name} does not hold a word for every trial of {len(trials)} neurons")
    return found


def each(value: Any) -> list[Any]:
    """The entries of a cell array or of an array's first axis."""
    return list(np.atleast_1d(np.asarray(value)))


def places(conditions: Sequence[str]) -> dict[str, list[int]]:
    """Where each condition occurs."""
    found: dict[str, list[int]] = defaultdict(list)
    for at, name in enumerate(conditions):
        found[name].append(at)
    return dict(found)
